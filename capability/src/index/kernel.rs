//! The inner loops of a search, compiled for several processors; which of them runs is decided on the processor.
//!
//! Sums of integers are the same in any order, and sums of floats are kept in a fixed number of lanes, so every variant
//! gives the same bits.

use multiversion::multiversion;

use super::rows::Rows;

/// Lanes of a sum of floats: independent, so that they fit wide registers.
const LANES: usize = 32;

/// For each of these rows, its dot product with the query as bytes, divided by the row's length. `out` is overwritten.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512vnni", "x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn near(query: &[i8], rows: &Rows, slots: &[u32], out: &mut Vec<f32>) {
    out.clear();
    for slot in slots {
        let (row, inverse) = rows.row(*slot);
        out.push(bytes(query, row) as f32 * inverse);
    }
}

/// The same over rows that lie one beside the other; `out` is extended.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512vnni", "x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn near_all(query: &[i8], values: &[i8], inverses: &[f32], out: &mut Vec<f32>) {
    for (row, inverse) in values.chunks_exact(query.len().max(1)).zip(inverses) {
        out.push(bytes(query, row) as f32 * inverse);
    }
}

/// For rows that lie one beside the other, their cosines with a query of length 1; `out` is extended.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn cosines(query: &[f32], values: &[i8], inverses: &[f32], out: &mut Vec<f32>) {
    for (row, inverse) in values.chunks_exact(query.len().max(1)).zip(inverses) {
        out.push(mixed(query, row) * inverse);
    }
}

/// The cosine of one row with a query of length 1.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn cosine(query: &[f32], row: &[i8], inverse: f32) -> f32 {
    mixed(query, row) * inverse
}

/// At most 8192 × 127²: inside `i32`.
#[inline(always)]
fn bytes(a: &[i8], b: &[i8]) -> i32 {
    let mut sum = 0;
    for (x, y) in a.iter().zip(b) {
        sum += i32::from(*x) * i32::from(*y);
    }
    sum
}

#[inline(always)]
fn mixed(query: &[f32], row: &[i8]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (whole, rest) = (query.chunks_exact(LANES), row.chunks_exact(LANES));
    let last = whole.remainder().iter().zip(rest.remainder());
    let last: f32 = last.map(|(x, y)| x * f32::from(*y)).sum();
    for (x, y) in whole.zip(rest) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * f32::from(y[lane]);
        }
    }
    sums.iter().sum::<f32>() + last
}
