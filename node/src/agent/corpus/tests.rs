use super::*;
use crate::agent::tests::{agent_id, context};
use crate::model::shared_for_tests;

const LIMITS: &str = "# Limits\n\n## Cards\n\nA card may have at most 224 KiB. Its skills are at most 256.\n\n## Envelopes\n\n\
    An envelope may have at most 256 KiB. Larger content is an artifact.\n";
const DELIVERY: &str = "# Delivery\n\nEvery coordinator keeps an unaccepted submission until it sees `accepted`; the next in \
    order tries when the first is silent.\n\n| store | lost | notes |\n|---|---|---|\n| sled | 0 | fastest |\n| redb | 0 | slower |\n";

async fn corpus(documents: &[(&str, &str)]) -> Option<Corpus> {
    let embedder = shared_for_tests().await?;
    let documents: Vec<Document> = documents.iter().map(|(path, text)| Document::new(path, text)).collect();
    let profile = crate::agent::config::bare_profile("tested".parse().unwrap(), "corpus");
    Some(Corpus::new(profile, Grain::Fine, &documents, embedder).await.unwrap())
}

fn contribution(answer: Answer) -> Contribution {
    match answer {
        Answer::Contribution(contribution) => contribution,
        other => panic!("wanted a contribution, found {other:?}"),
    }
}

#[tokio::test]
async fn answers_are_quoted_with_where_they_stand() {
    let Some(corpus) = corpus(&[("limits.md", LIMITS), ("delivery.md", DELIVERY)]).await else { return };
    for (question, quote, source) in [
        ("How large may an agent card be?", "A card may have at most 224 KiB.", "limits.md § Cards"),
        ("What is the envelope limit?", "An envelope may have at most 256 KiB.", "limits.md § Envelopes"),
        ("Which store is the fastest?", "sled | lost: 0 | notes: fastest", "delivery.md § Delivery"),
    ] {
        let found = contribution(corpus.draft(question, &[], &context()).await.unwrap());
        assert_eq!((found.evidence[0].quote.as_str(), found.evidence[0].source.as_str()), (quote, source));
        assert_eq!(found.evidence[0].held_by, Some(agent_id("tested")));
        assert!((0.0..=1.0).contains(&found.confidence) && !found.complete);
    }
}

#[tokio::test]
async fn what_the_folder_does_not_hold_is_declined() {
    let Some(corpus) = corpus(&[("limits.md", LIMITS), ("delivery.md", DELIVERY)]).await else { return };
    for question in ["How do I bake bread?", "What is the capital of France?", "Who won the cup in 1998?"] {
        let answer = corpus.draft(question, &[], &context()).await.unwrap();
        assert!(matches!(answer, Answer::Declined { .. }), "{question}: {answer:?}");
    }
}

#[tokio::test]
async fn refining_takes_the_better_evidence_keeps_its_holder_and_comes_to_rest() {
    let (Some(weak), Some(strong)) =
        (corpus(&[("delivery.md", DELIVERY)]).await, corpus(&[("limits.md", LIMITS)]).await)
    else {
        return;
    };
    let question = "How large may an agent card be?";
    let theirs = Context { agent: agent_id("strong"), ..context() };
    let peer = PeerContribution {
        author: agent_id("strong"),
        contribution: contribution(strong.draft(question, &[], &theirs).await.unwrap()),
    };
    let own = Contribution { text: "unknown".to_owned(), ..Contribution::default() };
    let peers = [peer];
    let first = contribution(weak.refine(question, own, &peers, &context()).await.unwrap());
    assert_eq!(first.evidence[0].quote, "A card may have at most 224 KiB.");
    assert_eq!(first.evidence[0].held_by, Some(agent_id("strong")));
    assert!(!first.complete);
    let second = contribution(weak.refine(question, first.clone(), &peers, &context()).await.unwrap());
    assert!(second.complete, "{second:?}");
    assert_eq!(second.evidence[0].quote, first.evidence[0].quote);
}

#[tokio::test]
async fn two_lookups_and_a_computation_answer_what_no_agent_holds_alone() {
    let Some(corpus) = corpus(&[("limits.md", LIMITS)]).await else { return };
    let task = "What is the difference between the envelope limit and the card limit, in bytes?";
    let limits = foa_workflows::work::ProposeLimits { min: 1, max: 4 };
    let (steps, edges) = planner::propose(task, limits, Grain::Fine);
    assert_eq!((steps.len(), edges.len()), (3, 2));
    let mut inputs = Vec::new();
    for step in &steps[..2] {
        let found = contribution(corpus.draft(&step.description, &[], &context()).await.unwrap());
        inputs.push(Finding {
            subtask: step.key.clone(),
            question: step.description.clone(),
            text: found.text,
            evidence: found.evidence,
        });
    }
    let computed = crate::agent::calc::compute(&steps[2].description, &inputs).unwrap();
    assert_eq!(computed.text, "(256 KiB - 224 KiB) to bytes = 32768 bytes");
    assert_eq!(computed.evidence[1].held_by, Some(agent_id("tested")));
}

#[tokio::test]
async fn the_profile_follows_what_the_folder_holds() {
    let Some(corpus) = corpus(&[("limits.md", LIMITS), ("delivery.md", DELIVERY)]).await else { return };
    let profile = corpus.profile();
    let names: Vec<&str> = profile.skills.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["Delivery", "Limits: Cards", "Limits: Envelopes"]);
    assert!(profile.skills[1].description.contains("limits.md") && profile.description.contains("Limits"));
}
