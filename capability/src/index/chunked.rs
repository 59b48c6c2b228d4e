//! A long array in shared pieces: a copy costs a pointer a piece, and a write copies only its piece, and only while
//! somebody else still looks at it.

use std::sync::Arc;

/// Slots in one piece.
pub(super) const SLOTS: usize = 256;

/// An array of `width` items a slot.
#[derive(Clone, Debug)]
pub(super) struct Chunked<T> {
    width: usize,
    pieces: Vec<Arc<Vec<T>>>,
}

impl<T: Clone + Default> Chunked<T> {
    /// An empty array.
    pub(super) fn new(width: usize) -> Self {
        Self { width, pieces: Vec::new() }
    }

    /// Items a slot.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Makes room for slots below `slots`, of default items.
    pub(super) fn grow(&mut self, slots: usize) {
        while self.pieces.len() * SLOTS < slots {
            self.pieces.push(Arc::new(vec![T::default(); self.width * SLOTS]));
        }
    }

    /// The items of a slot.
    #[inline(always)]
    pub(super) fn get(&self, slot: u32) -> &[T] {
        let (piece, at) = (slot as usize / SLOTS, slot as usize % SLOTS * self.width);
        &self.pieces[piece][at..at + self.width]
    }

    /// The items of a slot, to be changed.
    pub(super) fn get_mut(&mut self, slot: u32) -> &mut [T] {
        let (piece, at) = (slot as usize / SLOTS, slot as usize % SLOTS * self.width);
        &mut Arc::make_mut(&mut self.pieces[piece])[at..at + self.width]
    }

    /// Slots there is room for.
    #[cfg(test)]
    pub(super) fn slots(&self) -> u32 {
        u32::try_from(self.pieces.len() * SLOTS).expect("slots are numbered in 32 bits")
    }

    /// Whole pieces, in order.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[T]> {
        self.pieces.iter().map(|piece| piece.as_slice())
    }
}
