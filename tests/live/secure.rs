//! A federation over TLS: whoever trusts the broker's authority takes part, nobody else says a word.

use crate::broker::Kind;
use crate::federation::{Federation, agent};

#[test]
fn a_question_is_answered_over_tls_and_an_unknown_authority_is_refused() {
    let Some(mut federation) = Federation::new(Kind::MosquittoTls) else { return };
    assert!(federation.broker.url().starts_with("mqtts://"), "{}", federation.broker.url());
    federation.start("atlas", &["coordinator", "worker"], &agent("calc", "sums", &[]));
    federation.ready(&["atlas"]);
    federation.agents(1);
    let ended = federation.run(&["submit", "What is 15% of 80?"]);
    assert!(ended.code == Some(0) && ended.stdout.contains("12"), "{ended:#?}");

    // Without the authority, the broker is a stranger: it is refused before anything is said, with the reason.
    let stranger = federation.folder().join("stranger.toml");
    std::fs::write(&stranger, "[client]\nkey_file = \"stranger.key\"\n").unwrap();
    let ended = federation.run_as(&stranger, &["submit", "What is 15% of 80?"]);
    assert_eq!(ended.code, Some(2), "{ended:#?}");
    assert!(ended.stderr.contains("certificate"), "wanted the reason: {ended:#?}");
}
