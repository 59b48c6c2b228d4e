//! How one record lies on the disk, so that a torn or flipped one is told from a whole one.
//!
//! ```text
//! length u32 | crc32 u32 | schema u8 | stream length u8 | stream | body
//! ```
//!
//! Numbers are little-endian. `length` counts everything after the checksum, and the checksum (CRC-32, IEEE) covers the
//! same bytes.

use super::Stream;

/// The schema this version writes and reads.
pub const SCHEMA: u8 = 1;
/// Longest body of a record: an envelope of 256 KiB fits eight times, because a journal record may hold several.
pub const MAX_BODY: usize = 2 * 1024 * 1024;

const HEAD: usize = 8;

/// A record as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Framed<'a> {
    /// What it belongs to.
    pub stream: Stream,
    /// What it says.
    pub body: &'a [u8],
}

/// Why bytes are no whole record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Shorter or longer than it says.
    #[error("wanted {wanted} bytes, found {found}")]
    Length {
        /// The length it claims.
        wanted: usize,
        /// The length it has.
        found: usize,
    },
    /// Some bit is not what was written.
    #[error("wanted checksum {wanted:08x}, found {found:08x}")]
    Checksum {
        /// The checksum that was written.
        wanted: u32,
        /// The checksum of what was read.
        found: u32,
    },
    /// Written by a version that is newer than this one.
    #[error("wanted schema {SCHEMA}, found {found}")]
    Schema {
        /// The schema found.
        found: u8,
    },
    /// It is whole, and names no stream.
    #[error("wanted the name of a stream")]
    Stream,
}

/// The bytes of a record. The caller has checked the body's length.
#[must_use]
pub fn write(stream: &Stream, body: &[u8]) -> Vec<u8> {
    let name = stream.to_string();
    let name_length = u8::try_from(name.len()).expect("a job id has at most 64 characters");
    let length = 2 + name.len() + body.len();
    let mut bytes = Vec::with_capacity(HEAD + length);
    bytes.extend_from_slice(&u32::try_from(length).expect("bodies are at most 2 MiB").to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[SCHEMA, name_length]);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(body);
    let checksum = crc32fast::hash(&bytes[HEAD..]);
    bytes[4..HEAD].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The record in these bytes.
///
/// # Errors
/// When they are not exactly one whole record of our schema.
pub fn read(bytes: &[u8]) -> Result<Framed<'_>, Broken> {
    let number = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let (Some(length), Some(wanted)) = (number(0), number(4)) else {
        return Err(Broken::Length { wanted: HEAD, found: bytes.len() });
    };
    let covered = &bytes[HEAD..];
    if covered.len() != length as usize || length < 2 {
        return Err(Broken::Length { wanted: HEAD + length as usize, found: bytes.len() });
    }
    let found = crc32fast::hash(covered);
    if found != wanted {
        return Err(Broken::Checksum { wanted, found });
    }
    if covered[0] != SCHEMA {
        return Err(Broken::Schema { found: covered[0] });
    }
    let (name, body) = covered[2..].split_at_checked(usize::from(covered[1])).ok_or(Broken::Stream)?;
    let name = std::str::from_utf8(name).map_err(|_| Broken::Stream)?;
    Ok(Framed { stream: name.parse().map_err(|_| Broken::Stream)?, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for body in [&b""[..], b"x", &[0; 1000]] {
            let bytes = write(&Stream::Node, body);
            assert_eq!(read(&bytes), Ok(Framed { stream: Stream::Node, body }));
        }
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_found_out() {
        let whole = write(&Stream::Job("abcdefgh".parse().unwrap()), b"something said");
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_schema_is_named() {
        let mut bytes = write(&Stream::Node, b"");
        bytes[HEAD] = 9;
        let checksum = crc32fast::hash(&bytes[HEAD..]);
        bytes[4..HEAD].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(read(&bytes), Err(Broken::Schema { found: 9 }));
    }
}
