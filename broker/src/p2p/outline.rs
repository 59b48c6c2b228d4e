//! An artifact's outline: the hashes of its pieces, which together prove every piece against the artifact's name.
//!
//! BLAKE3 is a tree over chunks of 1 KiB. A piece is a whole subtree of 256 of them, so the chaining values of the pieces
//! merge into the hash of the content: whoever knows the name can check the outline, and whoever has the outline can check
//! any piece by itself, in any order, from anybody.

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use foa_wire::ArtifactId;

/// Bytes of every piece but the last. A power of two of chunks, or the hashes would not merge.
pub const PIECE: usize = 256 * 1024;
/// Pieces of the largest artifact; its outline is then 2 MiB.
pub const MOST_PIECES: usize = 65_536;
/// Bytes of the largest artifact: 16 GiB.
pub const MOST_BYTES: u64 = (PIECE * MOST_PIECES) as u64;

/// The size of an artifact and the hashes of its pieces, checked against its name.
///
/// The *number* of pieces is proven by the name; the exact size only once the last piece fits.
#[derive(Clone, PartialEq, Eq)]
pub struct Outline {
    id: ArtifactId,
    bytes: u64,
    pieces: Vec<ChainingValue>,
}

/// An outline that is not that of the artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongOutline {
    /// Its parts do not belong together.
    #[error("wanted a size and one hash for each piece, found {found} bytes")]
    Malformed {
        /// The length found.
        found: usize,
    },
    /// Nobody may be asked to move so much.
    #[error("wanted an artifact of at most {MOST_BYTES} bytes, found {found}")]
    TooLarge {
        /// The size claimed.
        found: u64,
    },
    /// It proves something else.
    #[error("wanted the outline of {wanted}, found that of {found}")]
    OtherContent {
        /// The artifact asked for.
        wanted: ArtifactId,
        /// What the hashes merge into.
        found: ArtifactId,
    },
}

impl Outline {
    /// The artifact.
    #[must_use]
    pub fn id(&self) -> ArtifactId {
        self.id
    }

    /// Its size.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many pieces it has; at least one, which may be empty.
    #[must_use]
    pub fn pieces(&self) -> u32 {
        u32::try_from(self.pieces.len()).expect("an outline has at most 65 536 pieces")
    }

    /// Where a piece begins, and its length.
    #[must_use]
    pub fn place(&self, piece: u32) -> (u64, usize) {
        let start = u64::from(piece) * PIECE as u64;
        let length = self.bytes.saturating_sub(start).min(PIECE as u64);
        (start, usize::try_from(length).expect("a piece is far below 4 GiB"))
    }

    /// Whether this is the piece, whoever sent it.
    #[must_use]
    pub fn fits(&self, piece: u32, data: &[u8]) -> bool {
        let Some(wanted) = self.pieces.get(piece as usize) else { return false };
        let (start, length) = self.place(piece);
        data.len() == length && hash_piece(start, data, self.pieces.len() == 1) == *wanted
    }

    /// As it crosses the wire and lies on disk: the size as eight bytes, little-endian, then 32 bytes for each piece.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoded = self.bytes.to_le_bytes().to_vec();
        encoded.extend(self.pieces.iter().flatten());
        encoded
    }

    /// Reads what [`Outline::encode`] wrote, which anybody may have sent.
    ///
    /// # Errors
    /// When it is not the outline of this artifact.
    pub fn decode(id: ArtifactId, encoded: &[u8]) -> Result<Self, WrongOutline> {
        let malformed = WrongOutline::Malformed { found: encoded.len() };
        let Some((size, hashes)) = encoded.split_first_chunk::<8>() else { return Err(malformed) };
        let bytes = u64::from_le_bytes(*size);
        if bytes > MOST_BYTES {
            return Err(WrongOutline::TooLarge { found: bytes });
        }
        let (pieces, rest) = hashes.as_chunks::<32>();
        let wanted = usize::try_from(bytes.div_ceil(PIECE as u64).max(1)).unwrap_or(usize::MAX);
        if !rest.is_empty() || pieces.len() != wanted {
            return Err(malformed);
        }
        let found = root(pieces);
        if found != id {
            return Err(WrongOutline::OtherContent { wanted: id, found });
        }
        Ok(Self { id, bytes, pieces: pieces.to_vec() })
    }
}

impl std::fmt::Debug for Outline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outline({}, {} bytes, {} pieces)", self.id, self.bytes, self.pieces.len())
    }
}

/// Makes the outline of a content as it is read from beginning to end.
#[derive(Debug, Default)]
pub struct Outliner {
    bytes: u64,
    pieces: Vec<ChainingValue>,
    current: Hasher,
    filled: usize,
}

