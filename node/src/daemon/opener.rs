//! What arrives: opened and believed in order, by a task of its own, so that the loop never waits for a signature. What
//! happens at the broker becomes an input.

use std::sync::Arc;
use std::time::Duration;

use foa_broker::{AckToken, Event, Events};
use foa_node_core::Input;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::clock::Clock;
use super::link::Link;
use super::meter::Meter;
use super::now;

/// Inputs that may wait for the loop.
const QUEUE: usize = 64;

/// One thing that happened.
pub(super) struct Arrived {
    /// What the machine is to know of it.
    pub(super) input: Option<Input>,
    /// What the broker waits to hear, once all that comes of it is on disk.
    pub(super) ack: Option<AckToken>,
}

/// Opens what arrives until the connection is ended.
pub(super) fn start(link: Arc<Link>, mut events: Events, meter: Arc<Meter>) -> mpsc::Receiver<Arrived> {
    let (arrived, arrivals) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let (mut clock, started) = (Clock::new(now(), Duration::ZERO), Instant::now());
        while let Some(event) = events.next().await {
            let one = match event {
                Event::Message { topic, payload, ack, .. } => {
                    meter.received();
                    let input = link.open(topic, &payload, clock.read(now(), started.elapsed()));
                    Arrived { input, ack: Some(ack) }
                }
                other => match reported(other) {
                    Some(input) => Arrived { input: Some(input), ack: None },
                    None => continue,
                },
            };
            if arrived.send(one).await.is_err() {
                return;
            }
        }
    });
    arrivals
}

/// What else the machine is to know; the rest is for the log.
fn reported(event: Event) -> Option<Input> {
    match event {
        Event::Connected { connection, session_present, protocol } => {
            tracing::info!(%connection, session_present, %protocol, "connected to the broker");
            return Some(Input::Connected { connection });
        }
        Event::Disconnected { reason } => {
            tracing::warn!(reason, "lost the broker; trying again");
            return Some(Input::Disconnected);
        }
        Event::TooLarge { topic, bytes } => {
            let detail = format!("a message of {bytes} bytes");
            return Some(refused("too-large", topic.to_string(), detail));
        }
        Event::Foreign { topic, bytes } => {
            let detail = format!("{bytes} bytes on a topic that is none of ours");
            return Some(refused("foreign-topic", topic.chars().take(200).collect(), detail));
        }
        Event::Unreachable { reason, retry_in } => {
            tracing::warn!(reason, retry_in_ms = retry_in.as_millis(), "the broker cannot be reached");
        }
        Event::SubscriptionRefused { filter, reason } => {
            tracing::error!(?filter, reason, "the broker refuses a subscription; check its access list");
        }
        Event::PublishRefused { topic, reason } => {
            tracing::error!(%topic, reason, "the broker refuses a message; check its access list");
        }
        Event::Subscribed { filters } => tracing::debug!(count = filters.len(), "subscribed"),
        Event::Missed { messages } => tracing::debug!(messages, "progress messages were dropped"),
        Event::Message { .. } => {}
    }
    None
}

fn refused(reason: &str, subject: String, detail: String) -> Input {
    Input::Refused { reason: reason.to_owned(), sender: "unknown".to_owned(), subject, detail }
}
