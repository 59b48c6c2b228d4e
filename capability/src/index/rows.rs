//! The vectors themselves, as they came over the wire: one byte a component, one beside the other.

use super::chunked::{Chunked, SLOTS};
use super::kernel;
use crate::vector::{Quantised, Vector};

/// Rows of bytes by slot. The scale a row came with does not matter to its direction, so only its length is kept.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    values: Chunked<i8>,
    /// One through a row's length; 0 where there is no row.
    inverses: Chunked<f32>,
    slots: usize,
}

/// A question in the two forms it is compared in.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// Of length 1, for what is answered.
    exact: Vec<f32>,
    /// For finding the way.
    pub(super) bytes: Vec<i8>,
    /// What a step of a byte is worth.
    scale: f32,
    /// How far a cosine by bytes may be from the exact one.
    margin: f32,
}

/// More than rounding adds to a sum of [`MAX_DIMENSION`](crate::vector::MAX_DIMENSION) floats.
const ROUNDING: f32 = 1e-4;

impl Probe {
    /// A vector as a question.
    pub(crate) fn new(vector: &Vector) -> Self {
        let quantised = vector.quantise();
        let (exact, bytes) = (vector.as_slice().to_vec(), quantised.values().to_vec());
        let scale = quantised.scale() as f32;
        // The difference of the two forms is a vector; its product with a row of length 1 is at most its length.
        let difference = exact.iter().zip(&bytes).map(|(x, y)| x - f32::from(*y) * scale);
        let margin = difference.map(|x| x * x).sum::<f32>().sqrt() + ROUNDING;
        Self { exact, bytes, scale, margin }
    }

    /// How far a cosine by bytes may be from the exact one.
    pub(super) fn margin(&self) -> f32 {
        self.margin
    }
}

impl Rows {
    /// No rows of so many components.
    pub(super) fn new(dimension: usize) -> Self {
        Self { values: Chunked::new(dimension), inverses: Chunked::new(1), slots: 0 }
    }

    /// Components of a row.
    pub(super) fn dimension(&self) -> usize {
        self.values.width()
    }

    /// Slots there are, empty ones included.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Makes a slot, empty unless it is there.
    pub(super) fn reserve(&mut self, slot: u32) {
        self.slots = self.slots.max(slot as usize + 1);
        self.values.grow(self.slots);
        self.inverses.grow(self.slots);
    }

    /// Puts a row into a slot, the next new one or an empty one.
    pub(super) fn put(&mut self, slot: u32, row: &[i8]) {
        self.reserve(slot);
        self.values.get_mut(slot).copy_from_slice(row);
        let squares: i64 = row.iter().map(|x| i64::from(*x) * i64::from(*x)).sum();
        self.inverses.get_mut(slot)[0] =
            if squares == 0 { 0.0 } else { (1.0 / (squares as f64).sqrt()) as f32 };
    }

    /// Empties a slot.
    pub(super) fn clear(&mut self, slot: u32) {
        self.inverses.get_mut(slot)[0] = 0.0;
    }

    /// A row, and one through its length; 0 when the slot is empty.
    #[inline(always)]
    pub(super) fn row(&self, slot: u32) -> (&[i8], f32) {
        (self.values.get(slot), self.inverses.get(slot)[0])
    }

    /// Whether a slot holds a row.
    pub(super) fn is_row(&self, slot: u32) -> bool {
        (slot as usize) < self.slots && self.inverses.get(slot)[0] > 0.0
    }

    /// Whether a slot holds this row.
    pub(super) fn holds(&self, slot: u32, row: &Quantised) -> bool {
        self.is_row(slot) && self.values.get(slot) == row.values()
    }

    /// The cosine of a row with a question; 0 when they have different dimensions, −1 when there is no row.
    pub(super) fn cosine(&self, slot: u32, probe: &Probe) -> f64 {
        if !self.is_row(slot) {
            return -1.0;
        }
        if probe.exact.len() != self.dimension() {
            return 0.0;
        }
        let (row, inverse) = self.row(slot);
        f64::from(kernel::cosine(&probe.exact, row, inverse)).clamp(-1.0, 1.0)
    }

    /// The cosine of every slot with a question by bytes, within the question's margin; any number where there is no row,
    /// 0 when they have different dimensions.
    pub(super) fn similarities(&self, probe: &Probe) -> Vec<f32> {
        let mut all = Vec::with_capacity(self.slots.next_multiple_of(SLOTS));
        if probe.bytes.len() == self.dimension() {
            for (values, inverses) in self.values.pieces().zip(self.inverses.pieces()) {
                kernel::near_all(&probe.bytes, values, inverses, &mut all);
            }
            for similarity in &mut all {
                *similarity *= probe.scale;
            }
        }
        all.resize(self.slots, 0.0);
        all
    }

    /// The same for some slots.
    pub(super) fn similarities_of(&self, probe: &Probe, slots: &[u32]) -> Vec<f32> {
        let mut some = Vec::with_capacity(slots.len());
        kernel::near(&probe.bytes, self, slots, &mut some);
        for similarity in &mut some {
            *similarity *= probe.scale;
        }
        some
    }

    /// The cosine of every slot with a question; −1 where there is no row.
    pub(super) fn cosines(&self, probe: &Probe) -> Vec<f32> {
        let mut all = Vec::with_capacity(self.slots.next_multiple_of(SLOTS));
        let same_dimension = probe.exact.len() == self.dimension();
        for (values, inverses) in self.values.pieces().zip(self.inverses.pieces()) {
            let start = all.len();
            if same_dimension {
                kernel::cosines(&probe.exact, values, inverses, &mut all);
            } else {
                all.resize(start + SLOTS, 0.0);
            }
            for (cosine, inverse) in all[start..].iter_mut().zip(inverses) {
                *cosine = if *inverse > 0.0 { cosine.clamp(-1.0, 1.0) } else { -1.0 };
            }
        }
        all
    }
}
