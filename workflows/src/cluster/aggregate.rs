//! The answer that stands for a cluster, how many agree with it, and who does not.
//!
//! Source: algorithms §6. Open answers: an existing answer, the one nearest to the weighted centroid (SelfOrg); no text
//! is made up. Closed answers (a number, a name, yes or no): the weighted majority of equal texts.
//!
//! An answer weighs reputation × its own confidence, and half of that if it shows no evidence where others do. Only
//! answers with at least half of the highest weight can stand for all, so that a shrug near the middle never beats a
//! confident answer with evidence. An answer under [`HEARD`] confidence, or an empty one, abstains: it is neither
//! agreement nor dissent.
//!
//! Units: weights and agreement ‰; thresholds are cosines. Ties: the higher weight, then the smaller id.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use foa_capability::Vector;
use foa_wire::AgentId;
use serde::{Deserialize, Serialize};

use super::form::micros;
use crate::work::{Contribution, PeerContribution};

/// Confidence below which an answer is taken as "I do not know".
pub const HEARD: f64 = 0.2;
/// Most words of an answer that is taken as closed.
const CLOSED_WORDS: usize = 6;

/// One member's latest answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Who answers.
    pub agent: AgentId,
    /// Its reputation, ‰.
    pub weight: u32,
    /// Its answer.
    pub contribution: Contribution,
    /// The meaning of its answer; without one it is like no other.
    pub vector: Option<Vector>,
}

/// What kind of answer a subtask has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Prose: near is good enough.
    Open,
    /// A number, a name, yes or no: equal or not.
    Closed,
}

/// The answer that stands for all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Representative {
    /// Whose answer it is.
    pub agent: AgentId,
    /// The answer, unchanged.
    pub contribution: Contribution,
    /// Share of the weight that agrees with it, its own included, ‰.
    pub agreement: u32,
    /// Who else agrees, in order of ids.
    pub supporters: Vec<AgentId>,
    /// Answers that disagree, heaviest first.
    pub dissent: Vec<PeerContribution>,
    /// Who had nothing to say, in order of ids.
    pub abstained: Vec<AgentId>,
}

/// The kind these answers look like: closed when all that are heard have at most six words.
#[must_use]
pub fn kind_of(members: &[Member]) -> Kind {
    let mut heard = members.iter().filter(|m| is_heard(&m.contribution)).peekable();
    let short = |m: &Member| m.contribution.text.split_whitespace().count() <= CLOSED_WORDS;
    if heard.peek().is_some() && heard.all(short) { Kind::Closed } else { Kind::Open }
}

/// The representative of a cluster; `None` when it has no members. Open answers whose cosine with it is below
/// `dissent_below` dissent; closed ones dissent when they differ.
#[must_use]
pub fn represent(members: &[Member], kind: Kind, dissent_below: f64) -> Option<Representative> {
    let weights = weights(members);
    let best = match kind {
        Kind::Open => nearest(members, &weights),
        Kind::Closed => majority(members, &weights),
    }?;
    let agrees = |i: usize| match kind {
        _ if i == best => true,
        Kind::Open => cosine(&members[i], &members[best]) >= dissent_below,
        Kind::Closed => normal(&members[i].contribution.text) == normal(&members[best].contribution.text),
    };
    let (mut supporters, mut dissenters, mut abstained) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    let (mut with, mut total) = (0.0, 0.0);
    for (i, member) in members.iter().enumerate() {
        if i != best && !is_heard(&member.contribution) {
            abstained.insert(member.agent.clone());
            continue;
        }
        total += weights[i];
        if agrees(i) {
            with += weights[i];
            if i != best {
                supporters.insert(member.agent.clone());
            }
        } else {
            dissenters.push(i);
        }
    }
    dissenters.sort_by_key(|&i| (Reverse(micros(weights[i])), members[i].agent.clone()));
    let dissent = dissenters.into_iter().map(|i| PeerContribution {
        author: members[i].agent.clone(),
        contribution: members[i].contribution.clone(),
    });
    Some(Representative {
        agent: members[best].agent.clone(),
        contribution: members[best].contribution.clone(),
        agreement: u32::try_from(micros(with / total) / 1000).unwrap_or(1000),
        supporters: supporters.into_iter().collect(),
        dissent: dissent.collect(),
        abstained: abstained.into_iter().collect(),
    })
}

/// Whether an answer says anything.
#[must_use]
pub fn is_heard(contribution: &Contribution) -> bool {
    confidence(contribution) >= HEARD && !contribution.text.trim().is_empty()
}

/// For each member the cosine of its answer and the weighted mean answer, in millionths.
pub(crate) fn centrality(members: &[Member]) -> Vec<i64> {
    let weights = weights(members);
    let dots: Vec<f64> = members
        .iter()
        .map(|a| members.iter().zip(&weights).map(|(b, w)| w * cosine(a, b)).sum::<f64>())
        .collect();
    let norm = dots.iter().zip(&weights).map(|(dot, w)| dot * w).sum::<f64>().max(0.0).sqrt();
    dots.into_iter().map(|dot| if norm > 1e-9 { micros(dot / norm) } else { 0 }).collect()
}

