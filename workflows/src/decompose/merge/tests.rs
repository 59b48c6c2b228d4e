use foa_capability::{Money, Vector};
use proptest::prelude::*;

use super::*;
use crate::decompose::graph;
use crate::work::ProposedSubtask;

fn agent(n: usize) -> AgentId {
    format!("a{n}@node.aaaaaaaaaaaaaaaa").parse().unwrap()
}

fn id(n: usize) -> WorkId {
    format!("job-0001.{n}").parse().unwrap()
}

/// A proposal of these descriptions with keys k0, k1, …; `edges` by position.
fn proposal(n: usize, descriptions: &[&str], edges: &[(usize, usize)]) -> Proposal {
    let subtask = |(i, d): (usize, &&str)| ProposedSubtask {
        key: format!("k{i}"),
        description: (*d).to_owned(),
        ..ProposedSubtask::default()
    };
    let edges = edges.iter().map(|(a, b)| [format!("k{a}"), format!("k{b}")]).collect();
    Proposal {
        id: id(n),
        by: agent(n),
        subtasks: descriptions.iter().enumerate().map(subtask).collect(),
        edges,
    }
}

/// Descriptions are like each other when they are equal, or by the vectors added with [`near`].
fn input(proposals: Vec<Proposal>) -> MergeInput {
    let empty = MergeInput {
        version: MERGE_VERSION,
        proposals,
        vectors: BTreeMap::new(),
        weights: BTreeMap::new(),
        merge_sim: 600,
        quorum: 500,
        max_subtasks: 32,
        prices: BTreeMap::new(),
        budget: None,
        deadline_ms: None,
    };
    empty.normalised()
}

fn near(input: &mut MergeInput, nodes: &[(&str, [f32; 2])]) {
    for (node, at) in nodes {
        let vector = Vector::new(at.to_vec()).unwrap().quantise();
        input.vectors.insert(format!("job-0001.{node}"), vector);
    }
}

fn descriptions(plan: &Plan) -> Vec<&str> {
    plan.subtasks().iter().map(|s| s.description.as_str()).collect()
}

fn edges(plan: &Plan) -> Vec<String> {
    plan.edges().map(|(a, b)| format!("{a}-{b}")).collect()
}

fn dropped(merged: &Merged) -> Vec<(&str, DropReason)> {
    merged.dropped.iter().map(|d| (d.description.as_str(), d.reason)).collect()
}

#[test]
fn near_subtasks_merge_under_the_words_in_their_middle() {
    let mut given = input(vec![
        proposal(1, &["find prices", "compare"], &[(0, 1)]),
        proposal(2, &["collect the prices", "compare"], &[(0, 1)]),
        proposal(3, &["look up costs", "compare"], &[(0, 1)]),
    ]);
    near(&mut given, &[("1/k0", [1.0, 0.0]), ("2/k0", [1.0, 0.3]), ("3/k0", [1.0, 0.6])]);
    let merged = merge(&given).unwrap();
    assert_eq!(merged.basis, Basis::Consensus);
    assert_eq!(descriptions(&merged.plan), ["collect the prices", "compare"]);
    assert_eq!(edges(&merged.plan), ["s1-s2"]);
    assert_eq!(merged.plan.subtasks()[0].proposers, [1, 2, 3].map(agent).into());
    let first = &merged.provenance[0];
    assert_eq!((first.support, first.representative.as_str()), (1000, "job-0001.2/k0"));
    let words: Vec<&str> = first.variants.iter().map(|v| v.description.as_str()).collect();
    assert_eq!(words, ["find prices", "collect the prices", "look up costs"]);
}

#[test]
fn subtasks_of_one_proposal_never_merge() {
    let mut given = input(vec![proposal(1, &["a", "b"], &[]), proposal(2, &["c"], &[])]);
    near(&mut given, &[("1/k0", [1.0, 0.0]), ("1/k1", [1.0, 0.0]), ("2/k0", [1.0, 0.1])]);
    let merged = merge(&given).unwrap();
    assert_eq!(merged.provenance[0].variants.len(), 2);
    assert_eq!(merged.provenance[1].variants.len(), 1);
}

