//! `foa agents import`: a card of what was written for others.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use foa_wire::AgentName;
use serde_json::json;

use super::terminal::{self, Spinner};
use crate::exit::Failure;
use crate::import::source::{self, FetchError, ServerError};
use crate::import::{self, Error, Imported, Kind};

/// Make an agent's card of an A2A card, an OpenAPI document or an MCP server
///
/// The card goes to stdout, what was found, converted, trimmed or left out to stderr. It is not signed: an [[agent]] whose
/// configuration says card = "FILE" takes its name, description and skills from it, and its node signs it.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa agents import https://agent.example.org -o card.json      its /.well-known/agent-card.json\n  foa agents import openapi.yaml --as weather\n  curl -s https://api.example.org/openapi.json | foa agents import -\n  foa agents import --mcp https://mcp.example.org/mcp\n  foa agents import --mcp -- npx -y @modelcontextprotocol/server-everything"
)]
pub(super) struct Args {
    /// A file, - for standard input, or an address; a host without a path is asked for its A2A card
    #[arg(required_unless_present = "command")]
    source: Option<String>,
    /// What the source must be [default: recognised by what is in it]
    #[arg(long, value_name = "KIND")]
    from: Option<Kind>,
    /// The source is an MCP server: an address that speaks streamable HTTP, or the command behind --
    #[arg(long, conflicts_with = "from")]
    mcp: bool,
    /// Name on the card: 1-32 of a-z, 0-9 and -
    #[arg(long = "as", value_name = "NAME")]
    name: Option<AgentName>,
    /// Write the card to this file [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the card together with what was found, as one JSON object
    #[arg(long)]
    json: bool,
    /// The command of an MCP server that speaks over its standard input and output
    #[arg(last = true, requires = "mcp", conflicts_with = "source")]
    command: Vec<OsString>,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let Args { source, from, mcp, name, output, json, command } = args;
    let imported = match (source, command.split_first()) {
        (_, Some((program, rest))) => {
            let spinner = Spinner::start(&format!("asking {}", Path::new(program).display()));
            let server = source::ask_command(program.clone(), rest).await.map_err(failed_server);
            drop(spinner);
            server?.into_card()
        }
        (Some(address), None) if mcp => {
            let spinner = Spinner::start(&format!("asking {address}"));
            let server = source::ask_url(&address).await.map_err(failed_server);
            drop(spinner);
            server?.into_card()
        }
        (Some(source), None) => import::read(&bytes(&source).await?, from),
        (None, None) => unreachable!("one of them is required"),
    };
    let imported = imported.map_err(failed_import)?;
    let imported = match &name {
        Some(name) => imported.named(name),
        None => imported,
    };
    show(&imported, output.as_deref(), json)?;
    Ok(ExitCode::SUCCESS)
}

async fn bytes(source: &str) -> Result<Vec<u8>, Failure> {
    if source == "-" {
        return source::read_stdin().map_err(Failure::broken);
    }
    if source.contains("://") {
        let spinner = Spinner::start(&format!("fetching {source}"));
        let fetched = source::fetch(source).await.map_err(failed_fetch);
        drop(spinner);
        return fetched;
    }
    source::read_file(Path::new(source)).map_err(|error| {
        let document = [".json", ".yaml", ".yml"].iter().any(|ending| source.ends_with(ending));
        let host = source.contains('.') && !source.contains('/') && !document;
        let hint = host.then(|| format!("is it a host? https://{source} is its address"));
        Failure::broken(error).maybe_hint(hint)
    })
}

fn show(imported: &Imported, output: Option<&Path>, json: bool) -> Result<(), Failure> {
    let Imported { kind: _, found, card, notes } = imported;
    if !json {
        terminal::note(&format!("found {found}"));
        for note in notes {
            terminal::note(note);
        }
    }
    if let Some(path) = output {
        save(path, card)?;
        terminal::note(&format!(
            "card in {0}; an [[agent]] with card = \"{0}\" takes it, and its node signs it",
            path.display()
        ));
    }
    match (json, output) {
        (true, _) => terminal::print_json(&json!({ "found": found, "notes": notes, "card": card })),
        (false, None) => terminal::print_json(card),
        (false, Some(_)) => {}
    }
    Ok(())
}

/// Writes a card to a file, indented.
pub(super) fn save(path: &Path, card: &impl serde::Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(card).map_err(anyhow::Error::new)?;
    text.push('\n');
    let written = std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()));
    written.map_err(Failure::broken)
}

fn failed_import(error: Error) -> Failure {
    let hint = match &error {
        Error::Forged { .. } => Some("take its signatures out if you believe it all the same"),
        Error::Unknown { .. } => Some(
            "name the document itself; --mcp asks an MCP server, and --from says what a document must be",
        ),
        Error::TooLong { .. }
        | Error::NotText { .. }
        | Error::Shape { .. }
        | Error::Card { .. }
        | Error::Field { .. }
        | Error::TooLarge { .. } => None,
    };
    Failure::refused(error).maybe_hint(hint.map(str::to_owned))
}

fn failed_fetch(error: FetchError) -> Failure {
    match &error {
        FetchError::Address { .. } | FetchError::Credentials { .. } => Failure::broken(error),
        FetchError::Unknown { .. } | FetchError::Request { .. } => Failure::refused(error)
            .hint("proxies are not used; what another program fetched can come in by `foa agents import -`"),
        FetchError::Status { .. } => {
            Failure::refused(error).hint("name the address of the card or document itself")
        }
        FetchError::TooLarge { .. } | FetchError::TooSlow { .. } | FetchError::Redirect { .. } => {
            Failure::refused(error)
        }
    }
}

fn failed_server(error: ServerError) -> Failure {
    match error {
        ServerError::Address(error) => failed_fetch(error),
        ServerError::Start { .. } => Failure::broken(error),
        ServerError::TooSlow | ServerError::Unusable { .. } => Failure::refused(error),
    }
}
