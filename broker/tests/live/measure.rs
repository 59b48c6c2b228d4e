//! Numbers, not promises: `cargo test -p foa-broker --test live measure -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use crate::broker::{Kind, TestBroker};
use crate::peer::{Peer, config};

/// Resident memory of this process, in KiB.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

#[tokio::test]
#[ignore = "a measurement"]
async fn round_trips_and_memory() {
    for kind in [Kind::Embedded, Kind::Mosquitto] {
        let before = resident();
        let Some(broker) = TestBroker::start(kind).await else { continue };
        let started = resident();
        let mut a = Peer::join(config(broker.url(), "a"), "a", vec![]).await;
        let mut b = Peer::join(config(broker.url(), "b"), "b", vec![]).await;
        let joined = resident();
        let mut times = Vec::new();
        for n in 0..500 {
            let start = Instant::now();
            a.say(&b.inbox(), &n.to_string()).await;
            let question = b.read().await;
            b.say(&a.inbox(), &question).await;
            a.read().await;
            // There and back is two messages.
            times.push(start.elapsed() / 2);
        }
        times.sort();
        let at = |share: f64| times[(times.len() as f64 * share) as usize];
        let start = Instant::now();
        for n in 0..20_000 {
            a.say(&b.inbox(), &n.to_string()).await;
            if n >= 500 {
                b.read().await;
            }
        }
        for _ in 0..500 {
            b.read().await;
        }
        let rate = 20_000.0 / start.elapsed().max(Duration::from_nanos(1)).as_secs_f64();
        println!(
            "{kind:?}: one QoS 1 message p50 {:?} p99 {:?}; 20 000 messages at {rate:.0}/s; \
             resident +{} KiB started, +{} KiB with two clients, +{} KiB at the end",
            at(0.5),
            at(0.99),
            started - before,
            joined - before,
            resident() - before,
        );
    }
}
