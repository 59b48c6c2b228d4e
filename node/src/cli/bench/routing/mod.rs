//! `foa bench routing`: how fast and how well this machine finds who fits, over federations of growing size.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::terminal;
use crate::exit::Failure;

mod churn;
mod decide;
mod peers;
mod search;
mod workload;

use self::churn::Churned;
use self::decide::Decided;
use self::search::{Filtered, Measured, Truth};
use self::workload::Workload;

/// Measure routing over clustered vectors: recall, time, memory, beside other ways to search
///
/// All times are CPU times of one thread, so that a busy machine hardly disturbs them. Vectors have 384 components, lie in
/// clusters of a hundred, and are searched as they come over the wire.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa bench routing --agents 1000,10000\n  foa bench routing --agents 100000 --peers python3 --json\n  foa bench routing --agents 100000 --churn 60"
)]
pub(super) struct Args {
    /// Sizes of the federations
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1000,10000,100000")]
    agents: Vec<usize>,
    /// Tasks each is asked
    #[arg(long, value_name = "N", default_value_t = 300)]
    tasks: usize,
    /// Shares of the agents that pass a filter
    #[arg(long, value_name = "SHARE", value_delimiter = ',', default_value = "0.5,0.01,0.001")]
    passing: Vec<f64>,
    /// Largest federation that whole decisions are measured on, over a directory of signed cards; 0 for none
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    decide: usize,
    /// Largest federation hnsw_rs is measured on, which takes minutes to build; 0 for none
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    hnsw_rs: usize,
    /// A Python that has numpy and hnswlib, usearch or both, to measure those beside [default: not measured]
    #[arg(long, value_name = "PYTHON")]
    peers: Option<String>,
    /// Candidates that other ways keep in a search
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "16,32,48,64,96")]
    sights: Vec<usize>,
    /// Only replace 0.1 % of the agents for so many seconds, and 5 % at once half-way, and search all the while
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    churn: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// All that was measured.
#[derive(Debug, Default, Serialize)]
struct Report {
    searches: Vec<Measured>,
    filtered: Vec<Filtered>,
    decisions: Vec<Decided>,
    churn: Vec<Churned>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if args.tasks == 0 || args.agents.contains(&0) {
        return Err(Failure::broken(anyhow::anyhow!("wanted at least one agent and one task")));
    }
    let mut report = Report::default();
    for agents in &args.agents {
        let workload = Workload::new(*agents);
        if args.churn > 0 {
            terminal::note(&format!("{agents} agents, {} seconds of churn", args.churn));
            report.churn.push(churn::measure(&workload, *agents, args.churn));
        } else {
            size(args, &workload, *agents, &mut report).map_err(Failure::broken)?;
        }
    }
    if args.json {
        terminal::print_json(&report);
    } else {
        terminal::print(&table(&report));
    }
    Ok(ExitCode::SUCCESS)
}

fn size(args: &Args, workload: &Workload, agents: usize, report: &mut Report) -> anyhow::Result<()> {
    terminal::note(&format!("{agents} agents: building"));
    if agents <= args.decide {
        report.decisions.push(decide::measure(workload, agents, args.tasks));
    }
    let (index, built) = search::build(workload, agents);
    let index = index.snapshot();
    let mut truth = Truth::new(workload, &index, args.tasks);
    report.searches.push(truth.exact(agents));
    report.searches.push(truth.plain(workload, agents));
    report.searches.extend(truth.ours(agents, &index, built, &args.sights));
    for share in &args.passing {
        report.filtered.push(search::filtered(&index, agents, &truth.tasks, *share));
    }
    drop(index);
    if agents <= args.hnsw_rs {
        terminal::note("hnsw_rs");
        report.searches.extend(truth.hnsw_rs(workload, agents, &args.sights));
    }
    if let Some(python) = &args.peers {
        terminal::note("hnswlib and usearch");
        report.searches.extend(peers::measure(python, workload, agents, &truth, &args.sights)?);
    }
    Ok(())
}

fn table(report: &Report) -> String {
    let mut out = String::new();
    if !report.searches.is_empty() {
        out.push_str("  agents  search            recall@10     mean us      p99 us     build s\n");
    }
    for m in &report.searches {
        let Measured { agents, engine, recall, mean_us, p99_us, build_s, .. } = m;
        out.push_str(&format!(
            "{agents:>8}  {engine:<16} {recall:>10.3} {mean_us:>11.0} {p99_us:>11.0} {build_s:>11.1}\n"
        ));
    }
    if !report.filtered.is_empty() {
        out.push_str("\n  agents   passing   recall@10     mean us      p99 us   of which walked\n");
    }
    for f in &report.filtered {
        let Filtered { agents, passing, recall, mean_us, p99_us, walked, searches, .. } = f;
        out.push_str(&format!(
            "{agents:>8} {passing:>9} {recall:>11.3} {mean_us:>11.0} {p99_us:>11.0}   {walked} in {searches}\n"
        ));
    }
    for d in &report.decisions {
        out.push_str(&format!(
            "\n{} agents, whole decisions: mean {:.2} ms, p99 {:.2} ms; with a policy half of them have: mean {:.2} ms, p99 {:.2} ms\n",
            d.agents, d.mean_ms, d.p99_ms, d.policy_mean_ms, d.policy_p99_ms
        ));
        if let (Some([_, with]), Some(each)) = (d.resident_mb, d.bytes_per_agent) {
            out.push_str(&format!("  in memory: {with:.0} MB, {each:.0} bytes an agent\n"));
        }
    }
    for d in &report.decisions {
        out.push_str(&format!(
            "\n{} agents after a restart: {:.2} s to the first decision from {:.0} MB, which took {:.2} s to save\n",
            d.agents,
            d.reload.first_decision_s,
            d.reload.bytes as f64 / 1e6,
            d.reload.saving_s
        ));
    }
    for c in &report.churn {
        out.push_str(&format!(
            "\n{} agents, {} seconds, {} replaced\n  searches: at rest mean {:.0} us, p99 {:.0} us; churning {:.0}, {:.0}; after the burst {:.0}, {:.0}\n  recall@10: {:.3} before, {:.3} after the burst, {:.3} at the end; {} were lost and linked anew; upkeep takes {:.1} % of a core\n",
            c.agents, c.seconds, c.replaced, c.quiet.mean_us, c.quiet.p99_us, c.churning.mean_us, c.churning.p99_us,
            c.burst.mean_us, c.burst.p99_us, c.recall[0], c.recall[1], c.recall[2], c.lost, c.upkeep * 100.0
        ));
        if let Some([before, after]) = c.resident_mb {
            out.push_str(&format!("  in memory: {before:.0} MB before, {after:.0} MB at the end\n"));
        }
    }
    out
}
