//! An agent that holds documents and quotes from them. It has no language model: it finds passages by words and by
//! meaning (`index`), quotes the sentences that answer (`answer`), and says so when it holds none.

mod answer;
mod index;
mod passage;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use foa_capability::{AgentProfile, Skill, Vector};
use foa_workflows::work::{Answer, Ask, Contribution, Evidence, Finding, PeerContribution, Usage};

use self::answer::Question;
use self::index::Index;
pub use self::passage::{Passage, passages};
pub use self::read::{Document, ReadError, folder};
use super::planner::{self, Grain};
use super::text::{sentences, shortened, terms};
use super::{Agent, Context, Failure, Reply};
use crate::model::{EmbedError, Embedder};

/// Words of an earlier finding that are added to a query.
const CARRIED: usize = 240;
/// How much of the peers' direction goes into the next query (Rocchio's β with α = 1).
const PULL: f32 = 0.4;
/// Sections with a skill, and so a vector, of their own; beyond, each document has one.
const SECTIONS: usize = 64;
/// Sentences of a section that stand on the card.
const EXAMPLES: usize = 4;
/// Words taken from peers' passages into the next query.
const BORROWED: usize = 6;

/// The agent.
pub struct Corpus {
    profile: AgentProfile,
    grain: Grain,
    index: Index,
    embedder: Embedder,
}

impl Corpus {
    /// Cuts, counts and embeds `documents`. More skills and, where `profile` has none, the description are made of what
    /// the documents hold.
    ///
    /// # Errors
    /// When the embedding model fails.
    pub async fn new(
        mut profile: AgentProfile,
        grain: Grain,
        documents: &[Document],
        embedder: Embedder,
    ) -> Result<Self, EmbedError> {
        let passages: Vec<Passage> = documents.iter().flat_map(passages).collect();
        let taken: BTreeSet<String> = profile.skills.iter().map(|skill| skill.id.clone()).collect();
        profile.skills.extend(skills(&passages).into_iter().filter(|skill| !taken.contains(&skill.id)));
        let (skills, warnings) = foa_capability::skills::trim(std::mem::take(&mut profile.skills));
        for warning in warnings {
            tracing::debug!(agent = %profile.name, warning, "card trimmed");
        }
        if profile.description.is_empty() {
            profile.description = description(&skills);
        }
        profile.skills = skills;
        let index = Index::new(passages, &embedder).await?;
        Ok(Self { profile, grain, index, embedder })
    }

