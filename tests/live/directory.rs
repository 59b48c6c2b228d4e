//! A coordinator that joins late knows everyone, although the embedded broker hands out only a part of what it keeps.

use std::time::{Duration, Instant};

use crate::broker::Kind;
use crate::federation::{Federation, agent, list};
use crate::program::say;
use crate::wire::Wire;

const WORKERS: [&str; 3] = ["borealis", "cygnus", "draco"];
const EACH: usize = 100;

#[test]
fn a_late_coordinator_knows_three_hundred_agents() {
    let Some(mut federation) = Federation::new(Kind::Embedded) else { return };
    federation.start("zephyr", &["coordinator"], "");
    for name in WORKERS {
        let agents: String = (0..EACH)
            .map(|n| {
                let about = format!("Calculates the tolls of road {n} in the district of {name}");
                agent("calc", &format!("calc-{n}"), &[("description", &about)])
            })
            .collect();
        federation.start(name, &["worker"], &agents);
    }
    federation.ready(&["zephyr", "borealis", "cygnus", "draco"]);
    let all = WORKERS.len() * EACH;
    federation.agents(all);

    // What the broker alone gives to somebody who comes late.
    let mut stranger = Wire::join(federation.broker.port(), "stranger", &["foa/capabilities/#"]);

    let begun = Instant::now();
    // The command line asks coordinators in the order of their ids: this one comes first.
    federation.start("atlas", &["coordinator"], "");
    federation.ready(&["atlas"]);
    let ready = begun.elapsed();
    federation.agents(all);
    let whole = begun.elapsed();
    let retained = stranger.so_far().iter().filter(|m| m.retained).count();
    say(&format!(
        "{all} agents: a late coordinator was ready after {ready:.1?} and listed all after {whole:.1?}; \
         the broker alone handed out {retained}"
    ));
    assert!(whole < Duration::from_secs(45), "{whole:?}");

    // With the other gone nobody else can have answered.
    let other = federation.take("zephyr");
    other.signal("INT");
    assert_eq!(other.end(Duration::from_secs(30)).code, Some(0));
    let left = federation.json(&["agents", "list", "--json"]);
    assert_eq!(list(&left).iter().filter(|a| a["online"] == true).count(), all);
}
