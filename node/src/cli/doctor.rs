//! `foa doctor`: looks at everything a node depends on, and says what to type next.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use foa_node_core::status::NodeStatus;
use foa_wire::Time;

use super::{Place, doctor_store, failed_config, terminal};
use crate::client::{self, Client};
use crate::config::{ClientConfig, NodeConfig};
use crate::exit::Failure;
use crate::identity::Identity;
use crate::model;
use crate::render::{self, Style};
use crate::store::{self, StoreError};

/// Clocks that differ by more than this make messages look expired or from the future.
const SKEW: Duration = Duration::from_secs(60);
/// A node says it is there at least this often; a status older than that says nothing about its clock.
const FRESH: Duration = Duration::from_secs(10);

/// Check what a node and this command line depend on
///
/// One line for each thing: ok, warn or fail, and what to type next. Exit code 1 when anything failed.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa --config deploy/config/cygnus.toml doctor\n  foa doctor --store --repair"
)]
pub(super) struct Args {
    /// Check every record of the node's store instead; the node must be stopped
    #[arg(long)]
    store: bool,
    /// Cut the store's log at its last whole record, and keep what followed aside
    #[arg(long, requires = "store")]
    repair: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

struct Finding {
    about: &'static str,
    verdict: Verdict,
    text: String,
    next: Option<String>,
}

fn finding(about: &'static str, verdict: Verdict, text: impl Into<String>, next: Option<String>) -> Finding {
    Finding { about, verdict, text: text.into(), next }
}

pub(super) async fn run(args: Args, place: &Place) -> Result<ExitCode, Failure> {
    let layers = place.layers(Vec::new())?;
    let node = layers.node().map_err(failed_config)?;
    if args.store {
        return doctor_store::run(&node.journal(), args.repair, args.json);
    }
    let client = layers.client().map_err(failed_config)?;
    let read =
        layers.file.as_ref().map_or("defaults and environment".to_owned(), |f| f.display().to_string());
    let mut findings = vec![finding("config", Verdict::Ok, read, None)];
    findings
        .push(key("your key", &client.key_file, || Identity::load(&client.key_file, client.name.clone())));
    findings.push(key("node key", &node.key_file(), || Identity::load(&node.key_file(), node.name.clone())));
    findings.push(journal(&node));
    findings.push(disk(&node.data_dir));
    findings.extend(model_files());
    findings.extend(federation(&client).await);

    let failed = findings.iter().any(|f| f.verdict == Verdict::Fail);
    if args.json {
        let list: Vec<serde_json::Value> = findings
            .iter()
            .map(|f| serde_json::json!({ "about": f.about, "verdict": word(f.verdict), "text": f.text, "next": f.next }))
            .collect();
        terminal::print_json(&list);
    } else {
        let style = terminal::stdout_style();
        let lines: Vec<String> = findings.iter().map(|f| line(f, style)).collect();
        terminal::print(&lines.join("\n"));
    }
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Fail => "fail",
    }
}

fn line(finding: &Finding, style: Style) -> String {
    let word = format!("{:<5}", word(finding.verdict));
    let word = match finding.verdict {
        Verdict::Ok => style.green(&word),
        Verdict::Warn => style.yellow(&word),
        Verdict::Fail => style.red(&word),
    };
    let next = finding.next.as_ref().map_or_else(String::new, |next| format!("\n      → {next}"));
    format!("{word} {:<10} {}{next}", finding.about, finding.text)
}

fn key(
    about: &'static str,
    path: &Path,
    load: impl FnOnce() -> Result<Identity, crate::identity::IdentityError>,
) -> Finding {
    if !path.exists() {
        return finding(
            about,
            Verdict::Ok,
            format!("none yet; made in {} on first use", path.display()),
            None,
        );
    }
    match load() {
        Ok(identity) => finding(about, Verdict::Ok, format!("{}  {}", identity.id(), path.display()), None),
        Err(error) => finding(about, Verdict::Fail, error.to_string(), error.hint()),
    }
}

