//! A job that nobody can do, or that nobody takes, ends with the reason, in words a person can act on.

use crate::broker::Kind;
use crate::federation::{Federation, PATIENCE, agent};

#[test]
fn nobody_suitable_names_the_requirement_and_who_came_nearest() {
    let Some(mut federation) = Federation::new(Kind::Embedded) else { return };
    federation.start("atlas", &["coordinator", "worker"], &agent("calc", "sums", &[]));
    federation.ready(&["atlas"]);
    federation.agents(1);
    let ended = federation.run(&["submit", "--policy", "patient-data", "What is 15% of 80?"]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains("patient-data") && said.contains("sums@atlas"), "{said}");
    // Without the requirement the same question is answered.
    let ended = federation.run(&["submit", "What is 15% of 80?"]);
    assert!(ended.code == Some(0) && ended.stdout.contains("12"), "{ended:#?}");
}

#[test]
fn a_coordinator_whose_store_is_full_says_what_helps() {
    let Some(mut federation) = Federation::new(Kind::Embedded) else { return };
    let calc = agent("calc", "sums", &[]);
    federation.start("atlas", &["coordinator", "worker"], &format!("[store]\nmax_bytes = 1\n\n{calc}"));
    federation.ready(&["atlas"]);
    federation.node("atlas").says("no new jobs are taken", PATIENCE);
    let ended = federation.run(&["submit", "What is 15% of 80?"]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.contains("store.max_bytes"), "{ended:#?}");

    let atlas = federation.take("atlas");
    atlas.signal("INT");
    assert_eq!(atlas.end(PATIENCE).code, Some(0));
    federation.start("atlas", &["coordinator", "worker"], &calc);
    federation.ready(&["atlas"]);
    federation.agents(1);
    let ended = federation.run(&["submit", "What is 15% of 80?"]);
    assert!(ended.code == Some(0) && ended.stdout.contains("12"), "{ended:#?}");
}
