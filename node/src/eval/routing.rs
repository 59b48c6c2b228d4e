//! One set, routed in several ways.

use foa_capability::parts;
use foa_capability::profile::AgentProfile;

use super::federation::{Dense, Error, Federation, plain_texts, profiles};
use super::metrics::{Answer, Metrics};
use super::set::{Agent, Request, Set};
use super::texts::Embedded;
use super::words::Words;
use crate::model::Embedder;

/// Parts a set is cut into where its own requests are the experience, so that none meets itself.
const FOLDS: usize = 5;

/// What is wanted of a set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Agents of no set, to stand among its own.
    pub corpus: &'a [Agent],
    /// How many of them; each number is measured for itself.
    pub distractors: &'a [usize],
}

/// One way of routing, measured.
#[derive(Clone, Debug)]
pub struct Arm {
    /// Its name: `bm25`, `dense`, `fused` for what a node does, `experience` and `examples` for what it does with more
    /// to go by; `distractors_1000` and so on for what it does among many others.
    pub name: String,
    /// Its figures.
    pub metrics: Metrics,
}

/// Measures every arm that is defined for a set.
///
/// # Errors
/// When a text cannot be embedded or an agent has no card.
pub async fn measure(
    set: &Set,
    wanted: Wanted<'_>,
    embedder: &Embedder,
    progress: &dyn Fn(usize, usize),
) -> Result<Vec<Arm>, Error> {
    let agents = |examples: bool, more: &[Agent]| Agents {
        profiles: profiles(set, examples, more),
        texts: plain_texts(set, examples, more),
    };
    let plain = agents(false, &[]);
    let with_examples = if set.has_examples() { agents(true, &[]) } else { Agents::default() };
    let most = wanted.distractors.iter().max().copied().unwrap_or(0);
    let others: Vec<Agent> = strangers(set, wanted.corpus).take(most).cloned().collect();
    let among = agents(false, &others);

    let mut texts = Embedded::new(embedder.model().clone());
    let of = |agents: &Agents| {
        let own = agents.profiles.iter().flat_map(AgentProfile::texts);
        own.chain(agents.texts.iter().flatten().cloned()).collect::<Vec<_>>()
    };
    let cards = [&plain, &with_examples, &among].map(of).into_iter().flatten();
    let requests = set.requests.iter().chain(&set.past).flat_map(|request| parts::texts(&request.text));
    texts.add(cards.chain(requests), embedder, progress).await?;

    let mut arms = compare("", plain.first(usize::MAX), set, &texts)?;
    if set.has_past() {
        arms.push(Arm { name: "experience".to_owned(), metrics: experienced(set, &plain.profiles, &texts)? });
    }
    if set.has_examples() {
        arms.extend(compare("_examples", with_examples.first(usize::MAX), set, &texts)?);
    }
    for count in wanted.distractors {
        let own = among.first(set.agents.len() + count);
        arms.extend(compare(&format!("_distractors_{count}"), own, set, &texts)?);
    }
    Ok(arms)
}

/// Agents as nodes describe them, and by their bare texts.
#[derive(Default)]
struct Agents {
    profiles: Vec<AgentProfile>,
    texts: Vec<Vec<String>>,
}

impl Agents {
    /// The first so many.
    fn first(&self, many: usize) -> (&[AgentProfile], &[Vec<String>]) {
        let many = many.min(self.profiles.len());
        (&self.profiles[..many], &self.texts[..many])
    }
}

/// The three arms that every collection of agents has.
fn compare(
    suffix: &str,
    (profiles, plain): (&[AgentProfile], &[Vec<String>]),
    set: &Set,
    texts: &Embedded,
) -> Result<Vec<Arm>, Error> {
    let words = Words::new(plain);
    let dense = Dense::new(plain, texts)?;
    let federation = Federation::new(profiles, texts)?;
    let arm = |name: &str, answers: Vec<Answer<'_>>| Arm {
        name: format!("{name}{suffix}"),
        metrics: Metrics::of(&answers),
    };
    let by_words = set.requests.iter().map(|request| words.route(request)).collect();
    let nearest = set.requests.iter().map(|request| dense.route(request, texts)).collect::<Result<_, _>>()?;
    let routed =
        set.requests.iter().map(|request| federation.route(request, texts)).collect::<Result<_, _>>()?;
    Ok(vec![arm("bm25", by_words), arm("dense", nearest), arm("fused", routed)])
}

/// What a node does once agents have served requests of this kind: the other half's, or those of the other folds.
fn experienced(set: &Set, profiles: &[AgentProfile], texts: &Embedded) -> Result<Metrics, Error> {
    let mut answers = Vec::new();
    let folds = if set.past.is_empty() { FOLDS } else { 1 };
    for fold in 0..folds {
        let (own, others): (Vec<_>, Vec<_>) =
            set.requests.iter().enumerate().partition(|(i, _)| i % folds == fold);
        let mut federation = Federation::new(profiles, texts)?;
        let past: Box<dyn Iterator<Item = &Request>> = match folds {
            1 => Box::new(set.past.iter()),
            _ => Box::new(others.into_iter().map(|(_, request)| request)),
        };
        federation.experience(past, texts)?;
        for (_, request) in own {
            answers.push(federation.route(request, texts)?);
        }
    }
    Ok(Metrics::of(&answers))
}

/// Agents of the corpus that are not the set's own: another name or another description.
fn strangers<'a>(set: &'a Set, corpus: &'a [Agent]) -> impl Iterator<Item = &'a Agent> {
    let own: std::collections::BTreeSet<&str> = set.agents.iter().map(|a| a.name.as_str()).collect();
    corpus.iter().filter(move |agent| !own.contains(agent.name.as_str()))
}
