//! Artifacts as agents see them. An agent reads words: of an input that is a text it is given the beginning. What it
//! answers at greater length than a message carries becomes an artifact, and the beginning stands in its place.

use foa_wire::{AgentId, Time, WorkId};
use foa_workflows::work::{Answer, Artifact, Ask, Contribution, Evidence, Finding};

use super::{ArtifactStore, StoreError};

/// The most an agent is given of one artifact, in bytes. What a model can read at once is less.
const GIVEN: usize = 64 * 1024;
/// A longer answer becomes an artifact: with evidence, signature and dissent it would no longer fit an envelope.
const LONGEST: usize = 48 * 1024;
/// What stands in the place of a longer answer.
const SHOWN: usize = 8 * 1024;

/// Puts the words of the inputs that are artifacts where the agent reads them.
pub(crate) fn give(ask: &mut Ask, store: &ArtifactStore, now: Time) {
    match ask {
        Ask::Draft { inputs, .. } | Ask::Refine { inputs, .. } => {
            for finding in inputs {
                fill(finding, store, now);
            }
        }
        Ask::Propose { .. } | Ask::Judge { .. } | Ask::Synthesise { .. } => {}
    }
}

fn fill(finding: &mut Finding, store: &ArtifactStore, now: Time) {
    let artifact = finding.evidence.iter().filter_map(|e| e.artifact.as_ref()).find(|a| a.is_text());
    let Some(artifact) = artifact else { return };
    match store.head(&artifact.artifact, GIVEN, now) {
        Ok(head) if head.len() > finding.text.len() => {
            let whole = head.len() as u64 >= artifact.bytes;
            finding.text = String::from_utf8_lossy(&head).into_owned();
            if !whole {
                finding.text.push_str(&format!("\n… ({} bytes in all)", artifact.bytes));
            }
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(artifact = %artifact.artifact, %error, "an input cannot be read"),
    }
}

/// Makes an answer that is too long an artifact.
///
/// # Errors
/// When there is no room for it.
pub(crate) fn shorten(
    answer: Answer,
    work: &WorkId,
    agent: &AgentId,
    store: &ArtifactStore,
    now: Time,
) -> Result<Answer, StoreError> {
    match answer {
        Answer::Contribution(contribution) if contribution.text.len() > LONGEST => {
            let whole = keep(&contribution.text, work, store, now)?;
            let id = whole.artifact;
            let Contribution { text, mut evidence, confidence, complete } = contribution;
            evidence.insert(
                0,
                Evidence {
                    quote: head(&text, 200).to_owned(),
                    source: format!("the whole answer, {} bytes", text.len()),
                    held_by: Some(agent.clone()),
                    score: 1.0,
                    artifact: Some(whole),
                },
            );
            let text = format!("{}\n\n… the whole answer is {id}", head(&text, SHOWN));
            Ok(Answer::Contribution(Contribution { text, evidence, confidence, complete }))
        }
        Answer::Synthesis { text, whole: None } if text.len() > LONGEST => {
            let whole = keep(&text, work, store, now)?;
            let text = format!("{}\n\n… the whole answer is {}", head(&text, LONGEST), whole.artifact);
            Ok(Answer::Synthesis { text, whole: Some(whole) })
        }
        answer => Ok(answer),
    }
}

fn keep(text: &str, work: &WorkId, store: &ArtifactStore, now: Time) -> Result<Artifact, StoreError> {
    let bytes = text.len() as u64;
    Ok(Artifact {
        artifact: store.add(text.as_bytes(), bytes, now)?,
        bytes,
        media_type: "text/markdown".to_owned(),
        name: Some(format!("{work}.md")),
        // Whoever keeps it, too, is added once it does.
        holders: Vec::new(),
    })
}

/// The first bytes of a text, up to the end of a character.
fn head(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Limits;
    use super::*;
    use crate::agent::tests::agent_id;

    const NOW: Time = Time::from_millis(1_000);

    fn store() -> (tempfile::TempDir, ArtifactStore) {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { quota: 10_000_000, keep: Duration::from_secs(60) };
        let store = ArtifactStore::open(dir.path(), limits).unwrap();
        (dir, store)
    }

    fn shortened(answer: Answer, store: &ArtifactStore) -> Answer {
        let work = WorkId::new(&"job-00001".parse().unwrap(), 3);
        shorten(answer, &work, &agent_id("writer"), store, NOW).unwrap()
    }

    #[test]
    fn a_long_answer_becomes_an_artifact_that_the_next_agent_reads() {
        let (_dir, store) = store();
        let text = "Grüße. ".repeat(20_000);
        let answer = Answer::Contribution(Contribution { text: text.clone(), ..Contribution::default() });
        let Answer::Contribution(short) = shortened(answer, &store) else { panic!("another answer") };
        assert!(short.text.len() < 10_000, "{} bytes", short.text.len());
        let artifact = short.evidence[0].artifact.clone().unwrap();
        assert_eq!(store.read(&artifact.artifact, u64::MAX, NOW).unwrap(), text.as_bytes());
        let finding = Finding {
            subtask: "s1".to_owned(),
            question: "greet".to_owned(),
            text: short.text,
            evidence: short.evidence,
        };
        let subtask = foa_workflows::plan::Plan::solo("use it").subtasks()[0].clone();
        let mut ask = Ask::Draft { subtask, task: "use it".to_owned(), inputs: vec![finding] };
        give(&mut ask, &store, NOW);
        let Ask::Draft { inputs, .. } = ask else { panic!("another ask") };
        assert!(inputs[0].text.starts_with("Grüße. Grüße."));
        assert!((60_000..70_000).contains(&inputs[0].text.len()), "{} bytes", inputs[0].text.len());
        assert!(inputs[0].text.ends_with(&format!("({} bytes in all)", text.len())));
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let (_dir, store) = store();
        let answer =
            Answer::Contribution(Contribution { text: "short".to_owned(), ..Contribution::default() });
        assert_eq!(shortened(answer.clone(), &store), answer);
        let long = Answer::Synthesis { text: "x".repeat(LONGEST + 1), whole: None };
        let Answer::Synthesis { text, whole } = shortened(long, &store) else { panic!("another answer") };
        assert_eq!(whole.unwrap().bytes, LONGEST as u64 + 1);
        assert!(text.contains("the whole answer is blake3:"), "{}", head(&text[LONGEST..], 200));
        assert_eq!(store.list().len(), 1);
    }
}