#[test]
fn what_few_want_is_dropped_unless_something_kept_builds_on_it() {
    let given = input(vec![
        proposal(1, &["prepare", "answer"], &[(0, 1)]),
        proposal(2, &["answer", "celebrate"], &[(0, 1)]),
        proposal(3, &["answer"], &[]),
    ]);
    let merged = merge(&given).unwrap();
    assert_eq!(descriptions(&merged.plan), ["prepare", "answer"]);
    assert_eq!(dropped(&merged), [("celebrate", DropReason::NoQuorum)]);
    assert_eq!(merged.dropped[0].by, BTreeSet::from([agent(2)]));
    assert_eq!(merged.dropped[0].support, 333);
}

#[test]
fn weight_decides_not_heads() {
    let mut given = input(vec![
        proposal(1, &["one way"], &[]),
        proposal(2, &["other"], &[]),
        proposal(3, &["other"], &[]),
    ]);
    assert_eq!(descriptions(&merge(&given).unwrap().plan), ["other"]);
    given.weights = [(agent(1), 900), (agent(2), 200), (agent(3), 200)].into();
    assert_eq!(descriptions(&merge(&given).unwrap().plan), ["one way"]);
    // All zero is the same for all.
    given.weights = (1..4).map(|n| (agent(n), 0)).collect();
    assert_eq!(descriptions(&merge(&given).unwrap().plan), ["other"]);
}

#[test]
fn an_order_needs_more_than_half_of_those_who_see_both_ends() {
    let see = |n, edges: &[(usize, usize)]| proposal(n, &["a", "b"], edges);
    let two_of_three = input(vec![see(1, &[(0, 1)]), see(2, &[(0, 1)]), see(3, &[])]);
    assert_eq!(edges(&merge(&two_of_three).unwrap().plan), ["s1-s2"]);
    let half = merge(&input(vec![see(1, &[(0, 1)]), see(2, &[])])).unwrap();
    assert_eq!(edges(&half.plan), Vec::<String>::new());
    assert_eq!(half.dropped_edges[0].reason, EdgeDropReason::Minority);
    let opposite = merge(&input(vec![see(1, &[(0, 1)]), see(2, &[(1, 0)])])).unwrap();
    assert_eq!(edges(&opposite.plan), Vec::<String>::new());
    // Who does not see both ends has no say.
    let blind = input(vec![see(1, &[(0, 1)]), proposal(2, &["a"], &[]), proposal(3, &["b"], &[])]);
    assert_eq!(edges(&merge(&blind).unwrap().plan), ["s1-s2"]);
}

#[test]
fn an_order_through_other_subtasks_counts() {
    let given = input(vec![
        proposal(1, &["a", "mine alone", "b"], &[(0, 1), (1, 2)]),
        proposal(2, &["a", "b"], &[(0, 1)]),
        proposal(3, &["a", "b"], &[(0, 1)]),
    ]);
    let merged = merge(&given).unwrap();
    // "mine alone" comes before a kept subtask, so it stays; a-b follows from the other two edges.
    assert_eq!(descriptions(&merged.plan), ["a", "mine alone", "b"]);
    assert_eq!(edges(&merged.plan), ["s1-s2", "s2-s3"]);
    // Most see no order between a and b, so what 1 says of a and c stands only because it is said through b.
    let given = input(vec![
        proposal(1, &["a", "b", "c"], &[(0, 1), (1, 2)]),
        proposal(2, &["a", "b"], &[]),
        proposal(3, &["a", "b"], &[]),
        proposal(4, &["a", "c"], &[(0, 1)]),
    ]);
    let merged = merge(&given).unwrap();
    assert_eq!(descriptions(&merged.plan), ["a", "b", "c"]);
    assert_eq!(edges(&merged.plan), ["s1-s3", "s2-s3"]);
}

#[test]
fn a_cycle_of_majorities_loses_its_weakest_edge() {
    // a→b by 1, 2; b→c by 1, 3; c→a by 2, 3: each has two of three.
    let mut given = input(vec![
        proposal(1, &["a", "b", "c"], &[(0, 1), (1, 2)]),
        proposal(2, &["a", "b", "c"], &[(2, 0), (0, 1)]),
        proposal(3, &["a", "b", "c"], &[(1, 2), (2, 0)]),
    ]);
    given.weights = [(agent(1), 400), (agent(2), 300), (agent(3), 350)].into();
    let merged = merge(&given).unwrap();
    let lost: Vec<_> = merged.dropped_edges.iter().filter(|e| e.reason == EdgeDropReason::Cycle).collect();
    assert_eq!(lost.len(), 1);
    assert_eq!((lost[0].before.as_str(), lost[0].after.as_str()), ("job-0001.1/k2", "job-0001.1/k0"));
    assert_eq!(descriptions(&merged.plan), ["a", "b", "c"]);
    assert_eq!(edges(&merged.plan), ["s1-s2", "s2-s3"]);
}

