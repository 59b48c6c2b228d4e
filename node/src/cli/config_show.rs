//! `foa config show`: what is in force, and who said so.

use std::process::ExitCode;

use super::{Place, failed_config, terminal};
use crate::config::defaults::{PASSWORD_ENV, SETTINGS};
use crate::config::{Layers, default_file};
use crate::exit::Failure;

/// Show the configuration
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa config show --origin\n  foa --config deploy/config/cygnus.toml config show"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show every setting that is in force; secrets are never shown
    Show {
        /// Say where each value came from: default, file and line, environment variable, or flag
        #[arg(long)]
        origin: bool,
    },
}

pub(super) fn run(args: &Args, place: &Place) -> Result<ExitCode, Failure> {
    let Command::Show { origin } = args.command;
    let layers = place.layers(Vec::new())?;
    // What cannot be is said here too, before anyone starts a node with it.
    layers.node().map_err(failed_config)?;
    layers.client().map_err(failed_config)?;
    terminal::print(&shown(&layers, origin));
    Ok(ExitCode::SUCCESS)
}

fn shown(layers: &Layers, with_origin: bool) -> String {
    let mut out = match (&layers.file, default_file()) {
        (Some(file), _) => format!("# from {}\n", file.display()),
        (None, Some(file)) => format!("# no file; looked for {}\n", file.display()),
        (None, None) => "# no file\n".to_owned(),
    };
    let mut section = "";
    for setting in SETTINGS {
        let (table, key) = setting.path.split_once('.').expect("paths have two parts");
        if table != section {
            out.push_str(&format!("\n[{table}]\n"));
            section = table;
        }
        let line = match layers.get(setting.path) {
            Some((value, origin)) if with_origin => format!("{:<40} # {origin}", format!("{key} = {value}")),
            Some((value, _)) => format!("{key} = {value}"),
            None => format!("# {key}: not set; {}", setting.about),
        };
        out.push_str(line.trim_end());
        out.push('\n');
    }
    if std::env::var_os(PASSWORD_ENV).is_some() {
        out.push_str(&format!("# the broker's password comes from {PASSWORD_ENV}\n"));
    }
    for agent in &layers.agents {
        let origin = if with_origin { format!(" # {}", agent.place) } else { String::new() };
        out.push_str(&format!(
            "\n[[agent]]{origin}\n{}",
            toml::to_string(&public(&agent.table)).unwrap_or_default()
        ));
    }
    out
}

/// Without the values of keys that look like secrets. A name of a variable or a file is none.
fn public(table: &toml::Table) -> toml::Table {
    let secret = |key: &str| {
        let named = ["password", "secret", "token", "api_key"].iter().any(|word| key.contains(word));
        named && !["_env", "_file", "tokens"].iter().any(|end| key.ends_with(end))
    };
    let shown = |(key, value): (&String, &toml::Value)| {
        let value = if secret(key) { toml::Value::String("(not shown)".to_owned()) } else { value.clone() };
        (key.clone(), value)
    };
    table.iter().map(shown).collect()
}