/// What each answer counts for. Never all zero.
fn weights(members: &[Member]) -> Vec<f64> {
    let shown = members.iter().any(|m| is_heard(&m.contribution) && !m.contribution.evidence.is_empty());
    let weight = |m: &Member| {
        let bare = shown && m.contribution.evidence.is_empty();
        f64::from(m.weight) / 1000.0 * confidence(&m.contribution) * if bare { 0.5 } else { 1.0 }
    };
    let found: Vec<f64> = members.iter().map(weight).collect();
    if found.iter().any(|w| *w > 0.0) { found } else { vec![1.0; members.len()] }
}

fn nearest(members: &[Member], weights: &[f64]) -> Option<usize> {
    let most = weights.iter().copied().fold(0.0, f64::max);
    let central = centrality(members);
    let key = |&i: &usize| (central[i], micros(weights[i]), Reverse(members[i].agent.clone()));
    (0..members.len()).filter(|&i| weights[i] * 2.0 >= most).max_by_key(key)
}

fn majority(members: &[Member], weights: &[f64]) -> Option<usize> {
    let mut votes: BTreeMap<String, f64> = BTreeMap::new();
    let heard: Vec<usize> = (0..members.len()).filter(|&i| is_heard(&members[i].contribution)).collect();
    for &i in &heard {
        *votes.entry(normal(&members[i].contribution.text)).or_default() += weights[i];
    }
    let key = |&i: &usize| {
        let votes = votes.get(&normal(&members[i].contribution.text)).copied().unwrap_or(0.0);
        (micros(votes), micros(weights[i]), Reverse(members[i].agent.clone()))
    };
    heard.into_iter().max_by_key(key).or_else(|| nearest(members, weights))
}

fn cosine(a: &Member, b: &Member) -> f64 {
    if a.agent == b.agent {
        return 1.0;
    }
    match (&a.vector, &b.vector) {
        (Some(a), Some(b)) => a.cosine(b),
        _ => 0.0,
    }
}

fn confidence(contribution: &Contribution) -> f64 {
    if contribution.confidence.is_nan() { 0.0 } else { contribution.confidence.clamp(0.0, 1.0) }
}