#[test]
fn without_any_quorum_the_nearest_proposal_runs() {
    let mut given = input(vec![
        proposal(1, &["far"], &[]),
        proposal(2, &["left", "rest"], &[(0, 1)]),
        proposal(3, &["right"], &[]),
    ]);
    given.merge_sim = 990;
    near(
        &mut given,
        &[("1/k0", [0.0, -1.0]), ("2/k0", [1.0, 0.2]), ("2/k1", [1.0, 0.3]), ("3/k0", [1.0, 0.5])],
    );
    let merged = merge(&given).unwrap();
    assert_eq!(merged.basis, Basis::Medoid { proposal: id(2) });
    assert_eq!(merged, fallback(&given).unwrap());
    assert_eq!(medoid(&given), Ok(1));
    assert_eq!(descriptions(&merged.plan), ["left", "rest"]);
    assert_eq!(dropped(&merged), [("far", DropReason::NoQuorum), ("right", DropReason::NoQuorum)]);
}

#[test]
fn what_is_missed_least_is_shed_and_its_order_passed_on() {
    let names = ["a", "b", "c"];
    let mut given = input(vec![proposal(1, &names, &[(0, 1), (1, 2)]), proposal(2, &["a", "c"], &[(0, 1)])]);
    given.max_subtasks = 2;
    let merged = merge(&given).unwrap();
    assert_eq!(descriptions(&merged.plan), ["a", "c"]);
    assert_eq!(edges(&merged.plan), ["s1-s2"]);
    assert_eq!(dropped(&merged), [("b", DropReason::Limit)]);
    given.max_subtasks = 0;
    assert_eq!(merge(&given).unwrap().plan.subtasks().len(), 1);
    // Nobody saw both a and c: that a comes first is known through b alone, and stays known without b.
    let mut given = input(vec![
        proposal(1, &["a", "b"], &[(0, 1)]),
        proposal(2, &["b", "c"], &[(0, 1)]),
        proposal(3, &["a"], &[]),
        proposal(4, &["c"], &[]),
    ]);
    given.weights = [(1, 100), (2, 100), (3, 900), (4, 900)].map(|(n, w)| (agent(n), w)).into();
    given.max_subtasks = 2;
    given.quorum = 100;
    let merged = merge(&given).unwrap();
    assert_eq!((descriptions(&merged.plan), edges(&merged.plan)), (vec!["a", "c"], vec!["s1-s2".to_owned()]));
}

#[test]
fn a_plan_keeps_within_budget_and_deadline() {
    let mut given =
        input(vec![proposal(1, &["cheap", "dear", "free"], &[(0, 1)]), proposal(2, &["cheap"], &[])]);
    let price = |cost, time_ms| Price { cost: Money(cost), time_ms };
    given.prices = [("k0", price(10, 1000)), ("k1", price(90, 5000)), ("k2", price(0, 9000))]
        .map(|(key, price)| (format!("job-0001.1/{key}"), price))
        .into();
    let whole = merge(&given).unwrap();
    assert_eq!((whole.cost, whole.time_ms, whole.plan.subtasks().len()), (Money(100), 9000, 3));
    given.budget = Some(Money(50));
    let cheap = merge(&given).unwrap();
    assert_eq!((dropped(&cheap), cheap.cost), (vec![("dear", DropReason::Budget)], Money(10)));
    given.budget = None;
    given.deadline_ms = Some(6000);
    let fast = merge(&given).unwrap();
    assert_eq!((dropped(&fast), fast.time_ms), (vec![("free", DropReason::Deadline)], 6000));
    // The last one stays whatever it costs: the caller sees the cost and decides.
    given.budget = Some(Money(1));
    given.prices.values_mut().for_each(|p| p.cost = Money(5));
    assert_eq!(merge(&given).unwrap().plan.subtasks().len(), 1);
}

