//! A document on this machine.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::import::document::MAX_BYTES;
use crate::import::{self, Error, Kind, Stated};

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard input cannot be read.
    #[error("cannot read standard input")]
    Stdin {
        /// Why.
        source: io::Error,
    },
}

/// Why an agent has no card.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no card in it.
    #[error("{}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Error,
    },
    /// There is something else in it.
    #[error("{}: wanted an A2A card, found {kind}; `foa agents import` makes a card of it", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: Kind,
    },
}

/// What the card in a file says, and what had to be done to it.
///
/// # Errors
/// When the file cannot be read, or holds no A2A card.
pub fn read_card(path: &Path) -> Result<(Stated, Vec<String>), CardError> {
    let unusable = |source| CardError::Unusable { path: path.to_owned(), source };
    let imported = import::read(&read_file(path)?, None).map_err(unusable)?;
    match imported.kind {
        Kind::A2a => Ok((Stated::of(&imported.card).map_err(unusable)?, imported.notes)),
        kind @ (Kind::Mcp | Kind::Openapi) => Err(CardError::Other { path: path.to_owned(), kind }),
    }
}

/// Reads a file, and a byte more than a document may have at most.
///
/// # Errors
/// When it cannot be read.
pub fn read_file(path: &Path) -> Result<Vec<u8>, ReadError> {
    let read = File::open(path).and_then(bounded);
    read.map_err(|source| ReadError::File { path: path.to_owned(), source })
}

/// Reads standard input, and a byte more than a document may have at most.
///
/// # Errors
/// When it cannot be read.
pub fn read_stdin() -> Result<Vec<u8>, ReadError> {
    bounded(io::stdin().lock()).map_err(|source| ReadError::Stdin { source })
}

fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
