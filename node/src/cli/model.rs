//! `foa model`: the embedding model's files.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Mutex;

use super::terminal;
use crate::exit::Failure;
use crate::model::{self, Embedder, Event, Options, Progress};

/// Fetch, list or verify the embedding model
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa model fetch\n  FOA_MODEL_DIR=/models ORT_DYLIB_PATH=/usr/lib/libonnxruntime.so foa model list"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Fetch what is missing, verified, into the cache (about 52 MB, once)
    Fetch,
    /// Show which files would be used and where they come from
    List,
    /// Read the files again and compare their hashes with those pinned
    Verify,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let options = Options::from_env();
    match args.command {
        Command::Fetch => {
            let shown = Shown::default();
            let fetched = model::fetch(&options, &shown).await;
            shown.clear();
            let files = fetched.map_err(Failure::refused)?;
            terminal::print(&format!(
                "weights  {}  ({})\nruntime  {}  ({})",
                files.weights.display(),
                files.weights_from,
                files.runtime.display(),
                files.runtime_from
            ));
        }
        Command::List => {
            let mut missing = false;
            for listed in model::list(&options).map_err(Failure::broken)? {
                match listed.found {
                    Some((path, from)) => {
                        terminal::print(&format!(
                            "{:<8} {}  ({from}, {} bytes)",
                            listed.what,
                            path.display(),
                            listed.bytes
                        ));
                    }
                    None => {
                        missing = true;
                        terminal::print(&format!("{:<8} missing", listed.what));
                    }
                }
            }
            if missing {
                terminal::note("hint: `foa model fetch` brings what is missing");
            }
        }
        Command::Verify => {
            let verified = model::verify(&options).map_err(Failure::refused)?;
            if verified.is_empty() {
                return Err(Failure::refused(anyhow::anyhow!("wanted files to verify, found none"))
                    .hint("`foa model fetch` brings them"));
            }
            for file in &verified {
                let verdict = match (file.is_good(), file.pinned) {
                    (true, Some(_)) => "ok",
                    (true, None) => "not pinned",
                    (false, _) => "WRONG",
                };
                terminal::print(&format!("{verdict:<10} {}  {}", file.sha256, file.path.display()));
            }
            if let Some(bad) = verified.iter().find(|f| !f.is_good()) {
                return Err(Failure::refused(anyhow::anyhow!(
                    "{} is not the pinned file",
                    bad.path.display()
                ))
                .hint(format!("rm {} and run `foa model fetch`", bad.path.display())));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Loads the model, fetching it first if need be, and shows how that goes.
pub(crate) async fn load(
    vectors: Option<std::sync::Arc<dyn model::VectorCache>>,
    sessions: usize,
) -> Result<Embedder, Failure> {
    load_as(&Options { sessions, ..Options::from_env() }, vectors).await
}

/// Loads the second model, if the operator named one.
pub(crate) async fn load_second(
    vectors: std::sync::Arc<dyn model::VectorCache>,
) -> Result<Option<Embedder>, Failure> {
    match Options::from_env().second() {
        Some(options) => load_as(&options, Some(vectors)).await.map(Some),
        None => Ok(None),
    }
}

async fn load_as(
    options: &Options,
    vectors: Option<std::sync::Arc<dyn model::VectorCache>>,
) -> Result<Embedder, Failure> {
    let shown = Shown::default();
    let loaded = Embedder::load(options, vectors, &shown).await;
    shown.clear();
    loaded.map_err(|e| {
        Failure::broken(e).hint(
            "`foa model list` shows what is there; `foa model fetch` tries again and says what it tried",
        )
    })
}

/// A fetch on a terminal is a bar; elsewhere its turning points are lines.
#[derive(Default)]
struct Shown(Mutex<Option<indicatif::ProgressBar>>);

impl Shown {
    fn clear(&self) {
        if let Some(bar) = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Shown {
    fn report(&self, event: Event) {
        let mut bar = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match (&event, std::io::stderr().is_terminal()) {
            (Event::Received { bytes, of }, true) => {
                let bar = bar.get_or_insert_with(|| indicatif::ProgressBar::new(*of));
                bar.set_length(*of);
                bar.set_position(*bytes);
            }
            (Event::Received { .. }, false) => {}
            (
                Event::Waiting | Event::Fetching { .. } | Event::Unavailable { .. } | Event::Ready { .. },
                _,
            ) => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
                terminal::note(&event.to_string());
            }
        }
    }
}
