//! The index as bytes, so that a restart need not link a hundred thousand vectors again.
//!
//! A section of what there is in numbers, then of each slot who holds it, its row and the rows it leads to, then the
//! landmarks. Tombstones are left out, and so is all that leads to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::graph::Graph;
use super::rows::Rows;
use super::{Key, Snapshot, Vectors, hash_of};
use crate::saved::{self, Section, Unreadable};

/// Another number, another layout.
const MARK: &[u8] = b"foa-index-1\n";

impl Snapshot {
    /// The vectors and what leads to them as bytes, about 600 for each vector of 384 components.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let slots = u32::try_from(self.rows.slots()).expect("slots are numbered in 32 bits");
        let is_held = |slot: &u32| !self.holders_of(*slot).is_empty();
        let mut out = Section::new(MARK);
        let crossing = u32::try_from(self.crossing).unwrap_or(u32::MAX);
        out.number(u32::try_from(self.rows.dimension()).expect("a vector is small"));
        out.number(crossing);
        out.number(slots);
        out.number(u32::from(self.graph.is_some()));
        for slot in 0..slots {
            let keys: Vec<Key> = self.holders_of(slot).iter().collect();
            out.number(u32::try_from(keys.len()).expect("fewer keys than fit in memory"));
            for key in &keys {
                out.number(key.agent);
                out.number(key.part);
            }
            if keys.is_empty() {
                continue;
            }
            out.raw(self.rows.row(slot).0.iter().map(|value| value.cast_unsigned()));
            if let Some(graph) = &self.graph {
                out.number(u32::from(self.fresh.contains(&slot)));
                out.numbers(graph.links(slot).iter().copied().filter(is_held));
            }
        }
        if let Some(graph) = &self.graph {
            out.numbers(graph.landmarks().iter().copied().filter(is_held));
        }
        out.finish()
    }
}

impl Vectors {
    /// The index that was saved. What it holds is found at once; its next upkeep checks every row.
    ///
    /// # Errors
    /// When the bytes are not what [`Snapshot::save`] made.
    pub fn load(bytes: &[u8]) -> Result<Self, Unreadable> {
        let (mut rest, _) = saved::open(MARK, bytes)?;
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
            let row: Vec<i8> = rest.raw(dimension)?.iter().map(|value| value.cast_signed()).collect();
            index.now.rows.put(slot, &row);
            index.contents.insert((hash_of(&row), slot));
            index.now.held += 1;
            if has_graph {
                if rest.number()? == 1 {
                    fresh.insert(slot);
                }
                links.push((slot, rest.numbers()?));
            }
        }
        let landmarks = if has_graph { rest.numbers()? } else { Vec::new() };
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
