//! How good an order of agents is.

use std::collections::BTreeMap;

/// The best of one request's answer, and who should have been there.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// Agents by their place in the set, best first; five are enough.
    pub ranked: Vec<usize>,
    /// The score of the first; 0 when there is none.
    pub score: f64,
    /// Who fits; none where nobody does.
    pub gold: &'a [usize],
}

/// Figures over the answers to many requests, each between 0 and 1.
///
/// Requests that nobody fits count only in the last two, and those exist only where there are both kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Requests that somebody fits.
    pub requests: usize,
    /// Share of those who fit that came first, averaged over requests.
    pub r1: f64,
    /// The same for the first five.
    pub r5: f64,
    /// Discounted gain of the first five, as part of the best possible.
    pub ndcg5: f64,
    /// Share of requests with all who fit among the first five.
    pub c5: f64,
    /// Chance that a request somebody fits has a higher score than one nobody fits.
    pub auroc: Option<f64>,
    /// Share of requests nobody fits that pass the threshold which 95 % of the others pass.
    pub fpr95: Option<f64>,
}

impl Metrics {
    /// Those of many answers.
    #[must_use]
    pub fn of(answers: &[Answer<'_>]) -> Self {
        let mut sum = Self::default();
        for answer in answers.iter().filter(|a| !a.gold.is_empty()) {
            let hit = |agent: &usize| answer.gold.contains(agent);
            let share = |k: usize| {
                answer.ranked.iter().take(k).filter(|a| hit(a)).count() as f64 / answer.gold.len() as f64
            };
            let gain = |place: usize| 1.0 / (place as f64 + 2.0).log2();
            let gained: f64 =
                answer.ranked.iter().take(5).enumerate().filter(|(_, a)| hit(a)).map(|(i, _)| gain(i)).sum();
            let most: f64 = (0..answer.gold.len().min(5)).map(gain).sum();
            sum.requests += 1;
            sum.r1 += share(1);
            sum.r5 += share(5);
            sum.ndcg5 += gained / most;
            sum.c5 += f64::from(u8::from(share(5) >= 1.0));
        }
        let count = sum.requests.max(1) as f64;
        let (auroc, fpr95) = rejection(answers).unzip();
        Self {
            r1: sum.r1 / count,
            r5: sum.r5 / count,
            ndcg5: sum.ndcg5 / count,
            c5: sum.c5 / count,
            auroc,
            fpr95,
            ..sum
        }
    }

    /// The figures by name: `r1`, `r5`, `ndcg5`, `c5`, and where defined `auroc` and `fpr95`.
    #[must_use]
    pub fn named(&self) -> BTreeMap<&'static str, f64> {
        let always = [("r1", self.r1), ("r5", self.r5), ("ndcg5", self.ndcg5), ("c5", self.c5)];
        let sometimes = [("auroc", self.auroc), ("fpr95", self.fpr95)];
        always.into_iter().chain(sometimes.into_iter().filter_map(|(n, v)| Some((n, v?)))).collect()
    }
}

/// Area under the curve by ranks, ties half; and how many that should be refused pass where 95 % of the rest do.
fn rejection(answers: &[Answer<'_>]) -> Option<(f64, f64)> {
    let scores = |fits: bool| -> Vec<f64> {
        let mut scores: Vec<f64> =
            answers.iter().filter(|a| a.gold.is_empty() != fits).map(|a| a.score).collect();
        scores.sort_by(f64::total_cmp);
        scores
    };
    let (fit, unfit) = (scores(true), scores(false));
    if fit.is_empty() || unfit.is_empty() {
        return None;
    }
    let below: f64 = fit
        .iter()
        .map(|score| {
            let less = unfit.partition_point(|other| other < score);
            let not_more = unfit.partition_point(|other| other <= score);
            (less + not_more) as f64 / 2.0
        })
        .sum();
    let threshold = fit[fit.len() / 20];
    let pass = unfit.len() - unfit.partition_point(|score| *score < threshold);
    Some((below / (fit.len() * unfit.len()) as f64, pass as f64 / unfit.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer<'a>(ranked: &[usize], score: f64, gold: &'a [usize]) -> Answer<'a> {
        Answer { ranked: ranked.to_vec(), score, gold }
    }

    #[test]
    fn shares_are_of_those_who_fit() {
        let metrics = Metrics::of(&[
            answer(&[3, 1, 2, 4, 5, 0], 0.5, &[3]),
            answer(&[3, 1, 2, 4, 5, 0], 0.5, &[1, 0]),
            answer(&[], 0.0, &[7]),
        ]);
        assert_eq!(metrics.requests, 3);
        assert!((metrics.r1 - 1.0 / 3.0).abs() < 1e-9);
        assert!((metrics.r5 - 1.5 / 3.0).abs() < 1e-9);
        assert!((metrics.c5 - 1.0 / 3.0).abs() < 1e-9);
        // First of one: 1. Second of two that could be first and second: log 2 / log 3 over 1 + log 2 / log 3.
        let half = (2.0_f64.ln() / 3.0_f64.ln()) / (1.0 + 2.0_f64.ln() / 3.0_f64.ln());
        assert!((metrics.ndcg5 - (1.0 + half) / 3.0).abs() < 1e-9);
        assert_eq!((metrics.auroc, metrics.fpr95), (None, None));
    }

    #[test]
    fn rejection_compares_scores_of_the_two_kinds() {
        let gold = [0];
        let fit = |score| answer(&[0], score, &gold);
        let unfit = |score| answer(&[0], score, &[]);
        let apart = Metrics::of(&[fit(0.9), fit(0.8), unfit(0.2), unfit(0.1)]);
        assert_eq!((apart.auroc, apart.fpr95), (Some(1.0), Some(0.0)));
        let alike = Metrics::of(&[fit(0.5), fit(0.5), unfit(0.5)]);
        assert_eq!((alike.auroc, alike.fpr95), (Some(0.5), Some(1.0)));
        let mixed = Metrics::of(&[fit(0.9), fit(0.3), unfit(0.5), unfit(0.1)]);
        assert_eq!((mixed.auroc, mixed.fpr95), (Some(0.75), Some(0.5)));
    }
}
