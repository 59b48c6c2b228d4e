//! `foa bench store`: what it costs to keep a record.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::Times;
use crate::cli::terminal;
use crate::exit::Failure;
use crate::store::{Append, SegmentStore, SledStore, Store, StoreError, Stream};

/// Measure appending and syncing records in a directory, and opening them again
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa bench store --dir /var/lib/foa\n  foa bench store --engine sled --records 100000"
)]
pub(super) struct Args {
    /// Where; a directory is made there and removed again [default: the system's place for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// What keeps the log: segments is what a node runs on, sled is what it ran on before
    #[arg(long, value_enum, default_value_t = Engine::Segments)]
    engine: Engine,
    /// Records between two syncs; each number is measured for itself
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,4,16,64")]
    batch: Vec<usize>,
    /// Bytes of one record
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    bytes: usize,
    /// Syncs measured for each batch
    #[arg(long, value_name = "N", default_value_t = 500)]
    syncs: usize,
    /// Records in the store that is then opened again; 0 leaves that out
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    records: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Engine {
    /// Append-only files
    Segments,
    /// A sled tree
    Sled,
}

impl Engine {
    fn open(self, directory: &Path) -> Result<Box<dyn Store>, StoreError> {
        Ok(match self {
            Self::Segments => Box::new(SegmentStore::open(directory)?),
            Self::Sled => Box::new(SledStore::open(directory)?),
        })
    }
}

/// One batch size, measured.
#[derive(serde::Serialize)]
struct Measured {
    batch: usize,
    syncs: usize,
    mean_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
    records_per_s: f64,
}

/// A large store, opened again.
#[derive(serde::Serialize)]
struct Opened {
    records: usize,
    bytes: u64,
    open_ms: f64,
    replay_ms: f64,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let place = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let place = place
        .map_err(|e| Failure::broken(anyhow::Error::new(e).context("wanted a directory to measure in")))?;
    let mut measured = Vec::new();
    for (i, batch) in args.batch.iter().enumerate() {
        measured.push(append(args, &place.path().join(i.to_string()), (*batch).max(1)).map_err(failed)?);
    }
    let opened = match args.records {
        0 => None,
        records => Some(open(args, &place.path().join("large"), records).map_err(failed)?),
    };
    if args.json {
        terminal::print_json(&serde_json::json!({ "appends": measured, "opened": opened }));
    } else {
        terminal::print(&table(args, &measured, opened.as_ref()));
    }
    Ok(ExitCode::SUCCESS)
}

fn append(args: &Args, directory: &Path, batch: usize) -> Result<Measured, StoreError> {
    let store = args.engine.open(directory)?;
    let stream = Stream::Job("bench-job".parse().expect("nine letters are a job id"));
    let body = vec![b'x'; args.bytes];
    let records = vec![Append { stream: &stream, body: &body }; batch];
    store.append(&records)?;
    store.sync()?;
    let began = Instant::now();
    let mut times = Times::default();
    for _ in 0..args.syncs {
        let began = Instant::now();
        store.append(&records)?;
        store.sync()?;
        times.0.push(began.elapsed());
    }
    let took = began.elapsed();
    // What sled puts off is part of the bill.
    drop(store);
    let count = args.syncs * batch;
    Ok(Measured {
        batch,
        syncs: args.syncs,
        mean_ms: times.mean(),
        p50_ms: times.quantile(500),
        p99_ms: times.quantile(990),
        records_per_s: count as f64 / took.as_secs_f64(),
    })
}

fn open(args: &Args, directory: &Path, records: usize) -> Result<Opened, StoreError> {
    let store = args.engine.open(directory)?;
    let streams: Vec<Stream> = (0..100)
        .map(|i| Stream::Job(format!("bench-job-{i}").parse().expect("letters and digits")))
        .collect();
    let body = vec![b'x'; args.bytes];
    for i in (0..records).step_by(100) {
        let batch: Vec<Append<'_>> = (i..records.min(i + 100))
            .map(|n| Append { stream: &streams[n % streams.len()], body: &body })
            .collect();
        store.append(&batch)?;
    }
    store.sync()?;
    drop(store);
    let began = Instant::now();
    let store = args.engine.open(directory)?;
    let open_ms = millis(began.elapsed());
    let began = Instant::now();
    let mut seen = 0;
    store.replay(&mut |_, _, _| {
        seen += 1;
        ControlFlow::Continue(())
    })?;
    Ok(Opened { records: seen, bytes: store.bytes()?, open_ms, replay_ms: millis(began.elapsed()) })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn table(args: &Args, measured: &[Measured], opened: Option<&Opened>) -> String {
    let mut out = format!("records of {} bytes; times of one append and sync\n", args.bytes);
    out.push_str(" batch    mean ms     p50 ms     p99 ms   records/s\n");
    for m in measured {
        out.push_str(&format!(
            "{:>6} {:>10.3} {:>10.3} {:>10.3} {:>11.0}\n",
            m.batch, m.mean_ms, m.p50_ms, m.p99_ms, m.records_per_s
        ));
    }
    if let Some(opened) = opened {
        out.push_str(&format!(
            "{} records, {} MB on disk: opened in {:.0} ms, read in {:.0} ms\n",
            opened.records,
            opened.bytes / 1_000_000,
            opened.open_ms,
            opened.replay_ms
        ));
    }
    out
}

fn failed(error: StoreError) -> Failure {
    let hint = error.hint();
    Failure::broken(error).maybe_hint(hint)
}
