//! Every interleaving of a bounded run: a few replicas, a network that may deliver any message ever sent at any time, any
//! number of times or never, crashes that lose everything but the disk, campaigns whenever anyone likes.
//!
//! Checked in every state: what anybody counts as committed at an index is the same record for ever.
//!
//! All of it stands on disks that keep what they acknowledged. A disk that forgets breaks it, which is shown here too, and
//! so is what would mend it: that a replica whose disk forgot has no more part in the job than one that is lost for good.
//!
//! `FOA_MODEL_DEPTH=14 cargo test -p foa-node-core --release replica::model -- --nocapture` looks further than the test does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use foa_wire::NodeKey;
use foa_workflows::JobSubmission;
use foa_workflows::settings::Settings;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// What a run may contain.
#[derive(Clone, Copy)]
struct Bounds {
    campaigns: u8,
    writes: u8,
    crashes: u8,
    late: u8,
    /// Disks that lose all they had acknowledged, and what the replica does then.
    forgets: u8,
    after_that: Forgetful,
}

/// What a replica does whose disk forgot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Forgetful {
    /// What it always does.
    Votes,
    /// It says nothing any more and never asks for the job.
    IsSilent,
}

/// One state of the whole.
#[derive(Clone)]
struct World {
    replicas: Vec<Replica>,
    disks: Vec<Vec<Durable>>,
    /// Everything ever said: from, to, what.
    sent: Vec<(usize, usize, Message)>,
    known: BTreeSet<u64>,
    committed: Vec<(Term, Step)>,
    clock: Time,
    left: Bounds,
    silent: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Deliver(usize),
    Campaign(usize),
    Write(usize),
    Crash(usize),
    Late(usize),
    Forget(usize),
}

/// Ids of replicas, in the order of their ids, and the sets they think right.
struct Cast {
    ids: Vec<NodeId>,
    sets: Vec<Vec<NodeId>>,
}

impl Cast {
    /// Nodes a, b, c, …; each thinks of the replica set as these positions.
    fn of(sets: &[&[usize]]) -> Self {
        let id = |n: usize| {
            let name = format!("n{n}").parse().unwrap();
            NodeId::new(name, &NodeKey::from_seed([u8::try_from(n).unwrap() + 1; 32]).public())
        };
        let ids: Vec<NodeId> = (0..sets.len()).map(id).collect();
        let sets = sets.iter().map(|set| set.iter().map(|n| ids[*n].clone()).collect()).collect();
        Self { ids, sets }
    }

    fn position(&self, id: &NodeId) -> usize {
        self.ids.iter().position(|known| known == id).unwrap()
    }
}

fn job() -> JobId {
    "job-model".parse().unwrap()
}

impl World {
    fn new(cast: &Cast, bounds: Bounds) -> Self {
        Self {
            replicas: cast.ids.iter().map(|id| Replica::unknown(job(), id.clone())).collect(),
            disks: vec![Vec::new(); cast.ids.len()],
            sent: Vec::new(),
            known: BTreeSet::new(),
            committed: Vec::new(),
            clock: Time::from_millis(1_000_000),
            left: bounds,
            silent: BTreeSet::new(),
        }
    }

    fn found(&mut self, cast: &Cast, n: usize) -> Result<(), String> {
        self.replicas[n] = Replica::found(job(), cast.ids[n].clone(), &cast.sets[n], self.clock);
        self.write(cast, n)
    }

    /// The holder writes a record; the first names the set.
    fn write(&mut self, cast: &Cast, n: usize) -> Result<(), String> {
        let replica = &mut self.replicas[n];
        let step = if replica.log().is_empty() {
            let submission = JobSubmission::of("t");
            let settings = Settings::for_submission(&submission);
            Step::Accepted { submission, owner: None, replicas: cast.sets[n].clone(), settings }
        } else {
            Step::Cancelled { by: cast.ids[n].clone() }
        };
        let record = Record {
            job: job(),
            term: replica.promised().unwrap().clone(),
            index: replica.last().next(),
            committed: Index(0),
            at: self.clock,
            step,
        };
        let mut out = replica.push(record);
        out.extend(replica.flush(self.clock));
        self.perform(cast, n, out)
    }

    fn perform(&mut self, cast: &Cast, n: usize, outputs: Outputs) -> Result<(), String> {
        let mut won = false;
        for output in outputs {
            match output {
                Output::Persist(durable) => self.disks[n].push(durable),
                Output::Send { .. } if self.silent.contains(&n) => {}
                Output::Send { to, message } => {
                    let to = cast.position(&to);
                    if self.known.insert(hash(&(n, to, format!("{message:?}")))) {
                        self.sent.push((n, to, message));
                    }
                }
                Output::Won => won = true,
                Output::Lost => won = false,
                Output::Committed(index) => self.committed(n, index)?,
            }
        }
        if won { self.write(cast, n) } else { Ok(()) }
    }

