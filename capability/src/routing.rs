//! How the directory answers a routing question: hard requirements first, then the nearest vectors, then the score.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use foa_wire::{AgentId, Time};

use crate::directory::{Directory, Entry, Row};
use crate::index::Probe;
use crate::kind::Terms;
use crate::lexical::Scores;
use crate::policy::{self, Policy};
use crate::profile::Effects;
use crate::route::{Candidate, Engine, Factors, Loser, LostBy, MAX_LOSERS, Query, Routed, Unmet};
use crate::score::{Weights, grid};
use crate::turn::turn;
use crate::vector::Vector;

/// Above the index's crossing, so many vectors for each candidate wanted are scored: an agent has several, and the
/// other factors may turn their order. When they are of too few agents, because somebody has many alike, this many times
/// as many, again and again.
const VECTORS_PER_CANDIDATE: usize = 4;
/// Fewest vectors scored above the crossing, as many as a walk sees anyway; also how many agents are found by words or by
/// experience alone.
const FEWEST_SCORED: usize = 48;
/// What rounding to the grid can add to a score: half a millionth for each of what makes the similarity, for the price, the
/// turn and the score itself.
const ROUNDED_UP: f64 = 4e-6;
/// Vectors scored for each part of a task.
const SCORED_FOR_A_PART: usize = 16;

impl Directory {
    /// Who fits a task: candidates best first, everybody else with the reason.
    ///
    /// Filters come first (presence, model, effects, policy, Bloom then skills, price), then the nearest vectors, then
    /// the exact score. Below [`crate::index::CROSSING`] vectors everybody who passes the filters is scored.
    #[must_use]
    pub fn route(&self, query: &Query, now: Time) -> Routed {
        let lexical =
            if self.weights.lexical > 0.0 { self.lexical.scores(&query.text) } else { Scores::default() };
        let filtered = self.filtered(query);
        let engine = self.vectors.engine(filtered.vectors);
        let experience = self.experience(query);
        let (shortlist, engine) = self.shortlist(query, &filtered, engine, &lexical, &experience);
        let considered = filtered.passing + filtered.refused;
        let compared = if self.compares_refused() { considered } else { shortlist.len() };
        let near = Nearness::new(self, query, experience, compared);
        let mut scored = self.best(query, &shortlist, &near, &lexical, now);
        let beyond = scored.split_off(scored.len().min(query.limit));
        let candidates: Vec<Candidate> = scored.into_iter().map(|s| self.candidate(s)).collect();
        let unmet =
            if candidates.iter().any(|c| c.passes) { None } else { self.unmet(query, candidates.first()) };

        let mut losers = self.nearest_refused(query, &filtered, &near);
        losers.extend(beyond.into_iter().take(MAX_LOSERS).map(|s| Loser {
            agent: s.agent.clone(),
            similarity: s.factors.similarity,
            reason: LostBy::Rank { alpha: s.alpha },
        }));
        losers.sort_by(nearest_first);
        losers.truncate(MAX_LOSERS);
        let threshold = self.weights.threshold;
        let (model, seed, price_weight) = (Some(self.model.clone()), query.seed, Some(self.weights.price));
        let spread = None;
        Routed { candidates, losers, threshold, considered, engine, model, seed, price_weight, unmet, spread }
    }

    /// Who passes the filters.
    fn filtered(&self, query: &Query) -> Filtered {
        let meeting = self.kinds.each_terms(&false, |terms| meets(query, terms));
        let mut filtered = Filtered { passes: Vec::with_capacity(self.rows().len()), ..Filtered::default() };
        for row in self.rows() {
            let passes = row.living && row.online && meeting[row.terms as usize];
            filtered.passes.push(passes);
            filtered.passing += usize::from(passes);
            filtered.refused += usize::from(row.living && !passes);
            filtered.vectors += if passes { row.vectors as usize } else { 0 };
        }
        for number in self.excluded(query) {
            if std::mem::take(&mut filtered.passes[number as usize]) {
                filtered.passing -= 1;
                filtered.refused += 1;
                filtered.vectors -= self.rows()[number as usize].vectors as usize;
            }
        }
        filtered
    }

    /// The numbers of agents not to consider.
    fn excluded(&self, query: &Query) -> BTreeSet<u32> {
        query.exclude.iter().filter_map(|agent| self.get(agent)).map(|entry| entry.number).collect()
    }

