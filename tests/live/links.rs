//! The link between a node and the broker fails in every way a link can, and heals: the job that was under way goes on.

use std::time::Duration;

use serde_json::Value;

use crate::broker::Kind;
use crate::federation::{Federation, list};
use crate::gate::Gate;
use crate::halfway::{completed, in_the_middle};
use crate::proxy::{Link, Proxy};

const FAILURES: [Link; 5] =
    [Link::Cut, Link::Stalled, Link::Deaf, Link::Mute, Link::Slow(Duration::from_millis(150))];

#[test]
fn a_job_outlives_every_failure_of_its_holders_link() {
    let gate = Gate::new();
    let Some(mut federation) = Federation::new(Kind::Embedded) else { return };
    let proxy = Proxy::to(federation.broker.port());
    federation.start_at(&proxy.url(), "atlas", &["coordinator"], "");
    federation.start("borealis", &["worker"], &gate.agent("thinker", "borealis"));
    federation.ready(&["atlas", "borealis"]);
    federation.agents(1);
    for (n, failure) in FAILURES.into_iter().enumerate() {
        let job = format!("linked-job-{n}");
        let (submitted, held) = in_the_middle(&federation, &gate, &job);
        proxy.set(failure);
        // What the agent says now meets the broken link.
        for draft in &held {
            gate.release(draft);
        }
        proxy.felt();
        if !matches!(failure, Link::Slow(_)) {
            proxy.set(Link::Open);
        }
        let result = completed(submitted, &job);
        assert_eq!(list(&result["failures"]), &[] as &[Value], "{failure:?}: {result:#}");
        assert_eq!(gate.drafts(), 2 * (n + 1), "{failure:?}: nothing was thought about twice");
        proxy.set(Link::Open);
    }
}

#[test]
fn work_goes_to_another_when_its_agent_is_cut_off_and_the_late_answer_does_no_harm() {
    let gate = Gate::new();
    let Some(mut federation) = Federation::new(Kind::Embedded) else { return };
    federation.start("atlas", &["coordinator"], "");
    let names = ["borealis", "cygnus"];
    let proxies = names.map(|_| Proxy::to(federation.broker.port()));
    for (name, proxy) in names.iter().zip(&proxies) {
        federation.start_at(&proxy.url(), name, &["worker"], &gate.agent("thinker", name));
    }
    federation.ready(&["atlas", "borealis", "cygnus"]);
    federation.agents(2);
    let (submitted, held) = in_the_middle(&federation, &gate, "severed-job");
    // The part goes out after the answer to the whole.
    let severed = names.iter().position(|name| *name == held[1].model).expect("one of the two");
    proxies[severed].set(Link::Cut);
    proxies[severed].felt();
    // Its answers come while nobody can hear it; the other is asked instead.
    for draft in &held {
        gate.release(draft);
    }
    gate.open();
    let result = completed(submitted, "severed-job");
    let lost: Vec<&str> = list(&result["failures"]).iter().filter_map(|f| f["reason"].as_str()).collect();
    assert!(!lost.is_empty() && lost.iter().all(|reason| *reason == "offline"), "{result:#}");
    let author = result["parts"][0]["outcome"]["authors"][0].as_str().unwrap();
    assert!(author.starts_with(&format!("thinker@{}.", names[1 - severed])), "{author}");

    // It comes back, and what it has to say of an ended job changes nothing.
    proxies[severed].set(Link::Open);
    federation.agents(2);
    let shown = federation.json(&["jobs", "show", "severed-job", "--json"]);
    assert_eq!(shown["result"], result, "one result, for ever");
}
