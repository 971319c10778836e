//! Tests that every backend passes: agreement with [`Reference`], independence of rows, sums that go on in parts,
//! masks, forks, odd sizes, empty inputs, NaN and infinities, and every backward pass against finite differences of
//! the forward pass.
//!
//! A backend calls [`run`] from a test of its own. A fault panics and names the operation, the sizes and the values.

mod attention;
mod finite;
mod linear;
mod logits;
mod memory;
mod rows;

use std::ops::Range;

use crate::types::{LOAD_ROWS, MatrixShape};
use crate::{Backend, OperandUse, Part, Precision, Reference, RowLayout, RowSpan};

/// Runs the whole suite.
///
/// # Panics
/// At the first fault.
pub fn run<B: Backend>(backend: &B) {
    memory::run(backend);
    linear::run(backend);
    rows::run(backend);
    attention::run(backend);
    logits::run(backend);
    finite::run(backend);
}

/// Both precisions of products.
const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

/// Numbers in [-1, 1) that repeat late.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729 + i * i % 31) % 1999) as f32 / 1000.0 - 1.0).collect()
}

fn up<B: Backend>(backend: &B, values: &[f32]) -> B::Buffer {
    backend.upload(values.to_vec()).expect("upload")
}

fn down<B: Backend>(backend: &B, buffer: &B::Buffer) -> Vec<f32> {
    let mut values = vec![0.0; backend.len(buffer)];
    backend.download(buffer, 0..values.len(), &mut values).expect("download");
    values
}

fn matrix<B: Backend>(
    backend: &B,
    values: &[f32],
    [outputs, inputs]: [usize; 2],
    precision: Precision,
) -> B::Matrix {
    let mut matrix = B::Matrix::default();
    let shape = MatrixShape { outputs, inputs, precision };
    // in parts: what is loaded whole is tested by the smaller ones
    for first in (0..outputs.max(1)).step_by(LOAD_ROWS) {
        let rows = first..(first + LOAD_ROWS).min(outputs);
        let part = &values[rows.start * inputs..rows.end * inputs];
        backend.load_matrix(part, rows, shape, &mut matrix).expect("load");
    }
    matrix
}

fn transposed<B: Backend>(
    backend: &B,
    values: &[f32],
    [outputs, inputs]: [usize; 2],
    precision: Precision,
) -> B::Transposed {
    let (params, mut to) = (up(backend, values), B::Transposed::default());
    backend.cast_transposed(&params, 0..values.len(), MatrixShape { outputs, inputs, precision }, &mut to);
    to
}

fn operand<B: Backend>(
    backend: &B,
    x: &[f32],
    width: usize,
    precision: Precision,
    kind: OperandUse,
) -> B::Operand {
    let (x, mut out) = (up(backend, x), B::Operand::default());
    let rows = 0..backend.len(&x) / width;
    backend.operand(&x, rows, width, (precision, kind), &mut out);
    out
}

/// The rows of an operand for products, seen through an identity: exact, since every chain adds zeros to one value.
fn seen<B: Backend>(backend: &B, operand: &B::Operand, width: usize) -> Vec<f32> {
    let mut identity = vec![0.0; width * width];
    identity.iter_mut().step_by(width + 1).for_each(|one| *one = 1.0);
    let identity = matrix(backend, &identity, [width, width], Precision::F32);
    let mut out = B::Buffer::default();
    backend.linear(operand, [(&identity, &mut out)], false);
    down(backend, &out)
}

/// A gradient of `len` zeros that an operation adds to.
fn gradient<B: Backend>(backend: &B, len: usize, work: impl FnOnce(Part<B::Buffer>)) -> Vec<f32> {
    let mut buffer = B::Buffer::default();
    backend.zeros(len, &mut buffer);
    work(Part { buffer: &mut buffer, at: 0..len });
    down(backend, &buffer)
}

/// Spans of these lengths one after another, each with the span that it continues.
fn layout(spans: &[(usize, Option<usize>)]) -> RowLayout {
    let mut layout = RowLayout::default();
    for (index, &(len, prefix)) in spans.iter().enumerate() {
        let start = layout.positions.len();
        let before = prefix.map_or(0, |prefix| spans[prefix].0);
        layout.positions.extend(before..before + len);
        layout.spans.push(RowSpan { rows: start..start + len, prefix });
        debug_assert!(prefix.is_none_or(|prefix| prefix < index));
    }
    layout
}

fn part(values: &[f32], rows: Range<usize>, width: usize) -> &[f32] {
    &values[rows.start * width..rows.end * width]
}

#[track_caller]
fn close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}: number of values");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let same = got == want || (got.is_nan() && want.is_nan());
        let near = (got - want).abs() <= tolerance * (1.0 + want.abs());
        assert!(same || near, "{what}: value {i} is {got}, expected {want} within {tolerance}");
    }
}

#[track_caller]
fn same_bits(what: &str, got: &[f32], want: &[f32]) {
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let (got_bits, want_bits) = (bits(got), bits(want));
    let differs = got_bits.iter().zip(&want_bits).position(|(a, b)| a != b);
    assert!(
        got_bits == want_bits,
        "{what}: {} values for {}; the first that differs: {:?}",
        got.len(),
        want.len(),
        differs.map(|i| (i, got[i], want[i]))
    );
}

/// [`Reference`] itself.
const REFERENCE: Reference = Reference;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_conforms() {
        run(&Reference);
    }
}