    /// As many of the shortlist, which rises, as candidates and losers are wanted, best first, ties by agent.
    ///
    /// No factor is above 1, so nobody's score exceeds the product of those that cost little to know. Looked at in falling
    /// order of that, the rest cannot change the answer once the last one wanted scores as much as the next could.
    fn best(
        &self,
        query: &Query,
        shortlist: &[u32],
        near: &Nearness<'_>,
        lexical: &Scores,
        now: Time,
    ) -> Vec<Scored<'_>> {
        let wanted = query.limit.saturating_add(MAX_LOSERS);
        let ranks = self.ranks();
        let price =
            |terms: &Terms| self.weights.price(terms.card.capability().offer.expected_price(), query.budget);
        let prices = self.kinds.each_terms(&1.0, price);
        let served: Vec<(u32, f64)> = near.experience.iter().map(|(n, near)| (*n, *near)).collect();
        let (mut bm25, mut served) = (Following::new(lexical.rising()), Following::new(&served));
        let most = |number: &u32| {
            let row = &self.rows()[*number as usize];
            let words = self.weights.words(bm25.of(*number));
            let dense = near.dense(*number).max(served.of(*number));
            let similarity = self.weights.similarity(dense, words);
            let bound = similarity * prices[row.terms as usize] * turn(query.seed, row.lot);
            Most { alpha: bound + ROUNDED_UP, rank: ranks[*number as usize], number: *number }
        };
        let mut waiting = Waiting::new(shortlist.iter().map(most).collect(), wanted.saturating_mul(4));
        // The worst of those kept is on top.
        let mut kept: BinaryHeap<Reverse<Most>> = BinaryHeap::new();
        let mut factors: BTreeMap<u32, Factors> = BTreeMap::new();
        while let Some(next) = waiting.pop() {
            if kept.len() >= wanted && kept.peek().is_some_and(|Reverse(worst)| next < *worst) {
                break;
            }
            let Some((agent, entry)) = self.numbered(next.number) else { continue };
            let found = self.factors(query, agent, entry, near, lexical.of(next.number), now);
            kept.push(Reverse(Most { alpha: found.alpha(), ..next }));
            factors.insert(next.number, found);
            if kept.len() > wanted
                && let Some(Reverse(worst)) = kept.pop()
            {
                factors.remove(&worst.number);
            }
        }
        let ranked = kept.into_sorted_vec().into_iter();
        let scored = ranked.filter_map(|Reverse(Most { alpha, number, .. })| {
            let (agent, entry) = self.numbered(number)?;
            Some(Scored { alpha, agent, entry, factors: factors.remove(&number)? })
        });
        scored.collect()
    }

    /// Agents that are not gone for good, by number.
    fn living(&self) -> impl Iterator<Item = (u32, &Row)> {
        (0..).zip(self.rows()).filter(|(_, row)| row.living)
    }

    /// How near to the task and its parts those requests are that agents served before, by the agent's number.
    fn experience(&self, query: &Query) -> BTreeMap<u32, f64> {
        if self.weights.experience <= 0.0 {
            return BTreeMap::new();
        }
        let near = |(number, served): (u32, &Vector)| {
            let parts: Vec<f64> = query.parts.iter().map(|part| served.cosine(part)).collect();
            let cosine = self.weights.near(served.cosine(&query.vector), &parts);
            (number, (self.weights.experience * cosine).clamp(0.0, 1.0))
        };
        self.experience.iter().map(near).collect()
    }

    /// Of those that pass, who is worth scoring: all while the scan is exact, else the nearest by meaning, of the whole
    /// and of each part, by words and by experience.
    fn shortlist(
        &self,
        query: &Query,
        filtered: &Filtered,
        engine: Engine,
        lexical: &Scores,
        experience: &BTreeMap<u32, f64>,
    ) -> (Vec<u32>, Engine) {
        if engine == Engine::Exact {
            let passing = (0..).zip(&filtered.passes).filter(|(_, passes)| **passes);
            return (passing.map(|(number, _)| number).collect(), Engine::Exact);
        }
        let passes = |number: u32| filtered.passes.get(number as usize).copied().unwrap_or(false);
        let vectors = filtered.vectors;
        let mut k = query.limit.saturating_mul(VECTORS_PER_CANDIDATE).max(FEWEST_SCORED);
        let (mut numbers, engine) = loop {
            let (hits, engine) = self.vectors.nearest(&query.vector, k, vectors, &|key| passes(key.agent));
            let numbers: BTreeSet<u32> = hits.iter().map(|h| h.key.agent).collect();
            if numbers.len() >= query.limit || hits.len() < k {
                break (numbers, engine);
            }
            k = k.saturating_mul(VECTORS_PER_CANDIDATE);
        };
        if self.weights.parts > 0.0 {
            for part in &query.parts {
                let (hits, _) =
                    self.vectors.nearest(part, SCORED_FOR_A_PART, vectors, &|key| passes(key.agent));
                numbers.extend(hits.iter().map(|h| h.key.agent));
            }
        }
        let best = |mut scores: Vec<(u32, f64)>| {
            if scores.len() > FEWEST_SCORED {
                let order = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0));
                scores.select_nth_unstable_by(FEWEST_SCORED, order);
                scores.truncate(FEWEST_SCORED);
            }
            scores.into_iter().map(|(number, _)| number)
        };
        numbers.extend(best(lexical.iter().filter(|(n, _)| passes(*n)).collect()));
        numbers.extend(best(experience.iter().map(|(n, s)| (*n, *s)).filter(|(n, _)| passes(*n)).collect()));
        (numbers.into_iter().collect(), engine)
    }

    /// Whether there are so few vectors that all who are refused are compared.
    fn compares_refused(&self) -> bool {
        self.vectors.engine(usize::MAX) == Engine::Exact
    }

    /// The refused that are nearest to the task.
    fn nearest_refused(&self, query: &Query, filtered: &Filtered, near: &Nearness<'_>) -> Vec<Loser> {
        let is_refused =
            |number: &u32| !filtered.passes[*number as usize] && self.rows()[*number as usize].living;
        let refused: Vec<u32> = if filtered.refused == 0 {
            Vec::new()
        } else if self.compares_refused() {
            (0..).take(filtered.passes.len()).filter(is_refused).collect()
        } else {
            let (hits, _) = self.vectors.nearest(&query.vector, 2 * MAX_LOSERS, usize::MAX, &|_| true);
            let refused: BTreeSet<u32> = hits.iter().map(|h| h.key.agent).filter(is_refused).collect();
            refused.into_iter().collect()
        };
        let ranks = self.ranks();
        let most = |number: &u32| Most {
            alpha: near.similarity(*number),
            rank: ranks[*number as usize],
            number: *number,
        };
        let mut nearest: Vec<Most> = refused.iter().map(most).collect();
        if nearest.len() > MAX_LOSERS {
            nearest.select_nth_unstable_by(MAX_LOSERS - 1, |a, b| b.cmp(a));
            nearest.truncate(MAX_LOSERS);
        }
        let loser = |Most { alpha, number, .. }: Most| {
            let (agent, entry) = self.numbered(number)?;
            let reason = self.refusals(query, agent, entry).into_iter().next()?;
            Some(Loser { agent: agent.clone(), similarity: grid(alpha), reason })
        };
        nearest.into_iter().filter_map(loser).collect()
    }

    /// Every hard requirement this agent fails, in the order they are checked.
    fn refusals(&self, query: &Query, agent: &AgentId, entry: &Entry) -> Vec<LostBy> {
        let row = self.rows()[entry.number as usize];
        let mut reasons = Vec::new();
        if query.exclude.contains(agent) {
            reasons.push(LostBy::Excluded);
        }
        if !row.online {
            reasons.push(LostBy::Offline);
        }
        if let Some(terms) = self.kinds.terms(row.terms) {
            reasons.extend(unfit(query, terms));
        }
        reasons
    }

    fn factors(
        &self,
        query: &Query,
        agent: &AgentId,
        entry: &Entry,
        near: &Nearness<'_>,
        bm25: f64,
        now: Time,
    ) -> Factors {
        let offer = &entry.card.capability().offer;
        let (dense, lexical) = (grid(near.dense(entry.number)), grid(self.weights.words(bm25)));
        let experience = near.experience.get(&entry.number).copied().map(grid);
        let spec = query.spec.as_ref().and_then(|_| entry.card.spec_vector(&self.model));
        Factors {
            similarity: self.weights.similar(dense, experience, lexical),
            dense,
            best_vector: near.best_vector(entry).to_owned(),
            lexical,
            experience,
            policy: 1.0,
            resources: grid(self.weights.resources(&query.needs, offer)),
            price: grid(self.weights.price(offer.expected_price(), query.budget)),
            load: grid(self.weights.load(self.load(agent).queue, offer.concurrency)),
            spec: grid(Weights::spec(query.spec.as_ref(), spec.as_ref())),
            reputation: grid(self.reputation.factor(agent, &query.vector, now)),
            turn: grid(turn(query.seed, self.rows()[entry.number as usize].lot)),
        }
    }

    fn candidate(&self, scored: Scored<'_>) -> Candidate {
        let Scored { alpha, agent, entry, factors } = scored;
        let capability = entry.card.capability();
        Candidate {
            agent: agent.clone(),
            alpha,
            passes: alpha > self.weights.threshold,
            factors,
            version: entry.card.order(),
            model: self.model.clone(),
            price: capability.offer.expected_price(),
            worst_case: capability.offer.worst_case(),
            concurrency: capability.offer.concurrency.max(1),
            effects: capability.effects,
            skills: entry.skills().clone(),
            base_model: capability.base_model.clone(),
        }
    }

    /// What stands in the way when nobody passes: the requirement that the nearest agent fails, where nearest is who
    /// fails the fewest, then who fits best.
    fn unmet(&self, query: &Query, best: Option<&Candidate>) -> Option<Unmet> {
        let threshold = self.weights.threshold;
        if let Some(best) = best {
            let weakest = best.factors.weakest().to_owned();
            let reason = LostBy::Threshold { alpha: best.alpha, threshold, weakest };
            let nearest = Loser { agent: best.agent.clone(), similarity: best.factors.similarity, reason };
            let meeting = self.kinds.each_terms(&false, |terms| meets(query, terms));
            let excluded = self.excluded(query);
            let fits = |(number, row): &(u32, &Row)| {
                row.online && meeting[row.terms as usize] && !excluded.contains(number)
            };
            let lacked_by = self.living().filter(fits).count();
            let requirement = format!("a score above {threshold}");
            return Some(Unmet { requirement, lacked_by, nearest: Some(nearest) });
        }
        let Some((nearest, lacked_by)) = self.nearest_unfit(query) else {
            return Some(Unmet { requirement: "an agent".to_owned(), lacked_by: 0, nearest: None });
        };
        Some(Unmet { requirement: requirement(&nearest.reason), lacked_by, nearest: Some(nearest) })
    }

    /// Of agents that all fail something, the one that fails the fewest requirements, then fits best; and how many fail
    /// only what it fails first.
    fn nearest_unfit(&self, query: &Query) -> Option<(Loser, usize)> {
        let failing = self.kinds.each_terms(&Vec::new(), |terms| unfit(query, terms));
        let near = Nearness::new(self, query, self.experience(query), self.rows().len());
        let (excluded, ranks) = (self.excluded(query), self.ranks());
        let mut lone: BTreeMap<&'static str, usize> = BTreeMap::new();
        let mut nearest: Option<(usize, Most)> = None;
        for (number, row) in self.living() {
            let failing = &failing[row.terms as usize];
            let own = [(excluded.contains(&number), LostBy::Excluded), (!row.online, LostBy::Offline)];
            let mut own = own.iter().filter(|(fails, _)| *fails).map(|(_, reason)| reason);
            let count = own.clone().count() + failing.len();
            let Some(first) = own.next().or(failing.first()) else { continue };
            if count == 1 {
                *lone.entry(first.name()).or_default() += 1;
            }
            let most = Most { alpha: near.similarity(number), rank: ranks[number as usize], number };
            if nearest.is_none_or(|(fewest, best)| count < fewest || (count == fewest && most > best)) {
                nearest = Some((count, most));
            }
        }
        let (_, Most { alpha, number, .. }) = nearest?;
        let (agent, entry) = self.numbered(number)?;
        let reason = self.refusals(query, agent, entry).into_iter().next()?;
        let lacked_by = lone.get(reason.name()).copied().unwrap_or(0);
        Some((Loser { agent: agent.clone(), similarity: grid(alpha), reason }, lacked_by))
    }
}