#[test]
fn where_nothing_is_alike_the_heaviest_proposal_runs() {
    let mut given = input((1..4).map(|n| proposal(n, &[MEANINGS[n]], &[])).collect());
    assert_eq!(medoid(&given), Ok(0));
    given.weights.insert(agent(3), 1001);
    assert_eq!(medoid(&given), Ok(2));
}

#[test]
fn policies_add_up() {
    let mut given = input(vec![proposal(1, &["a"], &[]), proposal(2, &["a"], &[])]);
    given.proposals[0].subtasks[0].policies = ["gdpr".parse().unwrap()].into();
    given.proposals[1].subtasks[0].policies = ["eu-only".parse().unwrap()].into();
    let merged = merge(&given).unwrap();
    assert_eq!(
        merged.plan.subtasks()[0].policies,
        BTreeSet::from(["gdpr".parse().unwrap(), "eu-only".parse().unwrap()])
    );
}

#[test]
fn what_cannot_be_merged_is_named() {
    let good = input(vec![proposal(1, &["a"], &[]), proposal(2, &["b"], &[])]);
    type Change = fn(&mut MergeInput);
    let cases: [(Change, InvalidInput); 7] = [
        (|i| i.version = 9, InvalidInput::Version { wanted: 1, found: 9 }),
        (|i| i.proposals.clear(), InvalidInput::NoProposals),
        (|i| i.proposals.reverse(), InvalidInput::Unordered { id: id(1) }),
        (|i| i.proposals[1].by = agent(1), InvalidInput::Twice { by: agent(1) }),
        (|i| i.weights = [(agent(1), 5)].into(), InvalidInput::Weights { agent: agent(2) }),
        (
            |i| i.proposals[1].subtasks.clear(),
            InvalidInput::Proposal { id: id(2), source: InvalidProposal::Empty },
        ),
        (
            |i| {
                let many = (0..64).map(|_| "x").collect::<Vec<_>>();
                i.proposals = (1..4).map(|n| proposal(n, &many, &[])).collect();
            },
            InvalidInput::TooLarge { most: 128, found: 192 },
        ),
    ];
    for (change, wanted) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(bad.check(), Err(wanted.clone()));
        assert_eq!(merge(&bad), Err(wanted));
    }
}

#[test]
fn a_proposer_signs_only_what_it_can_recompute() {
    let mut given = input(vec![proposal(1, &["a", "b"], &[(0, 1)]), proposal(2, &["a"], &[])]);
    given.quorum = 400;
    let plan = merge(&given).unwrap().plan;
    let own = proposal(1, &["a", "b"], &[(0, 1)]);
    assert_eq!(verify(&given, &plan, &hash(&given, &plan), &own), Ok(()));

    let changed = proposal(1, &["a", "b"], &[]);
    let objection = verify(&given, &plan, &hash(&given, &plan), &changed).unwrap_err();
    assert_eq!(objection, Objection::MyProposalChanged { id: id(1) });
    let missing = proposal(7, &["a"], &[]);
    let objection = verify(&given, &plan, &hash(&given, &plan), &missing).unwrap_err();
    assert_eq!(objection, Objection::MyProposalMissing { id: id(7) });
    let other = Plan::solo("a");
    assert_eq!(verify(&given, &other, &hash(&given, &other), &own), Err(Objection::OtherPlan));
    let mut stricter = given.clone();
    stricter.quorum = 500;
    let found = hash(&stricter, &plan);
    let wanted = hash(&given, &plan);
    assert_eq!(verify(&given, &plan, &found, &own), Err(Objection::OtherHash { wanted, found }));
    given.version = 2;
    let objection = verify(&given, &plan, &hash(&given, &plan), &own).unwrap_err();
    assert_eq!(objection.name(), "invalid-merge-input");
}

#[test]
fn the_golden_sample_reads_merges_and_hashes_as_ever() {
    let golden = include_str!("../../../golden/merge_input.json");
    let given: MergeInput = serde_json::from_str(golden).unwrap();
    let written = serde_json::to_value(&given).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(golden).unwrap());
    let merged = merge(&given).unwrap();
    let plan: Plan = serde_json::from_str(include_str!("../../../golden/plan.json")).unwrap();
    assert_eq!(merged.plan, plan);
    assert_eq!(hash(&given, &plan).as_str(), include_str!("../../../golden/plan_hash.txt").trim());
}