    fn committed(&mut self, n: usize, index: Index) -> Result<(), String> {
        let log = self.replicas[n].log();
        for (at, record) in log.iter().enumerate().take(position(index.next())) {
            let here = (record.term.clone(), record.step.clone());
            match self.committed.get(at) {
                Some(before) if *before != here => {
                    return Err(format!("index {}: {before:?} and then {here:?}", at + 1));
                }
                Some(_) => {}
                None => self.committed.push(here),
            }
        }
        Ok(())
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions: Vec<Action> = (0..self.sent.len()).map(Action::Deliver).collect();
        for (n, replica) in self.replicas.iter().enumerate() {
            if self.left.forgets > 0 {
                actions.push(Action::Forget(n));
            }
            if self.left.campaigns > 0 && !replica.holds() && !self.silent.contains(&n) {
                actions.push(Action::Campaign(n));
            }
            if self.left.writes > 0 && replica.holds() {
                actions.push(Action::Write(n));
            }
            if self.left.crashes > 0 {
                actions.push(Action::Crash(n));
            }
            if self.left.late > 0 && replica.holds() {
                actions.push(Action::Late(n));
            }
        }
        actions
    }

    fn act(&mut self, cast: &Cast, action: Action) -> Result<(), String> {
        match action {
            Action::Deliver(at) => {
                let (from, to, message) = self.sent[at].clone();
                let out = self.replicas[to].receive(&cast.ids[from], message, false, self.clock);
                self.perform(cast, to, out)
            }
            Action::Campaign(n) => {
                self.left.campaigns -= 1;
                let out = self.replicas[n].campaign(&cast.sets[n], self.clock);
                self.perform(cast, n, out)
            }
            Action::Write(n) => {
                self.left.writes -= 1;
                self.write(cast, n)
            }
            Action::Crash(n) => {
                self.left.crashes -= 1;
                let kept = self.disks[n].clone();
                self.replicas[n] = Replica::recovered(job(), cast.ids[n].clone(), kept).unwrap();
                Ok(())
            }
            Action::Forget(n) => {
                self.left.forgets -= 1;
                self.disks[n].clear();
                self.replicas[n] = Replica::unknown(job(), cast.ids[n].clone());
                if self.left.after_that == Forgetful::IsSilent {
                    self.silent.insert(n);
                }
                Ok(())
            }
            Action::Late(n) => {
                self.left.late -= 1;
                self.clock = self.clock + HOUR;
                let out = self.replicas[n].tick(|_| true, self.clock);
                self.perform(cast, n, out)
            }
        }
    }