/// Whether agents of these terms meet every hard requirement on their cards: the cheap ones first, none of them in words.
fn meets(query: &Query, terms: &Terms) -> bool {
    let capability = terms.card.capability();
    terms.same_model
        && (query.allow_write || capability.effects != Effects::Write)
        && query.budget.is_none_or(|budget| capability.offer.expected_price() <= budget)
        && (query.policies.is_empty() && query.skills.is_empty() || unfit(query, terms).is_empty())
}

/// Every hard requirement that agents of these terms fail by their cards, in the order they are checked.
fn unfit(query: &Query, terms: &Terms) -> Vec<LostBy> {
    let capability = terms.card.capability();
    let mut reasons = Vec::new();
    if !terms.same_model {
        reasons.push(LostBy::OtherModel { model: capability.model.clone() });
    }
    if capability.effects == Effects::Write && !query.allow_write {
        reasons.push(LostBy::Effects);
    }
    let lacks = policy::lacking(&query.policies, &capability.policies);
    if !lacks.is_empty() {
        reasons.push(LostBy::Policy { lacks });
    }
    // The filter says no for sure; its yes is confirmed by the list.
    let lacks = |skill: &&String| {
        !capability.skills.maybe_contains(skill)
            || !terms.card.skill_keys().contains(&skill.trim().to_lowercase())
    };
    let lacks: Vec<String> = query.skills.iter().filter(lacks).cloned().collect();
    if !lacks.is_empty() {
        reasons.push(LostBy::Skill { lacks });
    }
    let price = capability.offer.expected_price();
    if let Some(budget) = query.budget.filter(|b| price > *b) {
        reasons.push(LostBy::Price { price, budget });
    }
    reasons
}