    /// How many passages it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.passages.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.passages.is_empty()
    }

    async fn draft(
        &self,
        question: &str,
        inputs: &[Finding],
        context: &Context,
    ) -> Result<Answer, EmbedError> {
        if self.is_empty() {
            return Ok(Answer::Declined { reason: "it holds no documents".to_owned() });
        }
        let question = Question::new(bare(question), &self.index, &self.embedder).await?;
        let query = carried(question.text(), inputs);
        let direction = if inputs.is_empty() {
            question.direction.clone()
        } else {
            self.embedder.embed_one(&query).await?
        };
        let found =
            answer::evidence(&question, (&query, &direction), &self.index, &self.embedder, &context.agent)
                .await?;
        if !answer::holds(&found) {
            let near = found.first().map_or_else(String::new, |e| {
                format!("; nearest, at {:.2}: {} [{}]", e.score, shortened(&e.quote, 80), e.source)
            });
            return Ok(Answer::Declined { reason: format!("none of its passages answers this{near}") });
        }
        Ok(Answer::Contribution(answer::contribution(found, false)))
    }

    /// Peers' passages sharpen the next search, and the best evidence of all, whoever holds it, is the new answer.
    async fn refine(
        &self,
        question: &str,
        own: Contribution,
        peers: &[PeerContribution],
        context: &Context,
    ) -> Result<Answer, EmbedError> {
        let question = Question::new(bare(question), &self.index, &self.embedder).await?;
        let mut theirs: Vec<Evidence> = peers.iter().flat_map(attributed).collect();
        answer::rescore(&question, &mut theirs, &self.embedder).await?;
        answer::rank(&mut theirs);
        let mut all = own.evidence.clone();
        if !self.is_empty() {
            let (query, direction) = self.sharpened(&question, &theirs).await?;
            let search = (query.as_str(), &direction);
            all.extend(
                answer::evidence(&question, search, &self.index, &self.embedder, &context.agent).await?,
            );
        }
        all.extend(theirs);
        answer::rank(&mut all);
        let mut refined = answer::contribution(all, false);
        let quotes = |c: &Contribution| c.evidence.iter().map(|e| e.quote.clone()).collect::<Vec<_>>();
        refined.complete = quotes(&refined) == quotes(&own);
        if refined.evidence.is_empty() {
            refined = Contribution { complete: true, ..own };
        }
        Ok(Answer::Contribution(refined))
    }

    /// The question, pulled towards what peers found.
    async fn sharpened(
        &self,
        question: &Question,
        theirs: &[Evidence],
    ) -> Result<(String, Vector), EmbedError> {
        let best: Vec<&Evidence> = theirs.iter().take(3).collect();
        let vectors = self.embedder.embed(best.iter().map(|e| e.quote.clone()).collect()).await?;
        let mut sum = question.direction.as_slice().to_vec();
        for vector in &vectors {
            for (s, x) in sum.iter_mut().zip(vector.as_slice()) {
                *s += PULL / vectors.len() as f32 * x;
            }
        }
        let direction = Vector::new(sum).unwrap_or_else(|_| question.direction.clone());
        let mut words: BTreeMap<String, f64> = BTreeMap::new();
        for term in best.iter().flat_map(|e| terms(&e.quote)) {
            *words.entry(term.clone()).or_default() += self.index.rarity(&term);
        }
        let mut words: Vec<(String, f64)> = words.into_iter().collect();
        words.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let borrowed: Vec<String> = words.into_iter().take(BORROWED).map(|(word, _)| word).collect();
        Ok((format!("{} {}", question.text(), borrowed.join(" ")), direction))
    }
}

#[async_trait]
impl Agent for Corpus {
    fn profile(&self) -> AgentProfile {
        self.profile.clone()
    }

    async fn answer(&self, ask: Ask, context: Context) -> Result<Reply, Failure> {
        if let Some(reply) = planner::answer(&ask, self.grain) {
            return Ok(reply);
        }
        let work = async {
            match &ask {
                Ask::Draft { subtask, inputs, .. } => {
                    self.draft(&subtask.description, inputs, &context).await
                }
                Ask::Refine { subtask, own, peers, .. } => {
                    self.refine(&subtask.description, own.clone(), peers, &context).await
                }
                Ask::Synthesise { task, parts, mode, lead } => {
                    Ok(super::synthesise(task, parts, *mode, lead.as_deref()).answer)
                }
                Ask::Propose { .. } | Ask::Judge { .. } => unreachable!("the planner answered these"),
            }
        };
        tokio::select! {
            answer = work => match answer {
                Ok(answer) => Ok(Reply { answer, usage: Usage::default() }),
                Err(error) => Err(Failure::Unavailable { reason: error.to_string() }),
            },
            () = context.cancelled.cancelled() => Err(Failure::Cancelled),
            () = tokio::time::sleep_until(context.deadline) => Err(Failure::Timeout { usage: Usage::default() }),
        }
    }
}

/// A question without what the planner added for human readers.
fn bare(question: &str) -> &str {
    question.split(" (given: ").next().unwrap_or(question)
}

/// What earlier subtasks found belongs to the query.
fn carried(question: &str, inputs: &[Finding]) -> String {
    let mut query = question.to_owned();
    for finding in inputs {
        query.push(' ');
        query.push_str(&shortened(&finding.text, CARRIED));
    }
    query
}

