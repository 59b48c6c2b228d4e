//! Coordinators that share cards out: a question finds its agent wherever its card is, also when a coordinator dies.

use serde_json::Value;

use crate::broker::Kind;
use crate::federation::{Federation, agent, list};
use crate::program::say;

const COORDINATORS: [&str; 5] = ["atlas", "bellatrix", "capella", "deneb", "electra"];
const WORKERS: [&str; 2] = ["cygnus", "draco"];
const EACH: usize = 60;
const SHARED: &str = "[directory]\nmax_cards = 40\nreplicas = 2\n";

/// What agent number `n` of a node is for: a thing, a place and a name that no other agent has together.
fn about(name: &str, n: usize) -> String {
    const THINGS: [&str; 10] =
        ["tolls", "tides", "rents", "yields", "fares", "wages", "taxes", "loads", "grades", "doses"];
    const PLACES: [&str; 6] = ["harbour", "orchard", "clinic", "railway", "theatre", "quarry"];
    format!("Works out the {} of the {} of {name}", THINGS[n % 10], PLACES[n / 10])
}

/// The best agent for a task and how far the question went, once it went anywhere.
fn best(federation: &Federation, task: &str) -> (String, Value) {
    federation.until("an answer of several coordinators", &["route", task, "--json"], |routed| {
        let spread = routed.get("spread").filter(|spread| spread.is_object())?;
        let best = list(&routed["candidates"]).first()?["agent"].as_str()?;
        Some((best.to_owned(), spread.clone()))
    })
}

#[test]
fn a_question_finds_its_agent_wherever_its_card_is_also_when_a_coordinator_dies() {
    let Some(mut federation) = Federation::new(Kind::Embedded) else { return };
    for name in COORDINATORS {
        federation.start(name, &["coordinator"], SHARED);
    }
    for name in WORKERS {
        let one = |n| agent("calc", &format!("calc-{n}"), &[("description", &about(name, n))]);
        let agents: String = (0..EACH).map(one).collect();
        federation.start(name, &["worker"], &agents);
    }
    federation.ready(&COORDINATORS);
    federation.ready(&WORKERS);
    let all = WORKERS.len() * EACH;
    federation.agents(all);

    let (found, spread) = best(&federation, &about("cygnus", 17));
    say(&format!("cards are shared out: {found} was found, {spread}"));
    assert!(found.starts_with("calc-17@cygnus"), "{found}");
    // Everybody is listed, although nobody has all cards.
    federation.agents(all);

    // The command line asks the first by id; another one goes.
    drop(federation.take("electra"));
    for (name, n) in [("draco", 3), ("cygnus", 42), ("draco", 59)] {
        let (found, spread) = best(&federation, &about(name, n));
        say(&format!("without electra {found} was found, {spread}"));
        assert!(found.starts_with(&format!("calc-{n}@{name}")), "{found}");
    }
    federation.agents(all);
}
