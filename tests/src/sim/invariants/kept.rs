//! Every accepted job ends, every submission is answered one way or the other, and a watcher that asks again for what it
//! missed has seen every event of it.

use crate::sim::World;
use crate::sim::faults::FaultKind;

pub(super) fn check(world: &World) -> Result<(), String> {
    for (id, job) in world.clients().iter().flat_map(|client| &client.jobs) {
        if job.submitted.is_none() || job.over() {
            continue;
        }
        // A local job waits for its one holder, however long that is gone.
        let gone = world.nodes().filter(|node| node.gone);
        let left: Vec<_> = gone.map(|node| node.identity.id().clone()).collect();
        if !job.accepted.is_empty()
            && !job.replicated()
            && job.accepted.iter().all(|t| left.contains(&t.holder))
        {
            continue;
        }
        if !job.accepted.is_empty() {
            return Err(format!("{id} was accepted by {:?} and never ended", job.accepted));
        }
        // Whatever loses messages may lose a submission that nobody repeats.
        let options = world.options();
        let lossy = options.loses_messages() || options.queued.is_some() || options.has(FaultKind::Kill);
        if !(job.bare && lossy) {
            return Err(format!("{id} was submitted and never answered"));
        }
    }
    match world.nodes().find(|node| node.machine.as_ref().is_some_and(|machine| !machine.idle())) {
        Some(node) => Err(format!("{} is still at work", node.identity.id())),
        None => Ok(()),
    }
}

pub(super) fn events(world: &World) -> Result<(), String> {
    let jobs = world.clients().iter().flat_map(|client| &client.jobs);
    let mut waiting = jobs.filter_map(|(id, job)| Some((id, job.missing_event()?)));
    match waiting.next() {
        Some((id, index)) => Err(format!("{id}: a watcher never saw record {index}")),
        None => Ok(()),
    }
}
