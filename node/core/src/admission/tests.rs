//! Bounds, fairness and order, over any sequence of events.

use foa_wire::NodeKey;
use foa_workflows::job::Refused;
use proptest::prelude::*;

use super::*;
use crate::body::Body;
use crate::effect::{Effect, Input, Output};
use crate::fixture::{NOW, coordinator, submits};

fn node(n: u8) -> Submitter {
    Some(NodeId::new(format!("node{n}").parse().unwrap(), &NodeKey::from_seed([n; 32]).public()))
}

fn job(n: usize) -> JobId {
    format!("job-{n:08}").parse().unwrap()
}

fn at(seconds: u64) -> Time {
    Time::from_millis(1_000_000 + 1000 * seconds)
}

fn admission(max_jobs: usize, max_running: usize) -> Admission {
    Admission::new(Limits { max_jobs, max_running, ..Limits::default() })
}

/// Submits as often as there is room.
fn flood(admission: &mut Admission, who: &Submitter, first: usize, now: Time) -> usize {
    let mut taken = 0;
    while admission.room(who).is_ok() {
        admission.enter(job(first + taken), who.clone(), Priority::Normal, now);
        taken += 1;
    }
    taken
}

#[test]
fn a_flood_of_one_leaves_room_for_others() {
    let mut admission = admission(100, 10);
    assert_eq!(
        flood(&mut admission, &node(1), 0, at(0)),
        51,
        "one alone gets a half, and what makes it more"
    );
    assert_eq!(flood(&mut admission, &node(2), 1000, at(0)), 33, "a third");
    assert!(admission.room(&node(3)).is_ok());
}

#[test]
fn the_unsigned_count_as_one_and_hold_a_quarter_at_most() {
    let mut admission = admission(100, 10);
    assert_eq!(flood(&mut admission, &None, 0, at(0)), 25);
    assert!(admission.room(&node(1)).is_ok());
}

#[test]
fn who_is_turned_away_is_asked_to_wait_longer_the_more_there_is_to_do() {
    let wait = |max_running: usize, jobs: usize| {
        let mut admission = admission(40, max_running);
        for n in 0..jobs {
            admission.enter(job(n), node(u8::try_from(n % 4).unwrap()), Priority::Normal, at(0));
        }
        while admission.next(at(0)).is_some() {}
        admission.room(&node(1)).unwrap_err().retry_after()
    };
    assert!(wait(40, 40) < wait(10, 40) && wait(10, 40) < wait(4, 40));
    assert_eq!(wait(1, 40), RETRY_LAST);
}

#[test]
fn slots_go_by_priority_then_to_whoever_runs_least_then_by_age() {
    let mut admission = admission(100, 100);
    admission.enter(job(1), node(1), Priority::Normal, at(0));
    admission.enter(job(2), node(1), Priority::Normal, at(1));
    admission.enter(job(3), node(2), Priority::Normal, at(2));
    admission.enter(job(4), node(3), Priority::High, at(3));
    admission.enter(job(5), node(3), Priority::Low, at(0));
    let order: Vec<JobId> = std::iter::from_fn(|| admission.next(at(4))).collect();
    assert_eq!(order, [4, 1, 3, 2, 5].map(job));
}

#[test]
fn a_job_of_low_priority_rises_until_it_runs() {
    let mut admission = admission(100, 1);
    admission.enter(job(0), node(1), Priority::Low, at(0));
    for n in 1.. {
        let now = at(10 * n as u64);
        admission.enter(job(n), node(2), Priority::High, now);
        let started = admission.next(now).unwrap();
        if started == job(0) {
            assert!(now <= at(3 * RISE.as_secs()), "after {n} others");
            return;
        }
        admission.leave(&started);
    }
}

#[test]
fn what_runs_already_counts_and_is_not_stopped() {
    let mut admission = admission(10, 2);
    for n in 0..3 {
        admission.resume(job(n), node(1));
    }
    admission.enter(job(9), node(2), Priority::High, at(0));
    assert_eq!((admission.running(), admission.waiting()), (3, 1));
    assert_eq!(admission.next(at(0)), None);
    admission.leave(&job(0));
    admission.leave(&job(1));
    assert_eq!(admission.next(at(0)), Some(job(9)));
}

#[test]
fn whoever_has_most_on_the_shelf_gives_way() {
    let mut shelf = Shelf::new(10, 1000);
    for n in 0..5 {
        assert_eq!(shelf.put(&job(n), &node(1), 200), []);
    }
    assert_eq!(shelf.put(&job(5), &node(1), 100), [job(5)], "its own");
    assert_eq!(shelf.put(&job(6), &node(2), 100), [job(4)], "another's, who has more");
    assert_eq!(shelf.put(&job(7), &node(2), 2000), [job(7)], "larger than all there is");
    assert_eq!(shelf.load(), (5, 900));
    shelf.take(&job(6));
    assert_eq!(shelf.load(), (4, 800));
}

/// Whether the submitter is told that its job is taken, or what it is told instead.
fn answer(outputs: &[Output]) -> Result<(), Refused> {
    let said = outputs.iter().find_map(|output| match &output.effect {
        Effect::Send(send) => match &send.body {
            Body::JobAccepted(_) => Some(Ok(())),
            Body::JobRejected(rejection) => Some(Err(rejection.refused.clone())),
            _ => None,
        },
        _ => None,
    });
    said.expect("a submission is answered")
}

