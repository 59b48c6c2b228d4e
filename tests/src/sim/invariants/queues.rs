//! Nothing waits in a queue without an end.

/// Work that may wait for one agent; the nodes are configured so.
pub(crate) const PER_AGENT: usize = 64;
/// Submissions kept for others.
const SUBMISSIONS: usize = 10_000;
/// Effects that may wait for one sync.
const HELD: usize = 20_000;
/// Messages one client may have under way.
const MESSAGES: usize = 50_000;

/// How long the queues of a node are.
#[derive(Clone, Copy, Debug)]
pub struct Queues {
    /// Work that waits for agents of the node.
    pub waiting: usize,
    /// How many agents it has.
    pub agents: usize,
    /// Submissions it keeps for others.
    pub submissions: usize,
    /// Effects that wait for its disk.
    pub held: usize,
    /// Messages the broker has not confirmed.
    pub outbox: usize,
    /// What waits for it at the broker.
    pub broker: usize,
}

pub(super) fn check(queues: Queues) -> Result<(), String> {
    let Queues { waiting, agents, submissions, held, outbox, broker } = queues;
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