/// How near agents are to a task. Where most are compared anyway, that is worked out once for each kind.
struct Nearness<'a> {
    directory: &'a Directory,
    whole: Probe,
    parts: Vec<Probe>,
    kinds: Option<Vec<f64>>,
    /// By the agent's number.
    experience: BTreeMap<u32, f64>,
}

impl<'a> Nearness<'a> {
    /// For comparing so many agents.
    fn new(
        directory: &'a Directory,
        query: &'a Query,
        experience: BTreeMap<u32, f64>,
        agents: usize,
    ) -> Self {
        let (vectors, weights) = (&directory.vectors, &directory.weights);
        let whole = Probe::new(&query.vector);
        let parts: &[Vector] = if weights.parts > 0.0 { &query.parts } else { &[] };
        let parts: Vec<Probe> = parts.iter().map(Probe::new).collect();
        let kinds = (agents * 2 >= vectors.distinct()).then(|| {
            let all: Vec<Vec<f32>> =
                std::iter::once(&whole).chain(&parts).map(|p| vectors.cosines(p)).collect();
            let best = |cosines: &Vec<f32>, slots: &[u32]| {
                let of = |slot: &u32| cosines.get(*slot as usize).copied().map_or(-1.0, f64::from);
                slots.iter().map(of).fold(-1.0, f64::max)
            };
            directory.kinds.each(&-1.0, |kind| {
                let of_parts: Vec<f64> = all[1..].iter().map(|cosines| best(cosines, &kind.slots)).collect();
                weights.near(best(&all[0], &kind.slots), &of_parts)
            })
        });
        Self { directory, whole, parts, kinds, experience }
    }