/// A closed answer without case, spacing and the punctuation around it.
fn normal(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        word.trim_matches(|c: char| c.is_ascii_punctuation() && !matches!(c, '-' | '+' | '%' | '$'))
            .to_lowercase()
    });
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::reading::{self, Mode};
    use crate::work::Evidence;

    fn agent(n: usize) -> AgentId {
        format!("a{n}@node.aaaaaaaaaaaaaaaa").parse().unwrap()
    }

    fn member(n: usize, text: &str, confidence: f64, at: [f32; 2]) -> Member {
        Member {
            agent: agent(n),
            weight: 1000,
            contribution: Contribution { text: text.to_owned(), confidence, ..Contribution::default() },
            vector: Some(Vector::new(at.to_vec()).unwrap()),
        }
    }

    fn with_evidence(mut member: Member) -> Member {
        let (quote, source) = ("it is so".to_owned(), "README.md".to_owned());
        member.contribution.evidence.push(Evidence {
            quote,
            source,
            held_by: None,
            score: 0.9,
            artifact: None,
        });
        member
    }

    fn stands(members: &[Member], kind: Kind) -> Representative {
        represent(members, kind, 0.5).unwrap()
    }

    #[test]
    fn the_answer_in_the_middle_stands_and_the_far_one_dissents() {
        let members = [
            member(1, "north", 0.8, [1.0, 0.0]),
            member(2, "north by east", 0.8, [1.0, 0.3]),
            member(3, "north east", 0.8, [1.0, 0.6]),
            member(4, "south", 0.8, [-1.0, 0.1]),
        ];
        let found = stands(&members, Kind::Open);
        assert_eq!(found.agent, agent(3), "the far answer pulls the centre sideways");
        assert_eq!(found.agreement, 750);
        assert_eq!(found.supporters, [1, 2].map(agent));
        let dissent: Vec<_> = found.dissent.iter().map(|d| d.contribution.text.as_str()).collect();
        assert_eq!(dissent, ["south"]);
        assert_eq!(stands(&members[..3], Kind::Open).agent, agent(2));
        assert_eq!(represent(&[], Kind::Open, 0.5), None);
    }

    #[test]
    fn many_that_know_nothing_do_not_outvote_one_that_does() {
        let shrug = |n| member(n, "I hold nothing about this.", 0.1, [0.0, 1.0]);
        let members = [shrug(1), shrug(2), shrug(3), with_evidence(member(4, "Port 1883.", 0.7, [1.0, 0.0]))];
        for kind in [Kind::Open, Kind::Closed] {
            let found = stands(&members, kind);
            assert_eq!((found.agent, found.agreement), (agent(4), 1000), "{kind:?}");
            assert_eq!(found.abstained, [1, 2, 3].map(agent));
            assert_eq!(found.dissent, []);
        }
    }

    #[test]
    fn a_vague_answer_in_the_middle_does_not_beat_a_confident_one() {
        let members = [
            member(1, "east", 0.9, [1.0, 0.9]),
            member(2, "west", 0.8, [1.0, -0.9]),
            member(3, "hm", 0.3, [1.0, 0.0]),
        ];
        assert_eq!(stands(&members, Kind::Open).agent, agent(1));
    }

    #[test]
    fn evidence_counts_double() {
        let bare = member(1, "one", 0.8, [1.0, 0.0]);
        let shown = with_evidence(member(2, "two", 0.6, [0.0, 1.0]));
        assert_eq!(stands(&[bare.clone(), shown], Kind::Open).agent, agent(2));
        // Where nobody shows any, nobody is the worse for it.
        assert_eq!(stands(&[bare, member(2, "two", 0.6, [0.0, 1.0])], Kind::Open).agent, agent(1));
    }

    #[test]
    fn closed_answers_are_counted_by_weight() {
        let at = [1.0, 0.0];
        let members = [
            member(1, "42", 0.9, at),
            member(2, "**42.**", 0.5, at),
            member(3, "-42", 0.95, at),
            member(4, "41", 0.3, at),
        ];
        let found = stands(&members, Kind::Closed);
        assert_eq!((found.agent, found.supporters), (agent(1), vec![agent(2)]));
        let dissent: Vec<_> = found.dissent.iter().map(|d| d.author.clone()).collect();
        assert_eq!(dissent, [agent(3), agent(4)]);
        assert_eq!(kind_of(&members), Kind::Closed);
        let prose = member(5, "it is the answer to everything there is", 0.9, at);
        assert_eq!(kind_of(&[members[0].clone(), prose]), Kind::Open);
        assert_eq!(kind_of(&[]), Kind::Open);
    }

    #[test]
    fn reputation_weighs() {
        let mut members = [
            member(1, "yes", 0.8, [1.0, 0.0]),
            member(2, "no", 0.8, [0.0, 1.0]),
            member(3, "no", 0.8, [0.0, 1.0]),
        ];
        assert_eq!(stands(&members, Kind::Closed).contribution.text, "no");
        members[1].weight = 100;
        members[2].weight = 100;
        assert_eq!(stands(&members, Kind::Closed).contribution.text, "yes");
    }

    #[test]
    fn broken_numbers_do_no_harm() {
        for confidence in [f64::NAN, f64::INFINITY, -3.0, 1e300] {
            let mut broken = member(1, "one", confidence, [1.0, 0.0]);
            broken.vector = None;
            let found = stands(&[broken, member(2, "two", 0.9, [0.0, 1.0])], Kind::Open);
            assert!(found.agreement <= 1000);
        }
        assert_eq!(stands(&[member(1, "", f64::NAN, [1.0, 0.0])], Kind::Closed).agreement, 1000);
    }

    fn any_members() -> impl Strategy<Value = Vec<Member>> {
        let one = ("[ab]{1,2}", 0.0f64..1.0, prop::array::uniform2(-1.0f32..1.0), 0u32..=1000, any::<bool>());
        prop::collection::vec(one, 1..6).prop_map(|all| {
            let make =
                |(n, (text, confidence, at, weight, shown)): (usize, (String, f64, [f32; 2], u32, bool))| {
                    let vector = Vector::new(at.to_vec()).ok();
                    let made = Member { weight, vector, ..member(n, &text, confidence, [1.0, 0.0]) };
                    if shown { with_evidence(made) } else { made }
                };
            all.into_iter().enumerate().map(make).collect()
        })
    }

    proptest! {
        #[test]
        fn everyone_is_accounted_for_whatever_the_order(members in any_members(), closed in any::<bool>()) {
            let kind = if closed { Kind::Closed } else { Kind::Open };
            let found = stands(&members, kind);
            prop_assert_eq!(1 + found.supporters.len() + found.dissent.len() + found.abstained.len(), members.len());
            prop_assert!(found.agreement <= 1000);
            let mut other = members.clone();
            other.reverse();
            let other = stands(&other, kind);
            prop_assert_eq!(&other.agent, &found.agent);
            prop_assert_eq!(other.dissent, found.dissent);
        }

        #[test]
        fn reading_upward_has_no_cycle_and_one_top(members in any_members()) {
            let order = reading::order(&members, Mode::Upward);
            let mut sizes: Vec<usize> = order.values().map(Vec::len).collect();
            sizes.sort_unstable();
            prop_assert_eq!(sizes, (0..members.len()).collect::<Vec<_>>());
            // Whoever I read reads fewer than I do: so nobody is read by someone it reads.
            for (reader, read) in &order {
                for peer in read {
                    prop_assert!(order[peer].len() < order[reader].len());
                }
            }
            let all = reading::order(&members, Mode::AllToAll);
            prop_assert!(all.values().all(|read| read.len() + 1 == members.len()));
        }
    }
}
