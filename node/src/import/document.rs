//! A document that came from outside, as text: JSON or YAML, read only into what is wanted of it, so that the rest of a large
//! or hostile one costs no memory.

use serde::de::DeserializeOwned;

use super::{Error, Kind};

/// Most bytes of a document: the largest public OpenAPI documents have about 12 MB.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// A document of at most [`MAX_BYTES`], in UTF-8.
#[derive(Clone, Copy)]
pub(super) struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLong { found: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|e| Error::NotText { at: e.valid_up_to() })?;
        Ok(Self(text.strip_prefix('\u{feff}').unwrap_or(text)))
    }

    pub(super) fn as_str(self) -> &'a str {
        self.0
    }

    /// Reads it as JSON when it looks like that, otherwise as YAML.
    pub(super) fn parse<T: DeserializeOwned>(self, wanted: Kind) -> Result<T, Error> {
        let problem = if self.0.trim_start().starts_with(['{', '[']) {
            match serde_json::from_str(self.0) {
                Ok(read) => return Ok(read),
                Err(error) => error.to_string(),
            }
        } else {
            match serde_saphyr::from_str_with_options(self.0, limits()) {
                Ok(read) => return Ok(read),
                Err(error) => error.to_string(),
            }
        };
        // Parsers repeat what they read, which may be long.
        Err(Error::Shape { wanted, problem: problem.chars().take(300).collect() })
    }
}

/// What a YAML document may cost. A document of anchors that stand for one another over and over is refused long before it
/// is large.
fn limits() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 128,
            max_events: 4_000_000,
            max_nodes: 2_000_000,
            max_anchors: 1_000,
            max_aliases: 10_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
        },
        with_snippet: false,
    }
}