    /// How near an agent's own vectors are; −1 when it has none that can be compared.
    fn cosine(&self, number: u32) -> f64 {
        let kind = self.directory.rows()[number as usize].kind;
        if let Some(known) = self.kinds.as_ref().and_then(|kinds| kinds.get(kind as usize)) {
            return *known;
        }
        let slots = self.slots(number);
        let best = |probe: &Probe| {
            let cosines = slots.iter().map(|slot| self.directory.vectors.cosine(*slot, probe));
            cosines.fold(-1.0, f64::max)
        };
        let parts: Vec<f64> = self.parts.iter().map(best).collect();
        self.directory.weights.near(best(&self.whole), &parts)
    }

    /// Which of an agent's vectors is nearest to the whole; earlier ones win ties.
    fn best_vector<'b>(&self, entry: &'b Entry) -> &'b str {
        let slots = self.slots(entry.number).iter();
        let cosines = slots.map(|slot| self.directory.vectors.cosine(*slot, &self.whole));
        let mut best = ("description", -1.0);
        let own = entry.card().capability().comparable(&self.directory.model);
        for (own, cosine) in own.map_or(&[][..], |own| own.vectors).iter().zip(cosines) {
            if cosine > best.1 {
                best = (&own.of, cosine);
            }
        }
        best.0
    }

    /// Where an agent's vectors are.
    fn slots(&self, number: u32) -> &[u32] {
        let kind = self.directory.rows()[number as usize].kind;
        self.directory.kinds.get(kind).map_or(&[][..], |kind| &kind.slots)
    }

    /// How near an agent's own vectors are, at least 0; 0 too for vectors of another model, which cannot be compared and
    /// have no slots.
    fn dense(&self, number: u32) -> f64 {
        self.cosine(number).max(0.0)
    }

    /// How near an agent is by what it says or by what it served before.
    fn similarity(&self, number: u32) -> f64 {
        let dense = self.dense(number);
        self.experience.get(&number).map_or(dense, |served| dense.max(*served))
    }
}

