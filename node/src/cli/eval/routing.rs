//! `foa eval routing`: how often requests reach the agents that fit them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cli::{load_model, terminal};
use crate::eval::routing::{Arm, Wanted, measure};
use crate::eval::set::{self, NAMES, Set, Split};
use crate::exit::Failure;
use crate::model::{Embedder, Options, SledCache, VectorCache};
use crate::render::{Style, Table};

/// Sets whose agents are also looked for among many others.
const CROWDED: [&str; 2] = ["metatool", "lobehub"];
/// Texts embedded between two lines of progress where there is no terminal.
const EVERY: usize = 2_048;

/// Measure how often requests reach the agents that fit them
///
/// Every agent of a set gets a card in a directory, and every request is routed as a job is. The arms: bm25 (words
/// alone), dense (nearest vector alone), fused (what a node does), experience (the same, once agents have served other
/// requests of the set), *_examples (with example requests on the cards), *_distractors_N (among N agents of no set).
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa eval routing --set metatool --set lobehub --distractors 1000,10000\n  foa eval routing --split heldout --json"
)]
pub(super) struct Args {
    /// A set: livemcp, mcpbench, metatool, lobehub, sealtools, clinc150; may be repeated [default: all that are there]
    #[arg(long = "set", value_name = "NAME", value_parser = NAMES)]
    sets: Vec<String>,
    /// Directory with the sets, each as NAME/{agents,dev,heldout}.jsonl [default: ../shared/data] [env: FOA_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Which half of the requests
    #[arg(long, value_enum, default_value_t = Split::Dev)]
    split: Split,
    /// Requests of each set, at most [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Numbers of agents of no set to put among those of metatool and lobehub; each is measured for itself
    #[arg(long, value_name = "N", value_delimiter = ',')]
    distractors: Vec<usize>,
    /// Print JSON: {set: {metric: value}}, a metric being r1, r5, ndcg5 or c5 of what a node does, with requests nobody fits
    /// also auroc and fpr95; the same of every arm as ARM_r1 and so on
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let data = args.data.clone().or_else(|| std::env::var_os("FOA_DATA").map(PathBuf::from));
    let data = data.unwrap_or_else(|| PathBuf::from("../shared/data"));
    let wanted: Vec<&str> =
        if args.sets.is_empty() { NAMES.to_vec() } else { args.sets.iter().map(String::as_str).collect() };
    let mut sets = Vec::new();
    for name in wanted {
        if Set::is_at(&data, name) {
            sets.push(Set::read(&data, name, args.split, args.limit).map_err(Failure::broken)?);
        } else {
            terminal::note(&format!("skipped {name}: wanted it in {}, found nothing", data.display()));
        }
    }
    if sets.is_empty() {
        return Err(Failure::broken(anyhow::anyhow!(
            "wanted labelled sets in {}, found none",
            data.display()
        ))
        .hint("--data DIR or FOA_DATA says where they are"));
    }
    let corpus = match args.distractors.as_slice() {
        [] => Vec::new(),
        _ => set::corpus(&data).map_err(Failure::broken)?,
    };
    let embedder = load_model(kept_vectors(), 2).await?;
    let mut measured = Vec::new();
    for set in &sets {
        let distractors = if CROWDED.contains(&set.name.as_str()) { &args.distractors[..] } else { &[] };
        let wanted = Wanted { corpus: &corpus, distractors };
        let arms = one(set, wanted, &embedder).await?;
        measured.push((set, arms));
    }
    if args.json {
        let of = |arms: &[Arm]| -> BTreeMap<String, f64> {
            let named = |arm: &Arm, prefix: &str| {
                let named = arm.metrics.named().into_iter();
                named.map(|(metric, value)| (format!("{prefix}{metric}"), value)).collect::<Vec<_>>()
            };
            let own = arms.iter().filter(|arm| arm.name == "fused").flat_map(|arm| named(arm, ""));
            own.chain(arms.iter().flat_map(|arm| named(arm, &format!("{}_", arm.name)))).collect()
        };
        let sets: BTreeMap<&str, _> =
            measured.iter().map(|(set, arms)| (set.name.as_str(), of(arms))).collect();
        terminal::print_json(&sets);
    } else {
        let style = terminal::stdout_style();
        let parts: Vec<String> =
            measured.iter().map(|(set, arms)| table(set, arms, args.split, style)).collect();
        terminal::print(&parts.join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures a set, saying how far it is.
async fn one(set: &Set, wanted: Wanted<'_>, embedder: &Embedder) -> Result<Vec<Arm>, Failure> {
    let spinner = terminal::Spinner::start(&format!("{}: reading", set.name));
    let said = AtomicUsize::new(0);
    let progress = |done: usize, of: usize| {
        let text = format!("{}: {done} of {of} texts embedded", set.name);
        if done / EVERY > said.load(Ordering::Relaxed) {
            said.store(done / EVERY, Ordering::Relaxed);
            spinner.step(&text);
        } else {
            spinner.say(&text);
        }
    };
    let arms = measure(set, wanted, embedder, &progress).await;
    arms.map_err(|error| {
        Failure::broken(anyhow::Error::new(error).context(format!("cannot measure {}", set.name)))
    })
}

/// Vectors of texts seen before, if there is a place to keep them that nobody else uses now.
fn kept_vectors() -> Option<Arc<dyn VectorCache>> {
    let place = Options::from_env().cache?.with_file_name("eval-vectors");
    match SledCache::open(&place) {
        Ok(cache) => Some(Arc::new(cache)),
        Err(error) => {
            terminal::note(&format!("vectors are not kept: {error}"));
            None
        }
    }
}

fn table(set: &Set, arms: &[Arm], split: Split, style: Style) -> String {
    let requests = arms.first().map_or(0, |arm| arm.metrics.requests);
    let tools: usize = set.tools.iter().map(Vec::len).sum();
    let mut title = format!("{} {}: {} agents", set.name, split.name(), set.agents.len());
    if tools > 0 {
        title.push_str(&format!(", {tools} tools"));
    }
    title.push_str(&format!(", {requests} requests"));
    if set.requests.len() > requests {
        title.push_str(&format!(" and {} that nobody fits", set.requests.len() - requests));
    }
    let mut table = Table::new(&["ARM", "R@1", "R@5", "nDCG@5", "C@5", "AUROC", "FPR@95"]);
    let figure = |x: f64| format!("{x:.3}");
    for Arm { name, metrics: m } in arms {
        let mut row = vec![name.clone()];
        row.extend([m.r1, m.r5, m.ndcg5, m.c5].map(figure));
        row.extend([m.auroc, m.fpr95].map(|x| x.map_or_else(String::new, figure)));
        table.row(row);
    }
    format!("{title}\n{}", table.render(style))
}
