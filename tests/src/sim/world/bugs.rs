//! Known mistakes, put back between the wire and the machine.

use foa_node_core::replica::What;
use foa_node_core::{Body, Input};

use super::World;
use crate::sim::mqtt::Peer;
use crate::sim::options::Bug;

impl World {
    /// What a node with the mistake makes of a message.
    pub(super) fn mistaken(&self, n: Peer, input: Input) -> Input {
        let (Some(bug), Input::Received(mut received)) = (self.options.bug, input.clone()) else {
            return input;
        };
        let Some(machine) = &self.nodes[n].machine else { return input };
        match (bug, &mut received.body) {
            (Bug::StaleTerm, Body::Replica(message)) => {
                let promised = machine.job_view(&message.job).and_then(|view| view.promised.cloned());
                if let (What::Append { .. }, Some(promised)) = (&message.what, promised)
                    && message.term < promised
                {
                    received.from = Some(promised.holder.clone());
                    message.term = promised;
                }
            }
            (Bug::AcceptAgain, Body::JobSubmit(submission)) => {
                let known = submission.job.as_ref().filter(|job| machine.job_view(job).is_some());
                if let Some(job) = known {
                    submission.job = format!("{job}-again").parse().ok();
                }
            }
            (Bug::SendBeforeSync | Bug::AckBeforeSync | Bug::StaleTerm | Bug::AcceptAgain, _) => {}
        }
        Input::Received(received)
    }
}