fn journal(node: &NodeConfig) -> Finding {
    let path = node.journal();
    if !path.exists() {
        return finding(
            "journal",
            Verdict::Ok,
            format!("none yet; made in {} on first use", path.display()),
            None,
        );
    }
    match store::inspect(&path) {
        Ok(seen) => match seen.unwrap_or_default() {
            store::Inspection { broken: Some(broken), .. } => finding(
                "journal",
                Verdict::Warn,
                format!(
                    "{}: wanted whole records, found {} at byte {} of {}",
                    path.display(),
                    broken.why,
                    broken.at,
                    broken.path.display()
                ),
                Some("foa doctor --store".to_owned()),
            ),
            seen if node.store_quota.is_some_and(|quota| seen.bytes + seen.cells > quota) => finding(
                "journal",
                Verdict::Warn,
                format!(
                    "{}: wanted at most {} KB to take new jobs, found {} KB",
                    path.display(),
                    node.store_quota.unwrap_or_default() / 1000,
                    (seen.bytes + seen.cells) / 1000
                ),
                Some("store.max_bytes says how large it may be; jobs that ended leave it in time".to_owned()),
            ),
            seen => {
                let size = (seen.bytes + seen.cells) / 1000;
                finding("journal", Verdict::Ok, format!("{}, {size} KB", path.display()), None)
            }
        },
        Err(StoreError::Locked { path }) => finding(
            "journal",
            Verdict::Ok,
            format!("{} is in use; the node is running", path.display()),
            None,
        ),
        Err(error) => finding("journal", Verdict::Fail, error.to_string(), error.hint()),
    }
}

/// Whether the nearest directory that exists can be written.
fn disk(directory: &Path) -> Finding {
    let existing = directory.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("."));
    let probe = existing.join(format!(".foa-doctor-{}", std::process::id()));
    let written = fs::write(&probe, [0; 4096]).and_then(|()| fs::remove_file(&probe));
    match written {
        Ok(()) => finding("disk", Verdict::Ok, format!("{} can be written", existing.display()), None),
        Err(e) => finding(
            "disk",
            Verdict::Fail,
            format!("wanted to write in {}, but {e}", existing.display()),
            Some("another node.data_dir (FOA_DATA_DIR), or make room or permission there".to_owned()),
        ),
    }
}

fn model_files() -> Vec<Finding> {
    let options = model::Options::from_env();
    match model::list(&options) {
        Err(e) => vec![finding("model", Verdict::Fail, e.to_string(), Some("foa model list".to_owned()))],
        Ok(files) => files
            .into_iter()
            .map(|file| match file.found {
                Some((path, from)) => {
                    finding("model", Verdict::Ok, format!("{}: {} ({from})", file.what, path.display()), None)
                }
                None => finding(
                    "model",
                    Verdict::Warn,
                    format!("{}: not fetched yet", file.what),
                    Some("foa model fetch".to_owned()),
                ),
            })
            .collect(),
    }
}

async fn federation(config: &ClientConfig) -> Vec<Finding> {
    // A throw-away key: looking must not leave a key file behind.
    let Ok(identity) = Identity::generate(config.name.clone()) else {
        return vec![finding("broker", Verdict::Fail, "the system has no randomness for a key", None)];
    };
    let began = std::time::Instant::now();
    let mut client = match Client::connect_as(config.clone(), identity).await {
        Ok(client) => client,
        Err(error) => return vec![finding("broker", Verdict::Fail, error.to_string(), error.hint())],
    };
    let took = render::duration(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    let mut found = vec![finding(
        "broker",
        Verdict::Ok,
        format!("{}, {}, connected in {took}", config.broker, client.protocol()),
        None,
    )];
    let coordinators = client.coordinators().await;
    let online: Vec<&NodeStatus> = client.statuses().values().filter(|s| s.online).collect();
    found.push(match coordinators {
        Ok(ids) => {
            let names: Vec<String> = ids.iter().map(|n| n.name().to_string()).collect();
            let text = format!("{} online, coordinators: {}", online.len(), names.join(", "));
            finding("nodes", Verdict::Ok, text, None)
        }
        Err(error) => finding("nodes", Verdict::Fail, error.to_string(), error.hint()),
    });
    found.push(clocks(&online, client::now()));
    client.close().await;
    found
}

/// Compares our clock with what nodes said just now. A status from the future is certain; one that looks old may be.
fn clocks(online: &[&NodeStatus], now: Time) -> Finding {
    let ahead = online.iter().find(|s| s.at.since(now) > SKEW);
    if let Some(status) = ahead {
        let by = render::duration(u64::try_from(status.at.since(now).as_millis()).unwrap_or(u64::MAX));
        return finding(
            "clock",
            Verdict::Fail,
            format!("{} is {by} ahead of this machine", status.node.name()),
            Some("synchronise both clocks (timedatectl, chronyc tracking)".to_owned()),
        );
    }
    match online.iter().filter(|s| now.since(s.at) <= FRESH).count() {
        0 => finding("clock", Verdict::Warn, "nobody said anything just now to compare with", None),
        n => finding("clock", Verdict::Ok, format!("within {} s of {n} nodes", SKEW.as_secs()), None),
    }
}
