//! The submitter's part: submitting, repeating, and drawing conclusions from what it is told.

use std::rc::Rc;
use std::time::Duration;

use foa_node_core::{Body, Input};
use foa_wire::{JobId, Topic};
use foa_workflows::job::Control;

use super::queue::Event;
use super::{REPEAT, World};
use crate::sim::link::{self, Message, Payload};

impl World {
    pub(super) fn submit(&mut self, client: usize, id: &JobId) {
        let now = self.now;
        let peer = self.nodes.len() + client;
        let Some(job) = self.clients[client].jobs.get_mut(id) else { return };
        if !job.wants_repeat() {
            return;
        }
        job.submitted.get_or_insert(now);
        let (submission, bare) = (job.submission.clone(), job.bare);
        if bare {
            let body = Body::JobSubmit(submission);
            let port = &mut self.ports[peer];
            let sealed = port.sender.seal(Topic::Jobs, body.clone(), None, now).expect("a job is small");
            let payload = Some(Payload::Plain(Rc::new(body)));
            return self.send(peer, Message { from: None, payload, ..sealed });
        }
        let expires = Some(now + Duration::from_secs(300));
        self.publish(peer, Topic::Jobs, Body::JobSubmit(submission), expires);
        self.after(REPEAT, Event::Submit { client, job: id.clone() });
    }

    /// A watcher that missed records of an ended job asks for them.
    pub(super) fn replay_missed(&mut self, client: usize) {
        let missed = self.clients[client].jobs.iter();
        let missed: Vec<(JobId, u64)> =
            missed.filter_map(|(id, job)| Some((id.clone(), job.missing_event()?))).collect();
        let peer = self.nodes.len() + client;
        let expires = Some(self.now + Duration::from_secs(300));
        for (job, from) in missed {
            let body = Body::JobControl(Control::Replay { from });
            self.publish(peer, Topic::JobControl(job), body, expires);
        }
    }

    /// A client is told something.
    pub(super) fn told(&mut self, client: usize, message: &Message) {
        let now = self.now;
        let client = &mut self.clients[client];
        let found = match &message.payload {
            Some(Payload::Plain(body)) => client.receive(body, now),
            Some(Payload::Sealed(_)) => match link::open(message, &client.identity.id().clone(), now) {
                Some(Input::Received(received)) => client.receive(&received.body, now),
                Some(_) | None => Ok(()),
            },
            None => Ok(()),
        };
        if let Err((invariant, found)) = found {
            self.found(invariant, found);
        }
    }
}
