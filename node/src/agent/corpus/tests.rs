use std::path::Path;
use std::time::Instant;

use super::*;
use crate::agent::tests::context;
use crate::model::shared_for_tests;

fn profile() -> AgentProfile {
    crate::agent::config::bare_profile("tested".parse().unwrap(), "corpus")
}

#[tokio::test]
#[ignore = "needs a folder: FOA_TRY_DOCS"]
async fn try_questions() {
    let Some(embedder) = shared_for_tests().await else { return };
    let dir = std::env::var("FOA_TRY_DOCS").unwrap();
    let started = Instant::now();
    let corpus =
        Corpus::new(profile(), Grain::Fine, &folder(Path::new(&dir)).unwrap(), embedder).await.unwrap();
    println!("{} passages in {:?}", corpus.len(), started.elapsed());
    for s in &corpus.profile.skills {
        println!("{s:?}");
    }
    for q in std::fs::read_to_string(std::env::var("FOA_TRY_QUESTIONS").unwrap()).unwrap().lines() {
        let started = Instant::now();
        let a = corpus.draft(q, &[], &context()).await.unwrap();
        println!("\n## {q}  ({:?})", started.elapsed());
        match a {
            Answer::Contribution(c) => {
                for e in c.evidence {
                    println!("  {:.3} {} [{}]", e.score, e.quote, e.source);
                }
            }
            Answer::Declined { reason } => println!("  DECLINED {reason}"),
            other => println!("{other:?}"),
        }
    }
}
