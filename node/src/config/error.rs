//! What is wrong with a configuration: where, which key, what was wanted, what was found, and the nearest valid one.

use std::fmt;
use std::path::PathBuf;

use super::layers::Origin;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named cannot be read.
    #[error("cannot read the configuration {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{place}: wanted TOML, but {detail}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser said.
        detail: String,
    },
    /// A key that means nothing.
    #[error("{place}: unknown {} {key:?}{}", kind_of(.within), of(.within))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// The table it stands in; `None` for the tables themselves.
        within: Option<String>,
        /// The keys that mean something there.
        known: Vec<String>,
    },
    /// A value of another kind.
    #[error("{place}: {path}: wanted {wanted}, found {found}")]
    WrongKind {
        /// Where.
        place: Place,
        /// Of which key.
        path: String,
        /// What was wanted.
        wanted: &'static str,
        /// What was found.
        found: String,
    },
    /// A value of the right kind that cannot be.
    #[error("{origin}: {path}: {detail}")]
    Invalid {
        /// Where it came from.
        origin: Origin,
        /// The key.
        path: &'static str,
        /// What was wanted and what was found.
        detail: String,
    },
    /// An agent that cannot be read.
    #[error("{place}: agent: {detail}")]
    Agent {
        /// Where.
        place: Place,
        /// What was wanted and what was found.
        detail: String,
    },
    /// A secret stands where others may read it, or cannot be read at all.
    #[error("{origin}: {path}: {detail}")]
    Secret {
        /// Where it was named.
        origin: Origin,
        /// The key.
        path: &'static str,
        /// What was wanted and what was found.
        detail: String,
        /// What helps.
        hint: String,
    },
    /// The machine has no place for our files.
    #[error("wanted a home directory to put {what} into, found none")]
    NoHome {
        /// What should go there.
        what: &'static str,
        /// The setting that helps.
        set: &'static str,
    },
}

fn kind_of(within: &Option<String>) -> &'static str {
    if within.is_some() { "key" } else { "table" }
}

fn of(within: &Option<String>) -> String {
    within.as_ref().map_or_else(String::new, |table| format!(" in {table}"))
}

impl ConfigError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { key, known, .. } => Some(suggestion(key, known)),
            Self::Secret { hint, .. } => Some(hint.clone()),
            Self::NoHome { set, .. } => Some(format!("set {set}")),
            Self::Unreadable { .. }
            | Self::Syntax { .. }
            | Self::WrongKind { .. }
            | Self::Invalid { .. }
            | Self::Agent { .. } => None,
        }
    }
}

/// The known name nearest to `found`, or all of them when none is near.
#[must_use]
pub fn suggestion(found: &str, known: &[String]) -> String {
    match nearest(found, known, 0.75) {
        Some(name) => format!("did you mean {name:?}?"),
        None => format!("known are {}", known.join(", ")),
    }
}

/// The known name nearest to `found`, when it is at least this near, 0 to 1.
pub(super) fn nearest<'a>(found: &str, known: &'a [String], at_least: f64) -> Option<&'a str> {
    let score = |name: &String| strsim::jaro_winkler(&found.to_lowercase(), &name.to_lowercase());
    let best = known.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
    best.filter(|name| score(name) >= at_least).map(String::as_str)
}
