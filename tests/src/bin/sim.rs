//! `sim`: a federation in a box. Runs, repeats and measures simulated federations.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use federation_tests::sim::options::{Bug, FaultKind, Options};
use federation_tests::sim::{Report, World};

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
    /// Runs the short scenario of many seeds; stops at the first violation.
    Sweep {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 100)]
        seeds: u64,
        /// Every message goes through the real envelope.
        #[arg(long)]
        encode: bool,
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
    /// Milliseconds between two submissions.
    #[arg(long, default_value_t = 400)]
    every_ms: u64,
    /// Probability that a packet is lost: QoS 0 is gone, QoS 1 comes late and perhaps twice.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// What everything left to chance depends on.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Faults that happen.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<FaultKind>,
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
            let Run { nodes, coordinators, agents, jobs, every_ms, loss, seed, faults, .. } = run;
            let manners = federation_tests::sim::agents::Manner::ALL.map(|m| (m, run.misfits)).to_vec();
            let options = Options {
                seed,
                nodes,
                coordinators,
                agents,
                jobs,
                every_ms,
                loss,
                faults,
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
        Command::Sweep { from, seeds, encode } => sweep(from, seeds, encode),
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
    let report = world.run();
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

fn sweep(from: u64, seeds: u64, encode: bool) -> ExitCode {
    let began = Instant::now();
    for seed in from..from + seeds {
        let report = World::new(Options { encode, ..Options::short(seed) }).run();
        if !report.violations.is_empty() {
            print!("{report}");
            return verdict(&report, true);
        }
    }
    println!("{seeds} seeds from {from} hold every invariant, in {:.2?}", began.elapsed());
    ExitCode::SUCCESS
}

fn verdict(report: &Report, met: bool) -> ExitCode {
    if report.violations.is_empty() && met {
        return ExitCode::SUCCESS;
    }
    eprintln!("failed with seed {}", report.seed);
    ExitCode::FAILURE
}
