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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use foa_node_core::journal::NodeRecord;
    use foa_wire::{NodeId, NodeKey, Term, Time};
    use foa_workflows::JobSubmission;
    use foa_workflows::engine::{Command, Input, JobMachine};

    use super::*;

    /// What a node holds of a job that was cancelled, with its answer changed or not.
    fn logs(answer: &str) -> Vec<BTreeMap<JobId, Log>> {
        let node = NodeId::new("atlas".parse().unwrap(), &NodeKey::from_seed([1; 32]).public());
        let (job, now): (JobId, _) = ("job-replayed".parse().unwrap(), Time::from_millis(1_000_000));
        let (submission, term) = (JobSubmission::of("find the tide"), Term::first(node.clone()));
        let (mut machine, mut commands) =
            JobMachine::accept(job.clone(), submission, None, term, vec![node.clone()], None, now);
        commands.extend(machine.handle(Input::Cancel { by: node }, now));
        let record = |command| match command {
            Command::Commit(mut record) => {
                if let Step::Ended { result, .. } = &mut record.step {
                    answer.clone_into(&mut result.answer);
                }
                Some(Rc::new(NodeRecord::Job { record }))
            }
            _ => None,
        };
        let records: Vec<_> = commands.into_iter().filter_map(record).collect();
        let safe = records.len();
        vec![BTreeMap::from([(job, Log { records, safe, ..Log::default() })])]
    }

    #[test]
    fn an_end_that_does_not_follow_from_the_log_is_noticed() {
        assert_eq!(check(&logs("")), Ok(()));
        let found = check(&logs("the tide is high")).unwrap_err();
        assert!(found.contains("record 3 is decided otherwise"), "{found}");
    }
}