impl Outliner {
    /// Takes the next bytes.
    pub fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.filled == PIECE {
                self.pieces.push(self.current.finalize_non_root());
                self.current = Hasher::new();
                self.current.set_input_offset(self.pieces.len() as u64 * PIECE as u64);
                self.filled = 0;
            }
            let (now, later) = data.split_at(data.len().min(PIECE - self.filled));
            self.current.update(now);
            self.filled += now.len();
            self.bytes += now.len() as u64;
            data = later;
        }
    }

    /// The outline of all that was taken.
    ///
    /// # Errors
    /// When that is larger than an artifact may be.
    pub fn finish(mut self) -> Result<Outline, WrongOutline> {
        if self.bytes > MOST_BYTES {
            return Err(WrongOutline::TooLarge { found: self.bytes });
        }
        if self.pieces.is_empty() {
            self.pieces.push(*self.current.finalize().as_bytes());
        } else {
            self.pieces.push(self.current.finalize_non_root());
        }
        Ok(Outline { id: root(&self.pieces), bytes: self.bytes, pieces: self.pieces })
    }
}

/// The hash of one piece: the hash of the content when it is the only one, else its chaining value at its place.
fn hash_piece(start: u64, data: &[u8], only: bool) -> ChainingValue {
    let mut hasher = Hasher::new();
    if only {
        return *hasher.update(data).finalize().as_bytes();
    }
    if data.is_empty() {
        // No artifact of several pieces has an empty one.
        return [0; 32];
    }
    hasher.set_input_offset(start);
    hasher.update(data).finalize_non_root()
}

/// What the hashes of the pieces merge into.
fn root(pieces: &[ChainingValue]) -> ArtifactId {
    let hash = match pieces {
        [] => *blake3::hash(b"").as_bytes(),
        [only] => *only,
        _ => {
            let (left, right) = pieces.split_at(left_of(pieces.len()));
            *merge_subtrees_root(&merged(left), &merged(right), Mode::Hash).as_bytes()
        }
    };
    ArtifactId::from_bytes(hash)
}

fn merged(pieces: &[ChainingValue]) -> ChainingValue {
    match pieces {
        [] => unreachable!("both sides of a split have a piece"),
        [only] => *only,
        _ => {
            let (left, right) = pieces.split_at(left_of(pieces.len()));
            merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash)
        }
    }
}

/// Pieces in the left subtree: the largest power of two that leaves something to the right.
fn left_of(pieces: usize) -> usize {
    pieces.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect()
    }

    fn outline(data: &[u8]) -> Outline {
        let mut outliner = Outliner::default();
        // In odd portions, as a reader would hand them out.
        for portion in data.chunks(70_001) {
            outliner.update(portion);
        }
        outliner.finish().unwrap()
    }

    #[test]
    fn the_pieces_prove_the_ordinary_hash_of_the_content_at_every_size() {
        let sizes = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE, 5 * PIECE + 7, 8 * PIECE];
        for size in sizes {
            let data = content(size);
            let made = outline(&data);
            assert_eq!(*made.id().as_bytes(), *blake3::hash(&data).as_bytes(), "{size} bytes");
            assert_eq!(Outline::decode(made.id(), &made.encode()).unwrap(), made);
            for piece in 0..made.pieces() {
                let (start, length) = made.place(piece);
                let start = usize::try_from(start).unwrap();
                assert!(made.fits(piece, &data[start..start + length]), "piece {piece} of {size} bytes");
            }
        }
    }

    #[test]
    fn one_wrong_bit_or_the_wrong_place_is_found_in_its_piece() {
        let data = content(3 * PIECE + 10);
        let outline = outline(&data);
        let mut second = data[PIECE..2 * PIECE].to_vec();
        assert!(outline.fits(1, &second));
        assert!(!outline.fits(0, &second), "the right bytes in the wrong place");
        assert!(!outline.fits(1, &second[1..]));
        assert!(!outline.fits(3, &[]));
        assert!(!outline.fits(4, &second), "there is no such piece");
        second[PIECE / 2] ^= 1;
        assert!(!outline.fits(1, &second));
    }

    #[test]
    fn an_outline_from_a_stranger_is_checked_before_it_is_believed() {
        let made = outline(&content(3 * PIECE + 10));
        let mut swapped = made.encode();
        swapped.swap(8, 40);
        let other = |encoded: &[u8]| Outline::decode(made.id(), encoded).unwrap_err();
        assert!(matches!(other(&swapped), WrongOutline::OtherContent { .. }));
        assert!(matches!(other(&[]), WrongOutline::Malformed { .. }));
        assert!(matches!(other(&made.encode()[..50]), WrongOutline::Malformed { .. }));
        assert!(matches!(other(&[0xff; 40]), WrongOutline::TooLarge { .. }));
        let mut longer = made.encode();
        longer[..8].copy_from_slice(&(4 * PIECE as u64).to_le_bytes());
        let lied = Outline::decode(made.id(), &longer).unwrap();
        assert!(!lied.fits(3, &content(3 * PIECE + 10)[3 * PIECE..]), "the last piece shows the lie");
    }
}
