//! Results go out again after every connection, because the broker may have forgotten what it retained. There may be
//! thousands, and work must not wait behind them in the queue to the broker: a few at a time, the latest first.

use std::collections::VecDeque;
use std::time::Duration;

use foa_wire::{JobId, Time};

use crate::machine::NodeMachine;

/// Results at once. All of the largest size, they fill half of the queue to the broker.
const AT_ONCE: usize = 32;
/// Between two times.
const PAUSE: Duration = Duration::from_millis(250);

/// What is still to go out on this connection.
#[derive(Debug, Default)]
pub(super) struct Republishing {
    jobs: VecDeque<JobId>,
    due: Time,
}

impl Republishing {
    pub(super) fn wake(&self) -> Option<Time> {
        (!self.jobs.is_empty()).then_some(self.due)
    }
}

impl NodeMachine {
    /// The broker may have forgotten: results we published go out again.
    pub(crate) fn republish_results(&mut self, now: Time) {
        let ours = |job: &&JobId| self.coordinator.jobs.get(*job).is_some_and(|held| held.is_of(self.id()));
        let jobs = self.coordinator.ended.iter().rev().map(|(_, job)| job).filter(ours).cloned().collect();
        self.coordinator.republishing = Republishing { jobs, due: now };
        self.republish_due(now);
    }

    /// There is no broker to send them to. All of them go out on the next connection.
    pub(crate) fn republish_no_more(&mut self) {
        self.coordinator.republishing = Republishing::default();
    }

    pub(super) fn republish_due(&mut self, now: Time) {
        let waiting = &mut self.coordinator.republishing;
        if waiting.due > now {
            return;
        }
        waiting.due = now + PAUSE;
        let some = waiting.jobs.len().min(AT_ONCE);
        for job in waiting.jobs.drain(..some).collect::<Vec<_>>() {
            self.publish_result(&job);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use foa_wire::{Connection, Topic};
    use foa_workflows::job::Control;

    use super::*;
    use crate::body::Body;
    use crate::effect::{Effect, Input, Output};
    use crate::fixture::{NOW, coordinator, identity, says, submits};

    fn results(outputs: &[Output]) -> Vec<JobId> {
        let result = |output: &Output| match &output.effect {
            Effect::Send(send) => match &send.topic {
                Topic::Result(job) => Some(job.clone()),
                _ => None,
            },
            _ => None,
        };
        outputs.iter().filter_map(result).collect()
    }

    /// A coordinator that has ended so many jobs.
    fn after(jobs: usize) -> NodeMachine {
        let owner = identity("owner", 2).id().clone();
        let mut node = coordinator();
        for n in 0..jobs {
            let job = format!("job-{n:06}");
            submits(&mut node, &owner, &job);
            let topic = Topic::JobControl(job.parse().unwrap());
            let out =
                says(&mut node, &owner, &format!("cancel-{n:06}"), topic, Body::JobControl(Control::Cancel));
            assert_eq!(results(&out).len(), 1, "{job} did not end");
        }
        node
    }

    #[test]
    fn all_results_go_out_again_a_few_at_a_time() {
        let mut node = after(3 * AT_ONCE + 1);
        node.handle(Input::Disconnected, NOW);
        let mut out = node.handle(Input::Connected { connection: Connection(2) }, NOW);
        let (mut seen, mut times, mut now) = (BTreeSet::new(), 0, NOW);
        loop {
            let some = results(&out);
            assert!(some.len() <= AT_ONCE, "{} at once", some.len());
            times += usize::from(!some.is_empty());
            for job in some {
                assert!(seen.insert(job.clone()), "{job} went out twice");
            }
            if seen.len() == 3 * AT_ONCE + 1 {
                break;
            }
            now = now.max(node.wake().expect("there is more to come"));
            out = node.handle(Input::Tick, now);
        }
        assert_eq!(times, 4);
        assert_eq!(now, NOW + PAUSE * 3, "what comes last is not put off");
    }

    #[test]
    fn a_connection_that_breaks_meanwhile_begins_anew() {
        let mut node = after(AT_ONCE + 1);
        node.handle(Input::Disconnected, NOW);
        let first = results(&node.handle(Input::Connected { connection: Connection(2) }, NOW));
        node.handle(Input::Disconnected, NOW);
        assert_eq!(results(&node.handle(Input::Tick, NOW + PAUSE)), []);
        let again = results(&node.handle(Input::Connected { connection: Connection(3) }, NOW + PAUSE));
        assert_eq!((first.len(), first), (AT_ONCE, again));
    }
}
