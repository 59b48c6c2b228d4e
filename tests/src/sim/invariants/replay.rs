//! Every decision of a job that has ended can be made again from its log, and is the same.

use std::collections::BTreeMap;

use foa_wire::JobId;
use foa_workflows::journal::Step;
use foa_workflows::{Record, Replay};

use super::{Log, job_record};

pub(super) fn check(logs: &[BTreeMap<JobId, Log>]) -> Result<(), String> {
    // Replicas hold the same log; one of them is enough.
    let mut longest: BTreeMap<&JobId, &Log> = BTreeMap::new();
    for (job, log) in logs.iter().flatten() {
        let known = longest.entry(job).or_insert(log);
        if log.safe > known.safe {
            *known = log;
        }
    }
    for (job, log) in longest {
        let records: Vec<Record> =
            log.records[..log.safe].iter().filter_map(|r| job_record(r)).cloned().collect();
        if !records.iter().any(|record| matches!(record.step, Step::Ended { .. })) {
            continue;
        }
        let replay = Replay::of(&records).map_err(|e| format!("{job}: {e}"))?;
        if let Some(decision) = replay.difference() {
            return Err(format!("{job}: record {} is decided otherwise: {decision:?}", decision.index));
        }
        if replay.counts().reproduced == 0 {
            return Err(format!("{job} has ended, and none of its decisions was made again"));
        }
    }
    Ok(())
}
