//! How one record lies on the disk, so that a torn or flipped one is told from a whole one.
//!
//! ```text
//! length u32 | crc32 u32 | schema u8 | flags u8 | number u64 | stream length u8 | stream | body
//! ```
//!
//! Numbers are little-endian. `length` counts everything after the checksum, and the checksum (CRC-32, IEEE) covers the
//! same bytes. Of the flags, 1 marks the last frame of a batch and 2 a frame that forgets its stream. Schema 1, which is
//! still read, had neither flags nor number.

use super::Stream;

/// The schema this version writes. It reads this one and the one before.
pub const SCHEMA: u8 = 2;
/// Longest body of a record: an envelope of 256 KiB fits eight times, because a journal record may hold several.
pub const MAX_BODY: usize = 2 * 1024 * 1024;
/// Longest frame there can be.
pub const MAX_FRAME: usize = HEAD + REST + u8::MAX as usize + MAX_BODY;

const HEAD: usize = 8;
/// Schema, flags, number and the length of the stream's name.
const REST: usize = 11;
/// Schema and the length of the stream's name.
const REST_OF_1: usize = 2;
const CLOSES: u8 = 1;
const FORGETS: u8 = 2;

/// One frame, as it is written and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The record's number; 0 in schema 1, where it stood elsewhere.
    pub number: u64,
    /// What it belongs to.
    pub stream: Stream,
    /// What it is.
    pub kind: Kind,
    /// Whether the batch it was appended with ends here. A batch counts as a whole or not at all.
    pub closes: bool,
    /// What it says.
    pub body: &'a [u8],
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A record.
    Record,
    /// All records of this stream with this number or a lower one are forgotten.
    Forget,
}

/// Why bytes are no whole frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Shorter than it says, or of a length no frame has.
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

/// The length of the frame of a body of so many bytes.
#[must_use]
pub fn length(stream: &Stream, body: usize) -> usize {
    HEAD + REST + stream.to_string().len() + body
}

/// Adds the bytes of a frame. The caller has checked the body's length.
pub fn write(frame: &Frame<'_>, bytes: &mut Vec<u8>) {
    let name = frame.stream.to_string();
    let name_length = u8::try_from(name.len()).expect("a job id has at most 64 characters");
    let length = u32::try_from(REST + name.len() + frame.body.len()).expect("bodies are at most 2 MiB");
    let forgets = match frame.kind {
        Kind::Record => 0,
        Kind::Forget => FORGETS,
    };
    let start = bytes.len();
    bytes.reserve(HEAD + length as usize);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[SCHEMA, forgets | if frame.closes { CLOSES } else { 0 }]);
    bytes.extend_from_slice(&frame.number.to_le_bytes());
    bytes.push(name_length);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(frame.body);
    let checksum = crc32fast::hash(&bytes[start + HEAD..]);
    bytes[start + 4..start + HEAD].copy_from_slice(&checksum.to_le_bytes());
}

/// The frame these bytes begin with, and how many of them it takes.
///
/// # Errors
/// When they do not begin with one whole frame of a schema we know.
pub fn read(bytes: &[u8]) -> Result<(Frame<'_>, usize), Broken> {
    let number = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let (Some(length), Some(wanted)) = (number(0), number(4)) else {
        return Err(Broken::Length { wanted: HEAD, found: bytes.len() });
    };
    let end = HEAD + length as usize;
    let Some(covered) = bytes.get(HEAD..end).filter(|c| c.len() >= REST_OF_1 && end <= MAX_FRAME) else {
        return Err(Broken::Length { wanted: end, found: bytes.len() });
    };
    let found = crc32fast::hash(covered);
    if found != wanted {
        return Err(Broken::Checksum { wanted, found });
    }
    let (flags, number, name_at) = match covered[0] {
        1 => (CLOSES, 0, 1),
        SCHEMA if covered.len() >= REST => {
            let number = covered[2..10].try_into().map(u64::from_le_bytes).map_err(|_| Broken::Stream)?;
            (covered[1], number, 10)
        }
        SCHEMA => return Err(Broken::Stream),
        found => return Err(Broken::Schema { found }),
    };
    let (name, body) =
        covered[name_at + 1..].split_at_checked(usize::from(covered[name_at])).ok_or(Broken::Stream)?;
    let name = std::str::from_utf8(name).map_err(|_| Broken::Stream)?;
    let frame = Frame {
        number,
        stream: name.parse().map_err(|_| Broken::Stream)?,
        kind: if flags & FORGETS == 0 { Kind::Record } else { Kind::Forget },
        closes: flags & CLOSES != 0,
        body,
    };
    Ok((frame, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(stream: Stream, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&Frame { number: 7, stream, kind: Kind::Record, closes: true, body }, &mut bytes);
        bytes
    }

    #[test]
    fn reads_what_it_writes() {
        for body in [&b""[..], b"x", &[0; 1000]] {
            for (kind, closes) in [(Kind::Record, true), (Kind::Forget, false)] {
                let frame = Frame { number: u64::MAX, stream: Stream::Node, kind, closes, body };
                let mut bytes = vec![9, 9];
                write(&frame, &mut bytes);
                bytes.extend_from_slice(b"what follows");
                let long = length(&frame.stream, body.len());
                assert_eq!(read(&bytes[2..]), Ok((frame, long)));
            }
        }
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_found_out() {
        let whole = written(Stream::Job("abcdefgh".parse().unwrap()), b"something said");
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
    fn zeros_are_no_frame() {
        assert!(matches!(read(&[0; 64]), Err(Broken::Length { .. })));
    }

    #[test]
    fn the_schema_before_is_read_and_a_newer_one_is_named() {
        let frame = |covered: &[u8]| {
            let length = u32::try_from(covered.len()).unwrap();
            let mut bytes = [length.to_le_bytes(), crc32fast::hash(covered).to_le_bytes()].concat();
            bytes.extend_from_slice(covered);
            bytes
        };
        let old = frame(b"\x01\x04nodesaid");
        let (read_back, long) = read(&old).unwrap();
        assert_eq!((read_back.stream, read_back.body, long), (Stream::Node, &b"said"[..], old.len()));
        assert_eq!(read(&frame(b"\x09 something")), Err(Broken::Schema { found: 9 }));
    }
}