    /// What makes this state another one: everything but the time.
    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for replica in &self.replicas {
            replica.promised.hash(&mut hasher);
            replica.committed.hash(&mut hasher);
            replica.refused.hash(&mut hasher);
            for record in &replica.log {
                (&record.term, record.index).hash(&mut hasher);
            }
            match &replica.role {
                Role::Follower => 0.hash(&mut hasher),
                Role::Candidate(campaign) => campaign.key().hash(&mut hasher),
                Role::Holder(holding) => holding.key().hash(&mut hasher),
            }
        }
        let mut sent: Vec<u64> = self.known.iter().copied().collect();
        sent.sort_unstable();
        sent.hash(&mut hasher);
        let Bounds { campaigns, writes, crashes, late, forgets, after_that: _ } = self.left;
        (campaigns, writes, crashes, late, forgets).hash(&mut hasher);
        self.silent.hash(&mut hasher);
        hasher.finish()
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Looks at every state within the bounds. Returns how many there are.
fn explore(cast: &Cast, start: World, depth: usize) -> usize {
    search(cast, start, depth).unwrap_or_else(|found| panic!("{found}"))
}

/// Looks at every state within the bounds, breadth first. Returns how many there are.
///
/// # Errors
/// The first disagreement, and how it came about.
fn search(cast: &Cast, start: World, depth: usize) -> Result<usize, String> {
    let mut seen = BTreeSet::from([start.key()]);
    let mut queue = VecDeque::from([(start, Vec::<Action>::new())]);
    while let Some((world, path)) = queue.pop_front() {
        if path.len() == depth {
            continue;
        }
        for action in world.actions() {
            let mut next = world.clone();
            let mut path = path.clone();
            path.push(action);
            if let Err(found) = next.act(cast, action) {
                let said: Vec<String> = next.sent.iter().map(|(f, t, m)| format!("{f}→{t} {m:?}")).collect();
                return Err(format!("{found}\nafter {path:?}\nwhere was said {}", said.join("\n")));
            }
            if seen.insert(next.key()) {
                queue.push_back((next, path));
            }
        }
    }
    Ok(seen.len())
}

fn depth(usual: usize) -> usize {
    option_env!("FOA_MODEL_DEPTH").and_then(|d| d.parse().ok()).unwrap_or(usual)
}

fn bounds() -> Bounds {
    Bounds { campaigns: 2, writes: 1, crashes: 1, late: 1, forgets: 0, after_that: Forgetful::Votes }
}

#[test]
fn one_founder_crashes_and_takeovers() {
    let cast = Cast::of(&[&[0, 1, 2], &[0, 1, 2], &[0, 1, 2]]);
    let mut world = World::new(&cast, bounds());
    world.found(&cast, 0).unwrap();
    let states = explore(&cast, world, depth(6));
    println!("one founder: {states} states");
    assert!(states > 1000, "{states}");
}

#[test]
fn two_founders_of_one_set() {
    let cast = Cast::of(&[&[0, 1, 2], &[1, 0, 2], &[0, 1, 2]]);
    let mut world = World::new(&cast, bounds());
    world.found(&cast, 0).unwrap();
    world.found(&cast, 1).unwrap();
    let states = explore(&cast, world, depth(5));
    println!("two founders: {states} states");
    assert!(states > 1000, "{states}");
}

#[test]
fn two_founders_who_know_different_coordinators() {
    let cast = Cast::of(&[&[0, 1, 2], &[1, 2, 3], &[0, 1, 2], &[1, 2, 3]]);
    let mut world = World::new(&cast, bounds());
    world.found(&cast, 0).unwrap();
    world.found(&cast, 1).unwrap();
    let states = explore(&cast, world, depth(5));
    println!("two founders of two sets: {states} states");
    assert!(states > 1000, "{states}");
}

/// Records 1 and 2 count: 1 is everywhere, 2 with the holder and one other, whose disk may then forget. What was said so far
/// is lost.
fn a_second_record_that_one_other_keeps(cast: &Cast, after_that: Forgetful) -> World {
    let bounds = Bounds { campaigns: 1, writes: 1, crashes: 0, late: 0, forgets: 1, after_that };
    let mut world = World::new(cast, bounds);
    world.found(cast, 0).unwrap();
    let said_to = |world: &World, to: &[usize]| -> Vec<Action> {
        let messages = world.sent.iter().enumerate().filter(|(_, (_, reader, _))| to.contains(reader));
        messages.map(|(at, _)| Action::Deliver(at)).collect()
    };
    for readers in [&[1, 2][..], &[0][..]] {
        said_to(&world, readers).into_iter().for_each(|action| world.act(cast, action).unwrap());
    }
    world.act(cast, Action::Write(0)).unwrap();
    for readers in [&[1][..], &[0][..]] {
        said_to(&world, readers).into_iter().for_each(|action| world.act(cast, action).unwrap());
    }
    assert_eq!(world.committed.len(), 2, "both count");
    world.sent.clear();
    world
}

#[test]
fn a_disk_that_forgets_breaks_the_agreement_unless_its_replica_is_silent() {
    let cast = Cast::of(&[&[0, 1, 2], &[0, 1, 2], &[0, 1, 2]]);
    let world = |after_that| a_second_record_that_one_other_keeps(&cast, after_that);
    let found = search(&cast, world(Forgetful::Votes), depth(8)).unwrap_err();
    assert!(found.starts_with("index 2:"), "{found}");
    let states = explore(&cast, world(Forgetful::IsSilent), depth(8));
    println!("a silent replica: {states} states");
    assert!(states > 100, "{states}");
}

#[test]
fn long_runs_at_random_agree_too() {
    let bounds = Bounds { campaigns: 12, writes: 12, crashes: 8, late: 6, ..bounds() };
    runs_at_random(bounds);
}

#[test]
fn long_runs_at_random_agree_while_a_replica_whose_disk_forgot_is_silent() {
    let late = Bounds { campaigns: 12, writes: 12, crashes: 8, late: 6, ..bounds() };
    runs_at_random(Bounds { forgets: 1, after_that: Forgetful::IsSilent, ..late });
}

/// Deep runs at random, beyond what can be tried exhaustively.
fn runs_at_random(bounds: Bounds) {
    let runs: u64 = option_env!("FOA_MODEL_RUNS").and_then(|d| d.parse().ok()).unwrap_or(300);
    let mut most = 0;
    let mut terms = BTreeMap::<u64, u32>::new();
    for seed in 0..runs {
        let cast = Cast::of(&[&[0, 1, 2], &[0, 1, 2], &[0, 1, 2]]);
        let mut world = World::new(&cast, bounds);
        world.found(&cast, 0).unwrap();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut path = Vec::new();
        for _ in 0..160 {
            let actions = world.actions();
            // xorshift: any number will do.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Recent messages more often than old ones, everything else now and then.
            let deliveries = world.sent.len();
            let pick = usize::try_from(state % 1_000_003).unwrap();
            let at = match pick % 10 {
                0..7 if deliveries > 0 => deliveries - 1 - (pick / 10) % deliveries.min(12),
                7 if deliveries > 0 => (pick / 10) % deliveries,
                _ => deliveries + (pick / 10) % (actions.len() - deliveries).max(1),
            };
            let Some(action) = actions.get(at).copied() else { continue };
            path.push(action);
            world.act(&cast, action).unwrap_or_else(|found| panic!("seed {seed}: {found}\nafter {path:?}"));
        }
        most = most.max(world.committed.len());
        *terms.entry(world.committed.last().map_or(0, |(term, _)| term.number)).or_default() += 1;
    }
    println!("{runs} runs, at most {most} committed records, last committed term by number {terms:?}");
    assert!(most > 3 && terms.len() > 2, "the runs go nowhere: {most} {terms:?}");
}
