//! Every accepted job ends, and every submission is answered one way or the other.

use crate::sim::World;
use crate::sim::options::FaultKind;

pub(super) fn check(world: &World) -> Result<(), String> {
    for (id, job) in world.clients().iter().flat_map(|client| &client.jobs) {
        if job.submitted.is_none() || job.over() {
            continue;
        }
        if !job.accepted.is_empty() {
            return Err(format!("{id} was accepted by {:?} and never ended", job.accepted));
        }
        // A broker that forgets may forget a submission that nobody repeats.
        let may_be_lost = job.bare && world.options().faults.contains(&FaultKind::Broker);
        if !may_be_lost {
            return Err(format!("{id} was submitted and never answered"));
        }
    }
    match world.nodes().find(|node| node.machine.as_ref().is_some_and(|machine| !machine.idle())) {
        Some(node) => Err(format!("{} is still at work", node.identity.id())),
        None => Ok(()),
    }
}
