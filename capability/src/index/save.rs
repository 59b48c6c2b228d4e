//! The index as bytes, so that a restart need not link a hundred thousand vectors again.
//!
//! Little endian: a mark with the version, what there is in numbers, then of each slot who holds it, its row and the rows it
//! leads to, then the landmarks, and SHA-256 of all before. Tombstones are left out, and so is all that leads to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::graph::Graph;
use super::rows::Rows;
use super::{Key, Snapshot, Vectors, hash_of};

/// What the bytes begin with; another number, another layout.
const MARK: &[u8] = b"foa-index-1\n";
/// Bytes of the checksum at the end.
const CHECKSUM: usize = 32;

/// Bytes that are no saved index. The way out is to build it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// They begin otherwise: something else, or another version.
    #[error("wanted an index saved by this version, found other bytes")]
    Mark,
    /// They end early or were changed.
    #[error("wanted a whole index, found one whose checksum does not hold")]
    Checksum,
    /// What they say cannot be.
    #[error("wanted a sound index, found {0}")]
    Unsound(&'static str),
}

impl Snapshot {
    /// The vectors and what leads to them as bytes, about 600 for each vector of 384 components.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let slots = u32::try_from(self.rows.slots()).expect("slots are numbered in 32 bits");
        let is_held = |slot: &u32| !self.holders_of(*slot).is_empty();
        let mut out = MARK.to_vec();
        let crossing = u32::try_from(self.crossing).unwrap_or(u32::MAX);
        put(&mut out, u32::try_from(self.rows.dimension()).expect("a vector is small"));
        put(&mut out, crossing);
        put(&mut out, slots);
        put(&mut out, u32::from(self.graph.is_some()));
        for slot in 0..slots {
            let keys: Vec<Key> = self.holders_of(slot).iter().collect();
            put(&mut out, u32::try_from(keys.len()).expect("fewer keys than fit in memory"));
            for key in &keys {
                put(&mut out, key.agent);
                put(&mut out, key.part);
            }
            if keys.is_empty() {
                continue;
            }
            out.extend(self.rows.row(slot).0.iter().map(|value| value.cast_unsigned()));
            if let Some(graph) = &self.graph {
                put(&mut out, u32::from(self.fresh.contains(&slot)));
                list(&mut out, graph.links(slot).iter().copied().filter(is_held));
            }
        }
        if let Some(graph) = &self.graph {
            list(&mut out, graph.landmarks().iter().copied().filter(is_held));
        }
        let checksum = Sha256::digest(&out);
        out.extend_from_slice(&checksum);
        out
    }
}

impl Vectors {
    /// The index that was saved. What it holds is found at once; its next upkeep checks every row.
    ///
    /// # Errors
    /// When the bytes are not what [`Snapshot::save`] made.
    pub fn load(bytes: &[u8]) -> Result<Self, Unreadable> {
        if !bytes.starts_with(MARK) {
            return Err(Unreadable::Mark);
        }
        let end = bytes.len().checked_sub(CHECKSUM).filter(|end| *end >= MARK.len());
        let (body, checksum) = bytes.split_at(end.ok_or(Unreadable::Checksum)?);
        if *Sha256::digest(body) != *checksum {
            return Err(Unreadable::Checksum);
        }
        let mut rest = Bytes(&body[MARK.len()..]);
        let dimension = rest.number()? as usize;
        let mut index = Self::with_crossing(rest.number()? as usize);
        let (slots, has_graph) = (rest.number()?, rest.number()? == 1);
        index.now.rows = Rows::new(dimension);
        let (mut links, mut fresh) = (Vec::new(), BTreeSet::new());
        for slot in 0..slots {
            let holders = rest.number()?;
            index.now.rows.reserve(slot);
            index.now.holders.grow(slot as usize + 1);
            for _ in 0..holders {
                let key = Key { agent: rest.number()?, part: rest.number()? };
                if index.places.insert(key, slot).is_some() {
                    return Err(Unreadable::Unsound("a key in two places"));
                }
                index.now.holders.get_mut(slot)[0].add(key);
                index.now.keys += 1;
            }
            if holders == 0 {
                index.free.push(slot);
                continue;
            }
            let row: Vec<i8> = rest.take(dimension)?.iter().map(|value| value.cast_signed()).collect();
            index.now.rows.put(slot, &row);
            index.contents.insert((hash_of(&row), slot));
            index.now.held += 1;
            if has_graph {
                if rest.number()? == 1 {
                    fresh.insert(slot);
                }
                links.push((slot, rest.list()?));
            }
        }
        let landmarks = if has_graph { rest.list()? } else { Vec::new() };
        let leads = links.iter().flat_map(|(_, links)| links).chain(&landmarks);
        if !leads.clone().all(|slot| index.now.rows.is_row(*slot)) {
            return Err(Unreadable::Unsound("a link to nowhere"));
        }
        if has_graph {
            let linked = index.now.held - fresh.len();
            let graph = Graph::restore(&index.now.rows, &links, &landmarks, linked);
            index.now.graph = Some(graph.ok_or(Unreadable::Unsound("a row with too many links"))?);
            index.now.fresh = Arc::new(fresh);
            index.unchecked = slots as usize;
        }
        Ok(index)
    }
}

fn put(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn list(out: &mut Vec<u8>, numbers: impl Iterator<Item = u32>) {
    let at = out.len();
    put(out, 0);
    let mut count = 0_u32;
    for number in numbers {
        put(out, number);
        count += 1;
    }
    out[at..at + 4].copy_from_slice(&count.to_le_bytes());
}

/// What is still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Unreadable::Unsound("too few bytes"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, Unreadable> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four were taken")))
    }

    fn list(&mut self) -> Result<Vec<u32>, Unreadable> {
        let count = self.number()? as usize;
        let bytes = self.take(count.saturating_mul(4))?;
        let (numbers, _) = bytes.as_chunks::<4>();
        Ok(numbers.iter().map(|number| u32::from_le_bytes(*number)).collect())
    }
}
