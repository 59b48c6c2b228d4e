//! A graph in which every row is linked to its neighbours, walked from row to nearer row.
//!
//! It is the bottom layer of a hierarchical navigable small world (Malkov and Yashunin, arXiv 1603.09320) with its rule
//! for choosing links. In place of the layers above, a walk starts at the nearest of about √n landmarks, which lie one
//! beside the other and are scanned: in spaces of many dimensions the hierarchy adds nothing (Munyampirwa et al., arXiv
//! 2412.01940), and every cluster of some size has a landmark in it. Rows come and go one at a time; nothing here is random.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::chunked::Chunked;
use super::kernel;
use super::rows::Rows;

/// Links that are kept when a list is full: those that lead somewhere no other does come first.
const LINKS: usize = 32;
/// Room in a list; with some to spare, a list is sorted out once in many additions.
const ROOM: usize = 48;
/// Rows kept in sight while a row is linked.
const SIGHT: usize = 128;
/// Landmarks a walk starts from.
const STARTS: usize = 4;

/// A row and how near it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Near {
    pub(super) similarity: f32,
    pub(super) slot: u32,
}

impl Ord for Near {
    /// The nearer is the greater; of equals the lower slot.
    fn cmp(&self, other: &Self) -> Ordering {
        self.similarity.total_cmp(&other.similarity).then_with(|| other.slot.cmp(&self.slot))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Near {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Near {}

/// A set of slots.
#[derive(Clone, Debug)]
pub(super) struct Seen(Vec<u64>);

impl Seen {
    /// The empty set of slots below `slots`.
    pub(super) fn new(slots: usize) -> Self {
        Self(vec![0; slots.div_ceil(64)])
    }

    /// Puts a slot in; `false` when it was in.
    #[inline(always)]
    pub(super) fn add(&mut self, slot: u32) -> bool {
        let (word, bit) = (&mut self.0[slot as usize / 64], 1 << (slot % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

/// The nearest so far, nearest first, never more than wanted.
#[derive(Debug)]
pub(super) struct Best {
    wanted: usize,
    near: Vec<Near>,
}

impl Best {
    pub(super) fn new(wanted: usize) -> Self {
        Self { wanted, near: Vec::with_capacity(wanted + 1) }
    }

    /// Whether there is place for one so near.
    pub(super) fn takes(&self, near: Near) -> bool {
        self.near.len() < self.wanted || self.near.last().is_some_and(|worst| near > *worst)
    }

    pub(super) fn put(&mut self, near: Near) {
        let at = self.near.partition_point(|other| *other > near);
        self.near.insert(at, near);
        self.near.truncate(self.wanted);
    }

    /// The last of as many as are wanted; `None` while there are fewer.
    pub(super) fn worst(&self) -> Option<Near> {
        self.near.last().copied().filter(|_| self.near.len() == self.wanted)
    }
}

/// Where walks start.
#[derive(Clone, Debug, Default)]
struct Landmarks {
    slots: Vec<u32>,
    /// Their rows, one beside the other.
    values: Vec<i8>,
    inverses: Vec<f32>,
}

/// How far a walk may go, and what for.
pub(super) struct Walk<'a> {
    /// Rows kept in sight: the more, the surer.
    pub(super) sight: usize,
    /// Rows that may be compared before it is given up.
    pub(super) budget: usize,
    /// Whether a row is looked for; others only lead the way.
    pub(super) wanted: &'a dyn Fn(u32) -> bool,
}

/// Which rows lead to which.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    /// A slot's list: how many, then their slots.
    links: Chunked<u32>,
    landmarks: Arc<Landmarks>,
    linked: usize,
}

impl Graph {
    /// Without a row.
    pub(super) fn new() -> Self {
        Self { links: Chunked::new(1 + ROOM), landmarks: Arc::default(), linked: 0 }
    }

    /// The rows this one leads to.
    #[inline(always)]
    pub(super) fn links(&self, slot: u32) -> &[u32] {
        let list = self.links.get(slot);
        &list[1..=list[0] as usize]
    }

    /// Where walks start.
    pub(super) fn landmarks(&self) -> &[u32] {
        &self.landmarks.slots
    }

    /// The graph of these lists, over `linked` rows that are all there; `None` when one is too long.
    pub(super) fn restore(
        rows: &Rows,
        lists: &[(u32, Vec<u32>)],
        landmarks: &[u32],
        linked: usize,
    ) -> Option<Self> {
        let mut graph = Self { linked, ..Self::new() };
        graph.links.grow(rows.slots());
        for (slot, links) in lists {
            if links.len() > ROOM {
                return None;
            }
            graph.set(*slot, links);
        }
        let own = Arc::make_mut(&mut graph.landmarks);
        for slot in landmarks {
            own.add(rows, *slot);
        }
        Some(graph)
    }

    /// The nearest rows found, nearest first, by bytes; `None` when that takes more than it may. Rows in `seen` are
    /// passed over, and those met are added.
    pub(super) fn walk(
        &self,
        rows: &Rows,
        query: &[i8],
        walk: &Walk<'_>,
        seen: &mut Seen,
    ) -> Option<Vec<Near>> {
        let mut ahead: BinaryHeap<Near> = BinaryHeap::with_capacity(walk.sight * 4);
        let mut best = Best::new(walk.sight);
        let (mut slots, mut similarities) = (Vec::with_capacity(ROOM), Vec::with_capacity(ROOM));
        slots.extend(self.landmarks.nearest(query).into_iter().filter(|slot| seen.add(*slot)));
        let mut compared = self.landmarks.slots.len();
        loop {
            compared += slots.len();
            if compared > walk.budget {
                return None;
            }
            kernel::near(query, rows, &slots, &mut similarities);
            for (slot, similarity) in slots.drain(..).zip(&similarities) {
                let near = Near { similarity: *similarity, slot };
                if best.takes(near) && rows.is_row(slot) {
                    ahead.push(near);
                    if (walk.wanted)(slot) {
                        best.put(near);
                    }
                }
            }
            loop {
                let Some(next) = ahead.pop().filter(|next| {
                    best.near.len() < walk.sight || best.near.last().is_none_or(|worst| next >= worst)
                }) else {
                    return Some(best.near);
                };
                slots.extend(self.links(next.slot).iter().copied().filter(|slot| seen.add(*slot)));
                if !slots.is_empty() {
                    break;
                }
            }
        }
    }

    /// Links a row that is not linked yet; `lives` says which rows are there to stay.
    pub(super) fn link(&mut self, rows: &Rows, slot: u32, lives: &dyn Fn(u32) -> bool) {
        self.links.grow(rows.slots());
        let mut seen = Seen::new(rows.slots());
        seen.add(slot);
        let (row, _) = rows.row(slot);
        let walk = Walk { sight: SIGHT, budget: usize::MAX, wanted: lives };
        let found = self.walk(rows, row, &walk, &mut seen).unwrap_or_default();
        let chosen = choose(rows, slot, &found);
        self.set(slot, &chosen);
        for neighbour in chosen {
            self.add(rows, neighbour, slot);
        }
        self.linked += 1;
        if self.landmarks.slots.len().pow(2) < self.linked {
            Arc::make_mut(&mut self.landmarks).add(rows, slot);
        }
    }

    /// Takes a row out; rows it led to are linked with one another in its place.
    pub(super) fn unlink(&mut self, rows: &Rows, slot: u32) {
        let around: Vec<u32> = self.links(slot).to_vec();
        self.set(slot, &[]);
        self.linked -= 1;
        if self.landmarks.slots.contains(&slot) {
            Arc::make_mut(&mut self.landmarks).remove(slot);
        }
        let mut similarities = Vec::new();
        for neighbour in &around {
            let others: Vec<u32> =
                self.links(*neighbour).iter().copied().filter(|other| *other != slot).collect();
            if others.len() == self.links(*neighbour).len() {
                continue;
            }
            self.set(*neighbour, &others);
            let (row, inverse) = rows.row(*neighbour);
            if inverse == 0.0 {
                continue;
            }
            kernel::near(row, rows, &around, &mut similarities);
            let heirs =
                around.iter().zip(&similarities).map(|(slot, s)| Near { similarity: *s, slot: *slot });
            let heir = heirs
                .filter(|heir| {
                    heir.slot != *neighbour && rows.is_row(heir.slot) && !others.contains(&heir.slot)
                })
                .max();
            if let Some(heir) = heir {
                self.add(rows, *neighbour, heir.slot);
                self.add(rows, heir.slot, *neighbour);
            }
        }
    }

    /// Lets nothing lead to a row any more, as if all lists had been sorted out without it.
    #[cfg(test)]
    pub(super) fn hide(&mut self, slot: u32) {
        for from in 0..self.links.slots() {
            let others: Vec<u32> = self.links(from).iter().copied().filter(|other| *other != slot).collect();
            self.set(from, &others);
        }
        Arc::make_mut(&mut self.landmarks).remove(slot);
    }

    fn set(&mut self, slot: u32, links: &[u32]) {
        let list = self.links.get_mut(slot);
        list[0] = u32::try_from(links.len()).expect("there is room for a few");
        list[1..=links.len()].copy_from_slice(links);
    }

    /// Leads from a row to another, and sorts the row's list out when that was one too many.
    fn add(&mut self, rows: &Rows, from: u32, to: u32) {
        let links = self.links(from);
        if links.contains(&to) {
            return;
        }
        if links.len() < ROOM {
            let list = self.links.get_mut(from);
            list[0] += 1;
            list[list[0] as usize] = to;
            return;
        }
        let slots: Vec<u32> = links.iter().copied().chain([to]).filter(|slot| rows.is_row(*slot)).collect();
        let mut similarities = Vec::new();
        kernel::near(rows.row(from).0, rows, &slots, &mut similarities);
        let found = slots.into_iter().zip(similarities).map(|(slot, similarity)| Near { similarity, slot });
        let mut found: Vec<Near> = found.collect();
        found.sort_by(|a, b| b.cmp(a));
        let chosen = choose(rows, from, &found);
        self.set(from, &chosen);
    }
}

/// Of rows near this one, nearest first, those to lead to: first those that are nearer to it than to any chosen before,
/// because what is near a neighbour is found through that neighbour; then the nearest of the others.
fn choose(rows: &Rows, from: u32, found: &[Near]) -> Vec<u32> {
    let (_, own) = rows.row(from);
    let (mut chosen, mut others) = (Vec::with_capacity(LINKS), Vec::new());
    let mut similarities = Vec::with_capacity(LINKS);
    for near in found {
        if chosen.len() == LINKS {
            return chosen;
        }
        let (row, _) = rows.row(near.slot);
        kernel::near(row, rows, &chosen, &mut similarities);
        // All lengths but the candidate's, which is the same on both sides, are divided out.
        if similarities.iter().all(|other| *other <= near.similarity_with(own, rows)) {
            chosen.push(near.slot);
        } else {
            others.push(near.slot);
        }
    }
    let missing = LINKS - chosen.len();
    chosen.extend(others.into_iter().take(missing));
    chosen
}

impl Near {
    /// What was found for a row of this inverse length as a query is not divided by that; here it is, and multiplied by
    /// this row's length instead, to be compared with what was found for this row as a query.
    fn similarity_with(self, own: f32, rows: &Rows) -> f32 {
        let (_, inverse) = rows.row(self.slot);
        if inverse > 0.0 { self.similarity * own / inverse } else { f32::MIN }
    }
}

impl Landmarks {
    fn add(&mut self, rows: &Rows, slot: u32) {
        let (row, inverse) = rows.row(slot);
        self.slots.push(slot);
        self.values.extend_from_slice(row);
        self.inverses.push(inverse);
    }

    fn remove(&mut self, slot: u32) {
        let Some(at) = self.slots.iter().position(|other| *other == slot) else { return };
        let width = self.values.len() / self.slots.len();
        self.slots.remove(at);
        self.inverses.remove(at);
        self.values.drain(at * width..(at + 1) * width);
    }

    fn nearest(&self, query: &[i8]) -> Vec<u32> {
        let mut similarities = Vec::with_capacity(self.slots.len());
        kernel::near_all(query, &self.values, &self.inverses, &mut similarities);
        let mut best = Best::new(STARTS);
        for (slot, similarity) in self.slots.iter().zip(similarities) {
            let near = Near { similarity, slot: *slot };
            if best.takes(near) {
                best.put(near);
            }
        }
        best.near.into_iter().map(|near| near.slot).collect()
    }
}
