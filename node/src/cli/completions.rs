//! `foa completions`: what a shell needs to complete our flags.

use clap_complete::Shell;

use super::terminal;

/// Print a completion script for your shell
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foa completions bash > ~/.local/share/bash-completion/completions/foa")]
pub(super) struct Args {
    /// bash, elvish, fish, powershell or zsh
    shell: Shell,
}

pub(super) fn run(args: &Args, mut command: clap::Command) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "foa", &mut script);
    terminal::print(&String::from_utf8_lossy(&script));
}
