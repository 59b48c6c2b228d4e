//! Everything is killed, again and again, while jobs go on: `kill -9` at random moments over workers, coordinators and the
//! broker, each started again after a random wait. At the end every job has one result and nothing was written twice.
//!
//! `FOA_KILL_ROUNDS=200 cargo test -p federation-tests --test live kill_rounds -- --nocapture --test-threads=1` plays
//! more rounds than a run of all tests does, `FOA_KILL_SEED` plays others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use federation_tests::sim::random::Random;

use crate::broker::Kind;
use crate::federation::Federation;
use crate::game::{COORDINATORS, Game, WORKERS};
use crate::program::{say, setting};
use crate::scribes::Scribes;

/// Rounds in a run of all tests.
const ROUNDS: u64 = 6;
/// A round kills after at most this long, and starts again after at most this long.
const WAIT_MS: u64 = 1800;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Broker,
    Coordinator(&'static str),
    Worker(&'static str),
}

impl Victim {
    fn draw(random: &mut Random) -> Self {
        match random.below(10) {
            0..4 => Self::Worker(WORKERS[random.below(WORKERS.len())]),
            4..8 => Self::Coordinator(COORDINATORS[random.below(COORDINATORS.len())]),
            _ => Self::Broker,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Coordinator(_) => "coordinator",
            Self::Worker(_) => "worker",
        }
    }

    fn kill(self, game: &mut Game) {
        match self {
            Self::Broker => game.federation.broker.kill(),
            Self::Coordinator(name) | Self::Worker(name) => game.federation.take(name).kill(),
        }
    }

    fn resume(self, game: &mut Game) {
        match self {
            Self::Broker => game.federation.broker.resume(),
            Self::Coordinator(name) | Self::Worker(name) => game.federation.again(name),
        }
    }
}

fn kill_rounds(kind: Kind) {
    let (rounds, seed) = (setting("FOA_KILL_ROUNDS", ROUNDS), setting("FOA_KILL_SEED", 1));
    let Some(mut game) = Game::new(kind, &format!("{seed}")) else { return };
    game.begin(Scribes::agents, Federation::again);
    let mut random = Random::of(seed, &format!("{kind:?}"));
    let mut kills: BTreeMap<&str, usize> = BTreeMap::new();
    let begun = Instant::now();
    for _ in 0..rounds {
        game.play(random.millis(0, WAIT_MS), |_| false);
        // One or two at once; the others may still be on their way up from the round before.
        let mut victims = vec![Victim::draw(&mut random)];
        if random.chance(0.25) {
            victims.push(Victim::draw(&mut random));
            victims.dedup();
        }
        for victim in &victims {
            victim.kill(&mut game);
            *kills.entry(victim.kind()).or_default() += 1;
        }
        for victim in victims {
            game.play(random.millis(0, WAIT_MS), |_| false);
            victim.resume(&mut game);
        }
    }
    let pace = begun.elapsed().as_secs_f64() / rounds as f64;
    // At last one coordinator goes for good, whatever it holds.
    let gone = Victim::Coordinator(COORDINATORS[random.below(COORDINATORS.len())]);
    gone.kill(&mut game);
    *kills.entry("for good").or_default() += 1;
    let outcome = game.settle();
    let kills = kills.iter().fold(String::new(), |mut text, (kind, n)| {
        let _ = write!(text, " {kind} {n}");
        text
    });
    say(&format!(
        "{kind:?}: rounds {rounds}, kills{kills}, jobs {} {:?}, writes {}, highest term {}, lost 0, doubled {}; \
         {pace:.1} s a round, slowest job {:.1?}, last job {:.1?} after the last kill, seed {seed}",
        outcome.jobs,
        outcome.statuses,
        outcome.writes,
        outcome.highest_term,
        outcome.doubled.len(),
        outcome.slowest,
        outcome.settled,
    ));
    for excuse in &outcome.excuses {
        say(&format!("  {}", excuse.chars().take(300).collect::<String>()));
    }
    let doubled = &outcome.doubled;
    assert!(doubled.is_empty(), "wanted one result of a job and one entry of a writing: {doubled:#?}");
    assert!(outcome.writes > 0, "wanted something written: {outcome:#?}");
    assert!(outcome.statuses.contains_key("completed"), "wanted some answers: {outcome:#?}");
    game.agree();
}

#[test]
fn kill_rounds_over_the_embedded_broker_lose_nothing_and_double_nothing() {
    kill_rounds(Kind::Embedded);
}

#[test]
fn kill_rounds_over_mosquitto_lose_nothing_and_double_nothing() {
    kill_rounds(Kind::Mosquitto);
}