/// A peer's evidence; what it does not attribute is its own.
fn attributed(peer: &PeerContribution) -> Vec<Evidence> {
    let own =
        |e: &Evidence| Evidence { held_by: e.held_by.clone().or(Some(peer.author.clone())), ..e.clone() };
    peer.contribution.evidence.iter().map(own).collect()
}

/// One skill for each section, so that each subject has a vector of its own; one for each document when there are more than
/// [`SECTIONS`] of them. A skill has the headings, the words that set it apart, and its first sentences as examples.
fn skills(passages: &[Passage]) -> Vec<Skill> {
    let section = |p: &Passage| (p.path.clone(), p.headings.get(1).cloned().unwrap_or_default());
    let document = |p: &Passage| (p.path.clone(), String::new());
    let sections: BTreeSet<(String, String)> = passages.iter().map(section).collect();
    let by_section = sections.len() <= SECTIONS;
    let mut subjects: BTreeMap<(String, String), Vec<&Passage>> = BTreeMap::new();
    for passage in passages {
        let subject = if by_section { section(passage) } else { document(passage) };
        subjects.entry(subject).or_default().push(passage);
    }
    let counts: Vec<BTreeMap<String, usize>> = subjects
        .values()
        .map(|passages| {
            let mut counts = BTreeMap::new();
            for term in passages.iter().flat_map(|p| terms(&p.text())) {
                *counts.entry(term).or_default() += 1;
            }
            counts
        })
        .collect();
    let mut ids = BTreeSet::new();
    let mut skills = Vec::new();
    for (own, ((path, heading), passages)) in subjects.iter().enumerate() {
        let headings: Vec<&str> = unique(passages.iter().flat_map(|p| p.headings.iter().map(String::as_str)));
        let title = headings.first().copied().unwrap_or(path);
        let name = if heading.is_empty() { title.to_owned() } else { format!("{title}: {heading}") };
        let words = characteristic(own, &counts);
        let first = passages.iter().flat_map(|p| p.pieces.iter()).map(|piece| first_sentence(piece));
        let examples = unique(first).into_iter().take(EXAMPLES);
        let mut id = slug(&format!("{path} {heading}"));
        while !ids.insert(id.clone()) {
            id.push('x');
        }
        skills.push(Skill {
            id,
            name,
            description: format!("Passages of {path} about {}", words.join(", ")),
            tags: vec!["documents".to_owned()],
            examples: examples.map(|e| shortened(e, 190)).collect(),
        });
    }
    skills
}

fn first_sentence(piece: &str) -> &str {
    sentences(piece).first().copied().unwrap_or(piece)
}

/// The words a subject uses most that others use little.
fn characteristic(own: usize, counts: &[BTreeMap<String, usize>]) -> Vec<String> {
    let all = counts.len() as f64;
    let weight = |(term, n): (&String, &usize)| {
        let found = counts.iter().filter(|c| c.contains_key(term)).count() as f64;
        (term.clone(), (1.0 + (*n as f64).ln()) * (1.0 + (all / found).ln()))
    };
    let words = counts[own].iter().filter(|(t, _)| t.chars().all(char::is_alphabetic) && t.len() > 2);
    let mut weighed: Vec<(String, f64)> = words.map(weight).collect();
    weighed.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    weighed.into_iter().take(12).map(|(term, _)| term).collect()
}

fn description(skills: &[Skill]) -> String {
    let title = |skill: &'_ Skill| skill.name.split(": ").next().unwrap_or_default().to_owned();
    let titles: Vec<String> = skills.iter().map(title).collect();
    let names: Vec<&str> = unique(titles.iter().map(String::as_str)).into_iter().take(8).collect();
    format!("Quotes the passages that answer a question from its documents: {}", names.join("; "))
}

fn unique<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    texts.filter(|t| !t.is_empty() && seen.insert(*t)).collect()
}

fn slug(path: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    path.chars().map(legal).collect::<String>().trim_matches('-').chars().take(60).collect()
}

#[cfg(test)]
mod tests;
