//! What the terminal can show, and how to write to one that may be gone.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::render::Style;

/// Whether to use colour on a stream that is a terminal or not: `NO_COLOR` (any value) forbids it, as does `TERM=dumb`.
#[must_use]
pub fn colour(terminal: bool) -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
        || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
    terminal && !forbidden
}

/// How to write to stdout.
#[must_use]
pub fn stdout_style() -> Style {
    let terminal = io::stdout().is_terminal();
    Style { colour: colour(terminal), width: width(terminal) }
}

/// How to write to stderr.
#[must_use]
pub fn stderr_style() -> Style {
    let terminal = io::stderr().is_terminal();
    Style { colour: colour(terminal), width: width(terminal) }
}

/// Columns of the terminal; 100 for a file or a pipe.
fn width(terminal: bool) -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let measured = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let width = columns.or_else(|| if terminal { measured() } else { None });
    width.unwrap_or(100).clamp(40, 240)
}

/// Writes to stdout. When the reader is gone there is nothing left to do, and that is no error.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| {
        if text.ends_with('\n') { out.flush() } else { out.write_all(b"\n").and_then(|()| out.flush()) }
    });
    if written.is_err() {
        std::process::exit(0);
    }
}

/// Writes a value to stdout as JSON, indented.
pub fn print_json(value: &impl Serialize) {
    print(&serde_json::to_string_pretty(value).expect("our values have string keys"));
}

/// Writes a value to stdout as JSON on one line, for streams.
pub fn print_json_line(value: &impl Serialize) {
    print(&serde_json::to_string(value).expect("our values have string keys"));
}

/// Writes a line to stderr. A closed stderr is not worth stopping for.
pub fn note(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// A spinner with a text on a terminal; nothing elsewhere.
pub struct Spinner(Option<indicatif::ProgressBar>);

impl Spinner {
    /// Starts one.
    #[must_use]
    pub fn start(text: &str) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = indicatif::ProgressBar::new_spinner().with_message(text.to_owned());
        if !colour(true) {
            bar.set_style(
                indicatif::ProgressStyle::with_template("{spinner} {msg}").expect("a literal template"),
            );
        }
        bar.enable_steady_tick(std::time::Duration::from_millis(120));
        Self(Some(bar))
    }

    /// Changes the text.
    pub fn say(&self, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.to_owned());
        }
    }

    /// Changes the text, and where there is no terminal writes it as a line.
    pub fn step(&self, text: &str) {
        match &self.0 {
            Some(bar) => bar.set_message(text.to_owned()),
            None => note(text),
        }
    }

    /// Writes a line above it.
    pub fn note(&self, text: &str) {
        match &self.0 {
            Some(bar) => bar.suspend(|| note(text)),
            None => note(text),
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
