//! `sim`: a federation in a box. Runs, repeats and measures simulated federations.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use federation_tests::sim::faults::FaultKind;
use federation_tests::sim::options::{Bug, Options};
use federation_tests::sim::{Report, World, compare, sweep};

/// All jobs are submitted within this many milliseconds, when nothing else is said.
const WITHIN_MS: u64 = 200_000;
/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// Simulates a federation: the real machines, simulated time, links, disks, brokers and agents.
#[derive(Debug, Parser)]
#[command(
    name = "sim",
    after_help = "example: sim run --nodes 200 --coordinators 5 --agents 400 --jobs 100 --loss 0.05 --seed 7"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a federation of a given size.
    Run(Run),
    /// Runs the short scenario of one seed again, saying everything that happens.
    Reproduce {
        /// The seed.
        seed: u64,
        #[command(flatten)]
        output: Output,
    },
    /// Runs the short scenario of many seeds and sums up what was found.
    Sweep {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 100)]
        seeds: u64,
        /// Worlds at once.
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// Every message goes through the real envelope.
        #[arg(long)]
        encode: bool,
        /// Put a known mistake back.
        #[arg(long)]
        bug: Option<Bug>,
    },
    /// Two runs side by side. Each is a report that `run --json` wrote (`.json`) or a scenario to run (`.toml`).
    Compare {
        /// One.
        a: PathBuf,
        /// The other.
        b: PathBuf,
    },
    /// Runs a scenario file and checks what it expects.
    Scenario {
        /// The file, TOML.
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// Nodes, coordinators included.
    #[arg(long, default_value_t = 12)]
    nodes: usize,
    /// Nodes that coordinate.
    #[arg(long, default_value_t = 2)]
    coordinators: usize,
    /// Agents, spread over the other nodes.
    #[arg(long, default_value_t = 24)]
    agents: usize,
    /// Jobs.
    #[arg(long, default_value_t = 6)]
    jobs: usize,
    /// Milliseconds between two submissions [default: 400, and less when there are more than 500 jobs].
    #[arg(long)]
    every_ms: Option<u64>,
    /// Probability that a packet is lost: QoS 0 is gone, QoS 1 comes late and perhaps twice.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// What everything left to chance depends on.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Faults that happen.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<FaultKind>,
    /// Milliseconds during which faults happen.
    #[arg(long, default_value_t = 20_000)]
    faults_ms: u64,
    /// Faults of each kind.
    #[arg(long, default_value_t = 3)]
    faults_each: usize,
    /// Share of agents of each kind that is not honest, in per mille.
    #[arg(long, default_value_t = 0)]
    misfits: u32,
    /// Every message goes through the real envelope.
    #[arg(long)]
    encode: bool,
    /// Count messages by size, too.
    #[arg(long)]
    bytes: bool,
    /// Share of jobs submitted once and unsigned, in per mille.
    #[arg(long, default_value_t = 0)]
    bare: u32,
    /// Milliseconds that a sync of a disk takes at most.
    #[arg(long, default_value_t = 12)]
    disk_ms: u64,
    /// Every node is told who coordinates, instead of finding out.
    #[arg(long)]
    fixed: bool,
    /// How far the clock of each node may be off, either way, in milliseconds.
    #[arg(long, default_value_t = 0)]
    skew_ms: u64,
    /// How much the clock of each node may gain or lose, in millionths.
    #[arg(long, default_value_t = 0)]
    drift_ppm: u64,
    /// Messages that the broker keeps for one client; what comes then is dropped [default: no limit].
    #[arg(long)]
    queued: Option<usize>,
    /// Cards a coordinator keeps before coordinators share them out by shards [default: no limit].
    #[arg(long)]
    max_cards: Option<usize>,
    /// Words of each subject, of which an agent knows six [default: all agents of a subject know the same].
    #[arg(long)]
    vocabulary: Option<usize>,
    /// Put a known mistake back.
    #[arg(long)]
    bug: Option<Bug>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Output {
    /// The report as JSON.
    #[arg(long)]
    json: bool,
    /// Say on stderr everything that happens.
    #[arg(long)]
    trace: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    Ok(match Arguments::parse().command {
        Command::Run(run) => {
            let Run { nodes, coordinators, agents, jobs, loss, seed, faults, .. } = run;
            let manners = federation_tests::sim::agents::Manner::ALL.map(|m| (m, run.misfits)).to_vec();
            let options = Options {
                seed,
                nodes,
                coordinators,
                agents,
                jobs,
                every_ms: run.every_ms.unwrap_or_else(|| (WITHIN_MS / jobs.max(1) as u64).clamp(1, 400)),
                loss,
                faults,
                faults_ms: run.faults_ms,
                fixed: run.fixed,
                skew_ms: run.skew_ms,
                drift_ppm: run.drift_ppm,
                queued: run.queued,
                max_cards: run.max_cards,
                vocabulary: run.vocabulary,
                faults_each: run.faults_each,
                encode: run.encode,
                bytes: run.bytes,
                bug: run.bug,
                bare: run.bare,
                disk_ms: run.disk_ms,
                manners,
                ..Options::default()
            };
            simulate(options, &run.output)
        }
        Command::Reproduce { seed, output } => {
            simulate(Options::short(seed), &Output { trace: true, ..output })
        }
        Command::Sweep { from, seeds, threads, encode, bug } => {
            many(from, seeds, threads, &|options| Options { encode, bug, ..options })
        }
        Command::Compare { a, b } => {
            println!("{}", compare::table(&compare::report(&a)?, &compare::report(&b)?));
            ExitCode::SUCCESS
        }
        Command::Scenario { file, output } => simulate(Options::read(&file)?, &output),
    })
}

fn simulate(options: Options, output: &Output) -> ExitCode {
    let began = Instant::now();
    let (seed, expect) = (options.seed, options.expect.clone());
    let mut world = World::new(options);
    if output.trace {
        world.trace();
    }
    let mut told = Instant::now();
    let report = world.run_watched(|world| {
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            let ended = world.clients().iter().flat_map(|c| c.jobs.values()).filter(|job| job.over()).count();
            eprintln!("{:.0?}: {:.0?} simulated, {ended} jobs over", began.elapsed(), world.elapsed());
        }
    });
    for line in world.take_trace() {
        eprintln!("{line}");
    }
    if output.json {
        println!("{}", report.json());
    } else {
        print!("{report}");
    }
    eprintln!("took {:.2?}", began.elapsed());
    let unmet = expect.unmet(&report);
    for line in &unmet {
        eprintln!("seed {seed}: {line}");
    }
    verdict(&report, unmet.is_empty())
}

fn many(from: u64, seeds: u64, threads: usize, change: &(dyn Fn(Options) -> Options + Sync)) -> ExitCode {
    let began = Instant::now();
    let summary = sweep::sweep(from, seeds, threads, change, |ran, failed| {
        if ran.is_multiple_of(100) || ran == seeds {
            eprintln!("{ran} of {seeds} seeds, {failed} with a violation, after {:.0?}", began.elapsed());
        }
    });
    println!("{summary}");
    if summary.violated.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn verdict(report: &Report, met: bool) -> ExitCode {
    if report.violations.is_empty() && met {
        return ExitCode::SUCCESS;
    }
    eprintln!("failed with seed {}", report.seed);
    ExitCode::FAILURE
}
