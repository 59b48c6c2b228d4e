//! Cards of other ecosystems: an A2A card, the tools of an MCP server, or an OpenAPI document becomes an A2A 1.0 card
//! that an agent of ours can have.
//!
//! | from | name and description | each skill is | its work changes something |
//! |---|---|---|---|
//! | [`a2a`], 1.0 or 0.3 | as they stand | as it stands | when our extension says so |
//! | [`mcp`], `initialize` and `tools/list` | of the server | a tool | unless every tool says it only reads |
//! | [`openapi`], 3.x or Swagger 2.0 | of `info` | an operation | unless every operation is GET or HEAD |
//!
//! All of this is pure: bytes in, a card and what is worth knowing about it out. [`source`] brings the bytes. The card is
//! not signed: the node that advertises it does that, and [`Stated`] is what it takes from it.

use std::fmt;

use foa_wire::AgentName;
use foa_wire::codec::Malformed;
use foa_wire::jws;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

pub mod a2a;
mod document;
mod fit;
pub mod mcp;
pub mod openapi;
mod security;
pub mod source;
mod stated;
mod v03;

pub use self::stated::Stated;

use self::document::Text;

/// What a card is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// An A2A agent card.
    A2a,
    /// What an MCP server says of itself and its tools.
    Mcp,
    /// An OpenAPI document.
    Openapi,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A2a => "an A2A card",
            Self::Mcp => "the tools of an MCP server",
            Self::Openapi => "an OpenAPI document",
        })
    }
}

/// A card, and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// What it was made of.
    pub kind: Kind,
    /// What was found, for people.
    pub found: String,
    /// The A2A 1.0 card.
    pub card: Value,
    /// What was converted, trimmed or left out, for people.
    pub notes: Vec<String>,
}

impl Imported {
    /// The same under another name.
    #[must_use]
    pub fn named(mut self, name: &AgentName) -> Self {
        let before = self.card.clone();
        if let Some(members) = self.card.as_object_mut() {
            members.insert("name".to_owned(), name.as_str().into());
        }
        a2a::settle(&mut self.card, &before, &mut self.notes);
        self
    }
}

/// What no card can be made of.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Longer than a document may be.
    #[error("wanted at most {} bytes, found {found}", document::MAX_BYTES)]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// Not UTF-8.
    #[error("wanted text in UTF-8, found another byte at {at}")]
    NotText {
        /// The offset of the first byte that is not.
        at: usize,
    },
    /// Nothing we know.
    #[error(
        "wanted an A2A card, an OpenAPI document or the tools of an MCP server as JSON or YAML, found {found}"
    )]
    Unknown {
        /// What it looks like.
        found: String,
    },
    /// Not of the wanted shape.
    #[error("wanted {wanted}, but {problem}")]
    Shape {
        /// What it should be.
        wanted: Kind,
        /// What the parser said.
        problem: String,
    },
    /// A card that two parsers could read differently, or that is too large or too deep for a message.
    #[error("wanted an A2A card")]
    Card {
        /// What is wrong with it.
        #[from]
        source: Malformed,
    },
    /// A field that is not what belongs there.
    #[error("wanted {wanted} as {field} of the card, found {found}")]
    Field {
        /// Where it stands.
        field: String,
        /// What belongs there.
        wanted: &'static str,
        /// What stands there.
        found: String,
    },
    /// A signature that we can check, and that does not hold.
    #[error("wanted a card whose signature holds")]
    Forged {
        /// What is wrong with it.
        source: Box<jws::Error>,
    },
    /// More than a card can carry, even without its skills.
    #[error("wanted a card of at most {limit} bytes, found {found} without its skills")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// Its size.
        found: usize,
    },
}

/// The few keys by which a document shows what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keys {
    openapi: Option<IgnoredAny>,
    swagger: Option<IgnoredAny>,
    tools: Option<IgnoredAny>,
    name: Option<IgnoredAny>,
    description: Option<IgnoredAny>,
}

/// Makes a card of a document; `kind` is what it must be, if anyone said so.
///
/// # Errors
/// When it is nothing we know, or not what it should be.
pub fn read(bytes: &[u8], kind: Option<Kind>) -> Result<Imported, Error> {
    let text = Text::new(bytes)?;
    match kind.map_or_else(|| recognise(text), Ok)? {
        Kind::A2a => a2a::read(text.as_str().as_bytes()),
        Kind::Mcp => text.parse(Kind::Mcp).and_then(mcp::Server::into_card),
        Kind::Openapi => text.parse(Kind::Openapi).and_then(openapi::Document::into_card),
    }
}

fn recognise(text: Text<'_>) -> Result<Kind, Error> {
    let unknown = |found: &str| Error::Unknown { found: found.to_owned() };
    match text.as_str().trim_start().chars().next() {
        None => return Err(unknown("nothing")),
        Some('<') => return Err(unknown("HTML or XML")),
        Some('[') => return Err(unknown("a list")),
        Some(_) => {}
    }
    let keys: Keys = text.parse(Kind::A2a).map_err(|error| match error {
        Error::Shape { problem, .. } => unknown(&format!("what cannot be read: {problem}")),
        other => other,
    })?;
    match keys {
        Keys { openapi: Some(_), .. } | Keys { swagger: Some(_), .. } => Ok(Kind::Openapi),
        Keys { tools: Some(_), .. } => Ok(Kind::Mcp),
        Keys { name: Some(_), description: Some(_), .. } => Ok(Kind::A2a),
        _ => Err(unknown("none of the keys openapi, swagger, tools, name and description")),
    }
}

/// The beginning of a text that came from outside, as a message shows it.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(60).collect::<String>())
}

/// What a JSON value is, as a message shows it.
fn described(value: Option<&Value>) -> String {
    match value {
        None => "none".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Bool(yes)) => yes.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => shown(text),
        Some(Value::Array(_)) => "a list".to_owned(),
        Some(Value::Object(_)) => "an object".to_owned(),
    }
}

/// `1 skill`, `2 skills`.
fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Cuts a text to so many characters, at a space if there is one near; says whether it was longer.
fn clip(text: &mut String, chars: usize) -> bool {
    let Some((end, _)) = text.char_indices().nth(chars) else { return false };
    let kept = &text[..end];
    let at_space = kept.rfind(char::is_whitespace).filter(|at| *at > end / 2);
    text.truncate(at_space.unwrap_or(end));
    text.push('…');
    true
}

#[cfg(test)]
mod tests;
