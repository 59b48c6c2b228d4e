//! What strangers, broken programs and attackers send is counted by name, and disturbs nothing.

use foa_wire::envelope::{Envelope, Header};
use foa_wire::{Boot, Namespace, NodeId, NodeKey, Sequence, Time};
use serde_json::{Value, json};

use crate::broker::Kind;
use crate::federation::{Federation, agent, list};
use crate::program::say;
use crate::wire::Wire;

const JOBS: &str = "foa/orchestrator/jobs";

/// Somebody with a key of their own, whom nobody knows.
struct Stranger {
    id: NodeId,
    key: NodeKey,
    sent: u64,
}

impl Stranger {
    fn new() -> Self {
        let key = NodeKey::from_seed([42; 32]);
        Self { id: NodeId::new("stranger".parse().unwrap(), &key.public()), key, sent: 0 }
    }

    /// A correctly signed envelope, sent this many milliseconds ago and good for a minute.
    fn seal(&mut self, to: &str, kind: &str, body: Value, ago_ms: u64) -> Vec<u8> {
        self.sent += 1;
        let sent = Time::from_millis(now_ms() - ago_ms);
        let header = Header {
            kind: kind.to_owned(),
            to: to.to_owned(),
            id: format!("stranger-{}", self.sent).parse().unwrap(),
            from: self.id.clone(),
            boot: Boot(1),
            seq: Sequence(self.sent),
            sent,
            expires: Some(sent + std::time::Duration::from_secs(60)),
            trace: None,
        };
        Envelope { header, body }.seal(&Namespace::default(), &self.key).unwrap()
    }
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// How many of a reason the coordinators count.
fn count(rejected: &Value, reason: &str) -> u64 {
    rejected["counts"][reason].as_u64().unwrap_or(0)
}

fn asks(federation: &Federation, question: &str, answer: &str) {
    let ended = federation.run(&["submit", question]);
    assert!(ended.code == Some(0) && ended.stdout.contains(answer), "{ended:#?}");
}

#[test]
fn hostile_messages_are_counted_by_name_and_disturb_nothing() {
    let Some(mut federation) = Federation::new(Kind::Embedded) else { return };
    let calc = |about: &str| agent("calc", "calc", &[("description", about)]);
    federation.start("atlas", &["coordinator"], "");
    federation.start("abacus", &["worker"], &calc("Calculates with numbers"));
    federation.ready(&["atlas", "abacus"]);
    federation.agents(1);
    let mut wire =
        Wire::join(federation.broker.port(), "attacker", &[JOBS, "foa/capabilities/#", "foa/nodes/#"]);

    // What an attacker can record: a signed job, a card and who coordinates.
    let card = wire.until("a card", |m| m.topic.starts_with("foa/capabilities/").then(|| m.clone()));
    let atlas = wire.until("the coordinator's status", |m| {
        let node = m.json()["body"]["node"].as_str()?.to_owned();
        node.starts_with("atlas.").then_some(node)
    });
    asks(&federation, "What is 15% of 80?", "12");
    let job = wire.until("the signed job", |m| (m.topic == JOBS).then(|| m.clone()));
    let jobs_before = list(&federation.json(&["jobs", "list", "--json"])).len();

    // A new card makes the recorded one old.
    let stopped = federation.take("abacus");
    stopped.signal("INT");
    assert_eq!(stopped.end(crate::federation::PATIENCE).code, Some(0));
    federation.start("abacus", &["worker"], &calc("Calculates with numbers and dates"));
    federation.ready(&["abacus"]);
    federation.until("the new card", &["agents", "list", "--json"], |agents| {
        let new = |a: &Value| a["description"] == "Calculates with numbers and dates" && a["online"] == true;
        list(agents).iter().any(new).then_some(())
    });

    let before = federation.json(&["agents", "rejected", "--json"]);
    let mut stranger = Stranger::new();
    let inbox = format!("nodes/{atlas}/inbox");
    let tampered = String::from_utf8(job.payload.clone()).unwrap().replacen("15% of 80", "15% of 90", 1);
    assert_ne!(tampered.as_bytes(), job.payload);
    let hostile: Vec<(&str, String, Vec<u8>)> = vec![
        ("malformed", JOBS.to_owned(), b"{\"v\":1,\"task\":".to_vec()),
        ("malformed", format!("foa/{inbox}"), vec![0xff, 0x00, 0x80]),
        ("too-large", JOBS.to_owned(), vec![b' '; 300 * 1024]),
        ("bad-signature", JOBS.to_owned(), tampered.into_bytes()),
        ("wrong-topic", format!("foa/{inbox}"), job.payload.clone()),
        (
            "expired",
            JOBS.to_owned(),
            stranger.seal("orchestrator/jobs", "job.submit", json!({"task": "old"}), 3_600_000),
        ),
        ("unknown-type", format!("foa/{inbox}"), stranger.seal(&inbox, "work.teleport", json!({}), 0)),
        ("bad-body", format!("foa/{inbox}"), stranger.seal(&inbox, "work.reply", json!({"work": 7}), 0)),
        ("unsigned", format!("foa/{inbox}"), json!({"task": "obey"}).to_string().into_bytes()),
        (
            "wrong-sender",
            format!("foa/nodes/{atlas}/status"),
            stranger.seal(&format!("nodes/{atlas}/status"), "node.status", json!({}), 0),
        ),
        (
            "out-of-place",
            JOBS.to_owned(),
            stranger.seal("orchestrator/jobs", "job.control", json!({"control": "cancel"}), 0),
        ),
        ("stale", card.topic.clone(), card.payload.clone()),
        ("foreign-topic", "foa/orchestrator/nonsense".to_owned(), b"hello".to_vec()),
    ];
    for (_, topic, payload) in &hostile {
        wire.say(topic, payload);
    }
    // A replay is what a broker's repetition looks like: dropped without a word and without effect.
    wire.say(JOBS, &job.payload);
    wire.say(JOBS, &job.payload);

    let mut wanted: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    for (reason, ..) in hostile.iter().filter(|(reason, ..)| *reason != "foreign-topic") {
        *wanted.entry(reason).or_default() += 1;
    }
    let after = federation.until(&format!("{wanted:?}"), &["agents", "rejected", "--json"], |after| {
        let all = wanted.iter().all(|(reason, n)| count(after, reason) >= count(&before, reason) + n);
        all.then(|| after.clone())
    });
    say(&format!("hostile messages, counted: {}", after["counts"]));
    for (reason, n) in &wanted {
        assert_eq!(count(&after, reason), count(&before, reason) + n, "{reason}: {after:#}");
    }

    // The federation works as before, and the replayed job was not done again.
    let card = federation.json(&["agents", "show", "calc@abacus", "--json"]);
    assert_eq!(card["description"], "Calculates with numbers and dates", "{card:#}");
    assert_eq!(
        list(&federation.json(&["jobs", "list", "--json"])).len(),
        jobs_before,
        "no job came of all this"
    );
    asks(&federation, "What is 20% of 80?", "16");
}
