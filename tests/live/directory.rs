//! A coordinator that joins late knows everyone, although the embedded broker hands out only a part of what it keeps.

use std::time::{Duration, Instant};

use crate::broker::Kind;
use crate::federation::{Federation, PATIENCE, agent, list};
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

    // The command line asks coordinators in the order of their ids: this one comes first.
    let begun = Instant::now();
    federation.start("atlas", &["coordinator"], "");
    let seen = filled(&federation, "atlas", all, begun);
    let retained = stranger.so_far().iter().filter(|m| m.retained).count();
    say(&format!(
        "{all} agents, of which the broker alone hands out {retained}: a late coordinator was {seen}"
    ));

    // With the other gone nobody else can have answered.
    stop(&mut federation, "zephyr");
    let left = federation.json(&["agents", "list", "--json"]);
    assert_eq!(list(&left).iter().filter(|a| a["online"] == true).count(), all);

    // A coordinator with no other to ask: the roll it calls is all there is.
    stop(&mut federation, "atlas");
    let begun = Instant::now();
    federation.again("atlas");
    let seen = filled(&federation, "atlas", all, begun);
    say(&format!("{all} agents: a coordinator that starts alone was {seen}"));
}

/// Waits until this coordinator lists all agents; says how its directory filled.
fn filled(federation: &Federation, name: &str, all: usize, begun: Instant) -> String {
    federation.ready(&[name]);
    let ready = begun.elapsed();
    let mut seen = vec![format!("ready after {ready:.1?}")];
    federation.until("all agents", &["agents", "list", "--json"], |agents| {
        let online = list(agents).iter().filter(|a| a["online"] == true).count();
        seen.push(format!("listed {online} after {:.1?}", begun.elapsed()));
        (online == all).then_some(())
    });
    // Presence comes with the roll; a heartbeat would bring it too, but only after 15 s.
    assert!(begun.elapsed() - ready < Duration::from_secs(10), "{seen:?}");
    seen.join(", ")
}

fn stop(federation: &mut Federation, name: &str) {
    let node = federation.take(name);
    node.signal("INT");
    assert_eq!(node.end(PATIENCE).code, Some(0));
}