/// Any valid proposal over a few meanings: positions in `MEANINGS`, and edges that only go forward in a random order.
fn any_proposal() -> impl Strategy<Value = (Vec<usize>, Vec<(usize, usize)>)> {
    prop::collection::vec(0usize..MEANINGS.len(), 1..6).prop_flat_map(|meanings| {
        let n = meanings.len();
        let order = Just((0..n).collect::<Vec<_>>()).prop_shuffle();
        let pairs = prop::collection::vec((0..n, 0..n), 0..8);
        (Just(meanings), order, pairs).prop_map(|(meanings, order, pairs)| {
            let forward = pairs.into_iter().filter(|(a, b)| a != b);
            let edges = forward.map(|(a, b)| (order[a.min(b)], order[a.max(b)])).collect();
            (meanings, edges)
        })
    })
}

const MEANINGS: [&str; 6] = ["find", "look up", "compare", "weigh", "sum", "write"];

fn any_input() -> impl Strategy<Value = MergeInput> {
    let proposals = prop::collection::vec(any_proposal(), 1..5);
    let vectors = prop::collection::vec(prop::array::uniform3(-1.0f32..1.0), MEANINGS.len());
    let prices = prop::collection::vec((0i64..100, 0u64..100), MEANINGS.len());
    (proposals, vectors, prices, prop::collection::vec(0u32..=1000, 5), 0u32..=1000, 0u32..=1000).prop_map(
        |(proposals, vectors, prices, weights, merge_sim, quorum)| {
            let mut given = input(vec![]);
            for (n, (meanings, edges)) in proposals.iter().enumerate() {
                let words: Vec<&str> = meanings.iter().map(|&m| MEANINGS[m]).collect();
                let made = proposal(n, &words, edges);
                for (subtask, &m) in made.subtasks.iter().zip(meanings) {
                    if let Ok(vector) = Vector::new(vectors[m].to_vec()) {
                        given.vectors.insert(made.node(&subtask.key), vector.quantise());
                    }
                    let (cost, time_ms) = prices[m];
                    given.prices.insert(made.node(&subtask.key), Price { cost: Money(cost), time_ms });
                }
                given.weights.insert(made.by.clone(), weights[n]);
                given.proposals.push(made);
            }
            MergeInput { merge_sim, quorum, ..given }.normalised()
        },
    )
}