/// An agent that meets every hard requirement, with its score.
struct Scored<'a> {
    alpha: f64,
    agent: &'a AgentId,
    entry: &'a Entry,
    factors: Factors,
}

/// The most an agent can score, or what it does score; the higher first, ties by order of id.
#[derive(Clone, Copy, Debug)]
struct Most {
    alpha: f64,
    rank: u32,
    number: u32,
}

impl Ord for Most {
    fn cmp(&self, other: &Self) -> Ordering {
        self.alpha.total_cmp(&other.alpha).then_with(|| other.rank.cmp(&self.rank))
    }
}

impl PartialOrd for Most {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Most {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Most {}

/// Who passes the filters, of those who are not gone for good.
#[derive(Debug, Default)]
struct Filtered {
    /// By number.
    passes: Vec<bool>,
    passing: usize,
    refused: usize,
    /// Of those that pass.
    vectors: usize,
}

/// Looks up numbers that rise in a list that rises too; 0 for those that are not in it.
struct Following<'a> {
    list: &'a [(u32, f64)],
}

impl<'a> Following<'a> {
    fn new(list: &'a [(u32, f64)]) -> Self {
        Self { list }
    }

    fn of(&mut self, number: u32) -> f64 {
        while let [(first, found), rest @ ..] = self.list {
            match (*first).cmp(&number) {
                Ordering::Less => self.list = rest,
                Ordering::Equal => return *found,
                Ordering::Greater => break,
            }
        }
        0.0
    }
}

/// Agents in falling order of what they can score at most. A few are put in order first: mostly the rest is never asked
/// for.
struct Waiting {
    first: BinaryHeap<Most>,
    rest: Vec<Most>,
}

impl Waiting {
    fn new(mut all: Vec<Most>, few: usize) -> Self {
        let mut rest = Vec::new();
        if few < all.len() {
            all.select_nth_unstable_by(few, |a, b| b.cmp(a));
            rest = all.split_off(few);
        }
        Self { first: all.into(), rest }
    }

    fn pop(&mut self) -> Option<Most> {
        if self.first.is_empty() {
            self.first = std::mem::take(&mut self.rest).into();
        }
        self.first.pop()
    }
}

/// What an agent failed, as a requirement in words.
fn requirement(reason: &LostBy) -> String {
    match reason {
        LostBy::Excluded => "an agent that is not excluded".to_owned(),
        LostBy::Offline => "an agent online".to_owned(),
        LostBy::OtherModel { .. } => "an agent with vectors of this model".to_owned(),
        LostBy::Effects => "an agent that only reads".to_owned(),
        LostBy::Policy { lacks } => {
            format!("policy {}", lacks.iter().map(Policy::to_string).collect::<Vec<_>>().join(", "))
        }
        LostBy::Skill { lacks } => format!("skill {}", lacks.join(", ")),
        LostBy::Price { budget, .. } => format!("budget {budget}"),
        LostBy::Threshold { threshold, .. } => format!("a score above {threshold}"),
        LostBy::Rank { .. } => "a place among those wanted".to_owned(),
    }
}

fn nearest_first(a: &Loser, b: &Loser) -> Ordering {
    b.similarity.total_cmp(&a.similarity).then_with(|| a.agent.cmp(&b.agent))
}

impl Factors {
    /// The factors by name, in the order of the score.
    #[must_use]
    pub fn named(&self) -> [(&'static str, f64); 8] {
        [
            ("similarity", self.similarity),
            ("policy", self.policy),
            ("resources", self.resources),
            ("price", self.price),
            ("load", self.load),
            ("spec", self.spec),
            ("reputation", self.reputation),
            ("turn", self.turn),
        ]
    }

    /// The score α: the product of the factors, on the grid as they are.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        grid(self.named().iter().map(|(_, factor)| factor).product())
    }

    /// The name of the lowest factor; the earlier of equals.
    #[must_use]
    pub fn weakest(&self) -> &'static str {
        let named = self.named();
        named.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are eight").0
    }
}

#[cfg(test)]
mod tests;
