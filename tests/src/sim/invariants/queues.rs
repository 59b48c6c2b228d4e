//! Nothing waits in a queue without an end.

use super::{Queues, Seen};

/// Work that may wait for one agent; the nodes are configured so.
pub(crate) const PER_AGENT: usize = 64;
/// Submissions kept for others.
const SUBMISSIONS: usize = 10_000;
/// Effects that may wait for one sync.
const HELD: usize = 20_000;
/// Messages one client may have under way.
const MESSAGES: usize = 50_000;

pub(super) fn check(seen: Seen<'_>) -> Result<(), String> {
    let Seen::Queues(Queues { waiting, agents, submissions, held, outbox, broker }) = seen else {
        return Ok(());
    };
    let limits = [
        ("work", waiting, PER_AGENT * agents),
        ("submissions", submissions, SUBMISSIONS),
        ("effects", held, HELD),
        ("unconfirmed messages", outbox, MESSAGES),
        ("undelivered messages", broker, MESSAGES),
    ];
    match limits.into_iter().find(|(_, found, most)| found > most) {
        Some((what, found, most)) => Err(format!("wanted at most {most} {what} in a queue, found {found}")),
        None => Ok(()),
    }
}