#[test]
fn a_node_whose_store_is_full_keeps_its_jobs_and_takes_none() {
    let owner = node(9).unwrap();
    let mut node = coordinator();
    assert_eq!(answer(&submits(&mut node, &owner, "job-before")), Ok(()));
    node.handle(Input::StoreFull(true), NOW);
    let Err(Refused::Overloaded { detail: Some(detail), retry_after_ms: 60_000 }) =
        answer(&submits(&mut node, &owner, "job-while"))
    else {
        panic!("it was taken, or turned away for another reason");
    };
    assert!(detail.contains("store.max_bytes"), "{detail}");
    let held: Vec<String> = node.jobs().map(|view| view.job.to_string()).collect();
    assert_eq!(held, ["job-before"]);
    assert!(!node.idle(), "what it has goes on");
    node.handle(Input::StoreFull(false), NOW);
    assert_eq!(answer(&submits(&mut node, &owner, "job-after")), Ok(()));
}

#[derive(Clone, Debug)]
enum Act {
    Submit(u8, Priority),
    Unsigned,
    Start,
    End(usize),
}

fn acts() -> impl Strategy<Value = Vec<(Act, u64)>> {
    let priority = prop_oneof![Just(Priority::Low), Just(Priority::Normal), Just(Priority::High)];
    let act = prop_oneof![
        6 => (0u8..5, priority).prop_map(|(who, priority)| Act::Submit(who, priority)),
        1 => Just(Act::Unsigned),
        3 => Just(Act::Start),
        2 => (0usize..20).prop_map(Act::End),
    ];
    prop::collection::vec((act, 0u64..20), 0..200)
}

/// Plays the acts; the jobs in the order they started, and who held most at any time.
fn play(acts: &[(Act, u64)], limits: Limits) -> (Vec<JobId>, Admission) {
    let mut admission = Admission::new(limits);
    let mut now = at(0);
    let mut started = Vec::new();
    let mut open: Vec<JobId> = Vec::new();
    for (n, (act, seconds)) in acts.iter().enumerate() {
        now = now + Duration::from_secs(*seconds);
        let mut submit = |who: Submitter, priority: Priority| {
            if admission.room(&who).is_ok() {
                admission.enter(job(n), who, priority, now);
                open.push(job(n));
            }
        };
        match act {
            Act::Submit(who, priority) => submit(node(*who + 1), *priority),
            Act::Unsigned => submit(None, Priority::Normal),
            Act::Start => started.extend(admission.next(now)),
            Act::End(at) if *at < open.len() => admission.leave(&open.remove(*at)),
            Act::End(_) => {}
        }
        assert!(admission.jobs.len() <= limits.max_jobs && admission.running <= limits.max_running);
        let unsigned = admission.submitters.get(&None).map_or(0, |held| held.open);
        assert!(unsigned <= (limits.max_jobs / 4).max(1));
        let counted: usize = admission.submitters.values().map(|held| held.open).sum();
        assert_eq!(counted, admission.jobs.len());
        let running: usize = admission.submitters.values().map(|held| held.running).sum();
        assert_eq!(running, admission.running);
    }
    (started, admission)
}

proptest! {
    #[test]
    fn bounds_hold_and_the_order_is_the_same_each_time(
        acts in acts(),
        max_jobs in 1usize..30,
        max_running in 1usize..10,
    ) {
        let limits = Limits { max_jobs, max_running, ..Limits::default() };
        let (started, _) = play(&acts, limits);
        prop_assert_eq!(started, play(&acts, limits).0);
    }

    #[test]
    fn under_any_flood_a_newcomer_gets_in_after_few_endings_and_runs(
        flooders in 1u8..6,
        max_jobs in 12usize..60,
        max_running in 1usize..8,
        high in any::<bool>(),
    ) {
        let mut admission = admission(max_jobs, max_running);
        let mut next = 0;
        let priority = if high { Priority::High } else { Priority::Low };
        let mut refill = |admission: &mut Admission, now: Time| {
            // Every flooder asks again and again, and the newcomer only after all of them.
            for who in 1..=flooders {
                while admission.room(&node(who)).is_ok() {
                    next += 1;
                    admission.enter(job(next), node(who), priority, now);
                }
            }
        };
        let mut now = at(0);
        refill(&mut admission, now);
        let newcomer = node(100);
        let mine = job(99_999_999);
        let mut entered = None;
        let mut running: std::collections::VecDeque<JobId> = std::collections::VecDeque::new();
        for ended in 0.. {
            while let Some(job) = admission.next(now) {
                running.push_back(job);
            }
            if running.contains(&mine) {
                break;
            }
            let oldest = running.pop_front().expect("something runs");
            admission.leave(&oldest);
            now = now + Duration::from_secs(1);
            refill(&mut admission, now);
            if entered.is_none() && admission.room(&newcomer).is_ok() {
                admission.enter(mine.clone(), newcomer.clone(), Priority::Normal, now);
                entered = Some(ended);
            }
            prop_assert!(ended <= max_jobs || entered.is_some(), "never let in");
            prop_assert!(ended <= 4 * max_jobs + 2 * usize::try_from(RISE.as_secs()).unwrap(), "never run");
        }
    }

    #[test]
    fn a_shelf_never_holds_more_than_it_may(
        puts in prop::collection::vec((0u8..4, 0usize..40, 1usize..400), 0..200),
    ) {
        let mut shelf = Shelf::new(20, 2000);
        let mut kept: BTreeMap<JobId, usize> = BTreeMap::new();
        for (who, n, bytes) in puts {
            kept.insert(job(n), bytes);
            for gone in shelf.put(&job(n), &node(who), bytes) {
                kept.remove(&gone);
            }
            let bytes = kept.values().sum::<usize>();
            prop_assert_eq!(shelf.load(), (kept.len(), bytes));
            prop_assert!(kept.len() <= 20 && bytes <= 2000);
        }
    }
}
