//! `foa jobs export` and `foa jobs import`: job logs from one node's store to another's, as lines of JSON.
//!
//! ```text
//! {"foa":"jobs","version":1,"streams":2,"records":9}
//! {"stream":"job/3f2kq7ab","crc32":"9ae0f1c2","record":{…}}
//! ```
//!
//! A record stands there byte for byte as the store has it, last in its line, so that its checksum is over those bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use foa_node_core::journal::NodeRecord;
use foa_wire::JobId;
use foa_workflows::Record;
use serde::{Deserialize, Serialize};

use super::terminal;
use crate::exit::Failure;
use crate::store::{Append, SegmentStore, Store, StoreError, Stream};

/// The version this program writes and reads.
const VERSION: u32 = 1;

/// Which jobs to export, and where to.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true)))]
pub(super) struct Export {
    /// The job
    #[arg(group = "which")]
    job: Option<JobId>,
    /// All jobs
    #[arg(long, group = "which")]
    all: bool,
    /// Write to this file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What to import.
#[derive(clap::Args)]
pub(super) struct Import {
    /// A file that `foa jobs export` wrote
    file: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Header {
    foa: String,
    version: u32,
    streams: usize,
    records: usize,
}

#[derive(Serialize, Deserialize)]
struct Line {
    stream: String,
    crc32: String,
}

/// The logs of some jobs, in the order of their numbers.
type Logs = BTreeMap<Stream, Vec<Vec<u8>>>;

const RECORD: &str = ",\"record\":";

pub(super) fn export(args: &Export, journal: &Path) -> Result<ExitCode, Failure> {
    let store = open(journal)?;
    let wanted = |stream: &Stream| match (stream, &args.job) {
        (Stream::Job(job) | Stream::Work(job), Some(wanted)) => job == wanted,
        (Stream::Job(_) | Stream::Work(_), None) => true,
        (Stream::Node, _) => false,
    };
    let logs = read_store(&store, &wanted).map_err(failed)?;
    if let (Some(job), true) = (&args.job, logs.is_empty()) {
        let failure = anyhow::anyhow!("wanted {job} in {}, found no record of it", journal.display());
        return Err(
            Failure::refused(failure).hint("another coordinator may hold it; `foa jobs list` asks all")
        );
    }
    let text = write(&logs);
    match &args.output {
        None => terminal::print(&text),
        Some(path) => {
            save(path, &text)
                .with_context(|| format!("wanted to write {}", path.display()))
                .map_err(Failure::broken)?;
            terminal::note(&format!("{} in {}", counted(&logs), path.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn import(args: &Import, journal: &Path) -> Result<ExitCode, Failure> {
    let place = || format!("cannot import {}", args.file.display());
    let file = File::open(&args.file).with_context(place).map_err(Failure::broken)?;
    let logs = read(BufReader::new(file)).with_context(place).map_err(Failure::refused)?;
    let store = open(journal)?;
    let here = read_store(&store, &|stream| logs.contains_key(stream)).map_err(failed)?;
    let new: Logs = logs.into_iter().filter(|(stream, log)| here.get(stream) != Some(log)).collect();
    if let Some(stream) = new.keys().find(|stream| here.contains_key(stream)) {
        let failure = anyhow::anyhow!("wanted no other log of {stream} in {}, found one", journal.display());
        return Err(Failure::refused(failure)
            .hint("nothing was imported; one job has one log, and this one is not the same"));
    }
    for (stream, log) in &new {
        let records: Vec<Append<'_>> = log.iter().map(|body| Append { stream, body }).collect();
        store.append(&records).map_err(failed)?;
    }
    store.sync().map_err(failed)?;
    terminal::note(&format!("{} imported, {} were here already", counted(&new), here.len()));
    Ok(ExitCode::SUCCESS)
}

fn counted(logs: &Logs) -> String {
    format!("{} logs with {} records", logs.len(), logs.values().map(Vec::len).sum::<usize>())
}

fn open(journal: &Path) -> Result<SegmentStore, Failure> {
    if !journal.exists() {
        let failure = anyhow::anyhow!("wanted a store in {}, found none", journal.display());
        return Err(Failure::broken(failure)
            .hint("a node makes it on its first start; --config or FOA_DATA_DIR names another node's"));
    }
    SegmentStore::open(journal).map_err(failed)
}

fn failed(error: StoreError) -> Failure {
    let hint = match &error {
        StoreError::Locked { .. } => {
            Some("stop the node first; its jobs go on when it starts again".to_owned())
        }
        other => other.hint(),
    };
    Failure::broken(error).maybe_hint(hint)
}

fn read_store(store: &SegmentStore, wanted: &dyn Fn(&Stream) -> bool) -> Result<Logs, StoreError> {
    let mut logs = Logs::new();
    store.replay(&mut |stream, _, body| {
        if wanted(stream) {
            logs.entry(stream.clone()).or_default().push(body.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    Ok(logs)
}

fn write(logs: &Logs) -> String {
    let records = logs.values().map(Vec::len).sum();
    let header = Header { foa: "jobs".to_owned(), version: VERSION, streams: logs.len(), records };
    let mut text = serde_json::to_string(&header).expect("texts and numbers");
    text.push('\n');
    for (stream, log) in logs {
        for body in log {
            let line = Line { stream: stream.to_string(), crc32: format!("{:08x}", crc32fast::hash(body)) };
            let line = serde_json::to_string(&line).expect("texts");
            // Journal records are JSON on one line; what is none would be refused by whoever imports it.
            text.push_str(&format!(
                "{}{RECORD}{}}}\n",
                &line[..line.len() - 1],
                String::from_utf8_lossy(body)
            ));
        }
    }
    text
}

/// The records of one job in an export, in the order of their indices: a later one takes the place of those it replaces.
pub(super) fn records_of(file: &Path, job: &JobId) -> anyhow::Result<Vec<Record>> {
    let logs = read(BufReader::new(File::open(file)?))?;
    let mut records: Vec<Record> = Vec::new();
    for body in logs.get(&Stream::Job(job.clone())).into_iter().flatten() {
        if let NodeRecord::Job { record } = serde_json::from_slice(body)? {
            records.retain(|kept| kept.index < record.index);
            records.push(*record);
        }
    }
    ensure!(!records.is_empty(), "wanted records of {job}, found none");
    Ok(records)
}

fn save(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(text.as_bytes())?;
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}

/// Reads an export, and checks every line of it.
fn read(file: impl std::io::BufRead) -> anyhow::Result<Logs> {
    let mut lines = file.lines();
    let first = lines.next().context("wanted a first line that says what this is, found an empty file")??;
    let header: Header = serde_json::from_str(&first)
        .context("wanted a first line like {\"foa\":\"jobs\",\"version\":1,…}")?;
    ensure!(header.foa == "jobs", "wanted an export of jobs, found one of {:?}", header.foa);
    ensure!(header.version == VERSION, "wanted version {VERSION}, found {}", header.version);
    let mut logs = Logs::new();
    let mut records = 0;
    for (number, line) in (2..).zip(lines) {
        let (stream, body) = record(&line?).with_context(|| format!("line {number}"))?;
        logs.entry(stream).or_default().push(body);
        records += 1;
    }
    ensure!(
        (logs.len(), records) == (header.streams, header.records),
        "wanted {} records of {} streams as the first line says, found {records} of {}",
        header.records,
        header.streams,
        logs.len()
    );
    Ok(logs)
}

fn record(line: &str) -> anyhow::Result<(Stream, Vec<u8>)> {
    let (head, rest) = line.split_once(RECORD).context("wanted a stream, a checksum and a record")?;
    let body = rest.strip_suffix('}').context("wanted a line that is whole")?;
    let head: Line = serde_json::from_str(&format!("{head}}}"))?;
    let found = format!("{:08x}", crc32fast::hash(body.as_bytes()));
    ensure!(found == head.crc32, "wanted checksum {}, found {found}", head.crc32);
    let stream: Stream = head.stream.parse()?;
    if let Stream::Node = stream {
        bail!("wanted a job's record, found one of the node");
    }
    let _: NodeRecord = serde_json::from_str(body).context("wanted a record this version knows")?;
    Ok((stream, body.as_bytes().to_vec()))
}
