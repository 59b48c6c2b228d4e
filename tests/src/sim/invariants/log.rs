//! A job's log has no gaps, one term per holder, and ends once.

use foa_node_core::journal::NodeRecord;
use foa_workflows::Record;
use foa_workflows::journal::Step;

use super::Seen;

pub(super) fn check(seen: Seen<'_>) -> Result<(), String> {
    match seen {
        Seen::Step { node, log } => whole(log).map_err(|e| format!("written by {node}: {e}")),
        Seen::Started { node, journal } => {
            let mut logs: std::collections::BTreeMap<_, Vec<Record>> = std::collections::BTreeMap::new();
            for record in journal {
                if let NodeRecord::Job { record } = record {
                    super::replace(logs.entry(record.job.clone()).or_default(), record);
                }
            }
            logs.values().try_for_each(|log| whole(log)).map_err(|e| format!("on the disk of {node}: {e}"))
        }
        Seen::Asked { .. } | Seen::Queues(_) => Ok(()),
    }
}

fn whole(log: &[Record]) -> Result<(), String> {
    let Some(last) = log.last() else { return Ok(()) };
    if last.index.0 != log.len() as u64 {
        return Err(format!("{}: wanted record {}, found {}", last.job, log.len(), last.index));
    }
    if let [.., before, last] = log {
        if last.term < before.term || last.at < before.at {
            return Err(format!("{}: record {} goes back in term or time", last.job, last.index));
        }
        if matches!(before.step, Step::Ended { .. }) && !matches!(last.step, Step::TookOver { .. }) {
            return Err(format!("{}: record {} follows the end", last.job, last.index));
        }
    }
    Ok(())
}