/// What a plan says about order, by description and how often it stands before in the plan.
fn order(plan: &Plan) -> BTreeSet<(usize, usize)> {
    let at = |key: &str| plan.subtasks().iter().position(|s| s.key == key).unwrap();
    let pairs = plan.edges().map(|(a, b)| (at(a), at(b))).collect();
    graph::closure(plan.subtasks().len(), &pairs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_merge_is_a_plan_within_its_limits_that_every_proposer_can_check(
        given in any_input(), most in 0usize..6, budget in prop::option::of(0i64..300), time in prop::option::of(0u64..300),
    ) {
        let given = MergeInput { max_subtasks: most, budget: budget.map(Money), deadline_ms: time, ..given };
        let merged = merge(&given).unwrap();
        let count = merged.plan.subtasks().len();
        prop_assert!(count <= most.max(1));
        prop_assert!(count == 1 || budget.is_none_or(|b| merged.cost <= Money(b)));
        prop_assert!(count == 1 || time.is_none_or(|t| merged.time_ms <= t));
        // The wire refuses a cyclic plan, so a round trip proves that this one is none.
        let wire = serde_json::to_string(&merged).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Merged>(&wire).unwrap(), &merged);
        // No edge follows from others.
        let own: graph::Edges = {
            let at = |key: &str| merged.plan.subtasks().iter().position(|s| s.key == key).unwrap();
            merged.plan.edges().map(|(a, b)| (at(a), at(b))).collect()
        };
        prop_assert_eq!(&graph::reduce(count, &own), &own);
        let hash = hash(&given, &merged.plan);
        for own in &given.proposals {
            prop_assert_eq!(verify(&given, &merged.plan, &hash, own), Ok(()));
        }
        let spare = fallback(&given).unwrap().plan;
        prop_assert!(spare.subtasks().len() <= most.max(1));
    }

    #[test]
    fn nothing_proposed_is_lost_without_a_word(given in any_input()) {
        let merged = merge(&given).unwrap();
        let kept = merged.provenance.iter().flat_map(|p| p.variants.iter().map(|v| v.node.clone()));
        let kept: BTreeSet<String> = kept.collect();
        let gone: usize = merged.dropped.iter().map(|d| d.by.len()).sum();
        let all: usize = given.proposals.iter().map(|p| p.subtasks.len()).sum();
        prop_assert_eq!(kept.len() + gone, all);
        if merged.basis == Basis::Consensus {
            for d in &merged.dropped {
                prop_assert!(d.support < given.quorum);
            }
            // Whatever lacks a quorum leads to something that has one.
            for p in merged.provenance.iter().filter(|p| p.support < given.quorum) {
                let leads = merged.provenance.iter().any(|q| {
                    q.support >= given.quorum && merged.plan.ancestors(&q.key).contains(&p.key.as_str())
                });
                // Shares are rounded down for display, so one that is just short on paper may have its quorum.
                prop_assert!(leads || p.support + 1 >= given.quorum, "{} {}", p.key, p.support);
            }
        }
    }

    #[test]
    fn arrival_order_leaves_no_trace(given in any_input(), seed in any::<prop::sample::Index>()) {
        let mut other = given.clone();
        let by = seed.index(other.proposals.len());
        other.proposals.rotate_left(by);
        other.proposals.swap(0, by);
        let other = other.normalised();
        prop_assert_eq!(&other, &given);
        let plan = merge(&other).unwrap().plan;
        prop_assert_eq!(hash(&other, &plan), hash(&given, &merge(&given).unwrap().plan));
    }

    #[test]
    fn one_proposal_comes_back_unchanged((meanings, given_edges) in any_proposal()) {
        let words: Vec<&str> = meanings.iter().map(|&m| MEANINGS[m]).collect();
        let merged = merge(&input(vec![proposal(1, &words, &given_edges)])).unwrap();
        prop_assert_eq!(&merged.basis, &Basis::Single);
        prop_assert!(merged.dropped.is_empty() && merged.dropped_edges.is_empty());
        // Where each subtask of the plan stood in the proposal.
        let from: Vec<usize> = merged.provenance.iter()
            .map(|p| p.representative.rsplit_once('k').unwrap().1.parse().unwrap()).collect();
        let back: Vec<&str> = from.iter().map(|&i| words[i]).collect();
        prop_assert_eq!(&back, &descriptions(&merged.plan));
        let mut all = from.clone();
        all.sort_unstable();
        prop_assert_eq!(all, (0..words.len()).collect::<Vec<_>>());
        let wanted = graph::closure(words.len(), &given_edges.into_iter().collect());
        let found: graph::Edges = order(&merged.plan).into_iter().map(|(a, b)| (from[a], from[b])).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn equal_proposals_are_one(
        (meanings, given_edges) in any_proposal(),
        copies in 2usize..5,
        vectors in prop::collection::vec(prop::array::uniform2(-1.0f32..1.0), MEANINGS.len()),
        merge_sim in 0u32..=1000,
        quorum in 0u32..=1000,
    ) {
        let words: Vec<&str> = meanings.iter().map(|&m| MEANINGS[m]).collect();
        let mut given = input((1..=copies).map(|n| proposal(n, &words, &given_edges)).collect());
        for p in &given.proposals {
            for (subtask, &m) in p.subtasks.iter().zip(&meanings) {
                if let Ok(vector) = Vector::new(vectors[m].to_vec()) {
                    given.vectors.insert(p.node(&subtask.key), vector.quantise());
                }
            }
        }
        given.merge_sim = merge_sim;
        given.quorum = quorum;
        let one = merge(&input(vec![proposal(1, &words, &given_edges)])).unwrap();
        let all = merge(&given).unwrap();
        prop_assert_eq!(descriptions(&all.plan), descriptions(&one.plan));
        prop_assert_eq!(edges(&all.plan), edges(&one.plan));
        prop_assert!(all.provenance.iter().all(|p| p.support == 1000));
    }
}
