//! Products with weights.

use super::{
    PRECISIONS, REFERENCE, close, down, gradient, matrix, numbers, operand, part, same_bits, transposed, up,
};
use crate::{Backend, OperandUse, Precision};

/// Rows, inputs and outputs: 1, primes, and one more or less than any tile.
const SIZES: [[usize; 3]; 9] = [
    [0, 5, 3],
    [1, 1, 1],
    [1, 129, 67],
    [2, 3, 5],
    [7, 13, 31],
    [13, 641, 33],
    [17, 513, 129],
    [33, 64, 97],
    [101, 71, 65],
];

pub(super) fn run<B: Backend>(backend: &B) {
    for precision in PRECISIONS {
        for size in SIZES {
            forward(backend, precision, size);
            backward(backend, precision, size);
        }
        special_values(backend, precision);
        shared_input(backend, precision);
    }
}

fn product<B: Backend>(
    backend: &B,
    x: &[f32],
    (w, [outputs, inputs]): (&[f32], [usize; 2]),
    precision: Precision,
    onto: Option<&[f32]>,
) -> Vec<f32> {
    let weight = matrix(backend, w, [outputs, inputs], precision);
    let input = operand(backend, x, inputs, precision, OperandUse::Input);
    let mut out = onto.map_or_else(B::Buffer::default, |values| up(backend, values));
    backend.linear(&input, [(&weight, &mut out)], onto.is_some());
    down(backend, &out)
}

fn forward<B: Backend>(backend: &B, precision: Precision, [m, k, n]: [usize; 3]) {
    let what = format!("linear, {} rows of {k} to {n}, {}", m, precision.name());
    let (x, w, y) = (numbers(m * k, 1), numbers(n * k, 2), numbers(m * n, 3));
    let w = (w.as_slice(), [n, k]);
    let tolerance = 1e-5 * (k as f32).sqrt();
    let whole = product(backend, &x, w, precision, None);
    close(&what, &whole, &product(&REFERENCE, &x, w, precision, None), tolerance);
    let added = product(backend, &x, w, precision, Some(&y));
    close(&format!("{what}, added"), &added, &product(&REFERENCE, &x, w, precision, Some(&y)), tolerance);
    same_bits(&format!("{what}, twice"), &product(backend, &x, w, precision, None), &whole);
    for row in [0, m / 2, m.saturating_sub(1)].into_iter().filter(|&row| row < m) {
        let alone = product(backend, part(&x, row..row + 1, k), w, precision, None);
        same_bits(&format!("{what}: row {row} alone"), &alone, part(&whole, row..row + 1, n));
    }
    let turned: Vec<f32> = x.chunks(k).rev().flatten().copied().collect();
    let turned = product(backend, &turned, w, precision, None);
    let back: Vec<f32> = turned.chunks(n).rev().flatten().copied().collect();
    same_bits(&format!("{what}: rows in another order"), &back, &whole);
}

fn backward<B: Backend>(backend: &B, precision: Precision, [m, k, n]: [usize; 3]) {
    let what = format!("backward of linear, {m} rows of {k} to {n}, {}", precision.name());
    let (x, w, dy) = (numbers(m * k, 4), numbers(n * k, 5), numbers(m * n, 6));
    let by_input = |dy: &[f32], onto: Option<&[f32]>| {
        let weight = transposed(backend, &w, [n, k], precision);
        let dy = operand(backend, dy, n, precision, OperandUse::Input);
        let mut dx = onto.map_or_else(B::Buffer::default, |values| up(backend, values));
        backend.linear_backward_input(&dy, &weight, &mut dx, onto.is_some());
        down(backend, &dx)
    };
    let tolerance = 1e-5 * (n.max(m) as f32).sqrt().max(1.0);
    let whole = by_input(&dy, None);
    let reference = {
        let weight = transposed(&REFERENCE, &w, [n, k], precision);
        let dy = operand(&REFERENCE, &dy, n, precision, OperandUse::Input);
        let mut dx = Vec::new();
        REFERENCE.linear_backward_input(&dy, &weight, &mut dx, false);
        dx
    };
    close(&format!("{what}, by its input"), &whole, &reference, tolerance);
    if m > 1 {
        same_bits(
            &format!("{what}: row 1 alone"),
            &by_input(part(&dy, 1..2, n), None),
            part(&whole, 1..2, k),
        );
    }
    let twice: Vec<f32> = by_input(&dy, Some(&x));
    let summed: Vec<f32> = reference.iter().zip(&x).map(|(a, b)| a + b).collect();
    close(&format!("{what}, by its input, added"), &twice, &summed, 2.0 * tolerance);

    // dW is a chain over the rows: any cut between rows gives the bits of the whole
    let by_weight = |cuts: &[usize]| {
        gradient(backend, n * k, |grads| {
            for rows in cuts.windows(2).map(|pair| pair[0]..pair[1]) {
                let dy = part(&dy, rows.clone(), n);
                let dy = operand(backend, dy, n, precision, OperandUse::OutputGradient);
                let x = operand(backend, part(&x, rows, k), k, precision, OperandUse::SavedInput);
                let to = crate::Part { buffer: &mut *grads.buffer, at: grads.at.clone() };
                backend.linear_backward_weight(&dy, &x, to);
            }
        })
    };
    let whole = by_weight(&[0, m]);
    let reference = gradient(&REFERENCE, n * k, |grads| {
        let dy = operand(&REFERENCE, &dy, n, precision, OperandUse::OutputGradient);
        let x = operand(&REFERENCE, &x, k, precision, OperandUse::SavedInput);
        REFERENCE.linear_backward_weight(&dy, &x, grads);
    });
    close(&format!("{what}, by its weight"), &whole, &reference, tolerance);
    // in bf16 a device may add rows in pairs: cuts between pairs
    let even = if precision == Precision::Bf16 { 2 } else { 1 };
    let cut = (m / 3).next_multiple_of(even).min(m);
    let cuts = [0, cut, (cut + even).min(m), m];
    same_bits(&format!("{what}, by its weight, in parts {cuts:?}"), &by_weight(&cuts), &whole);
}

/// A row with NaN or infinities reaches no other row.
fn special_values<B: Backend>(backend: &B, precision: Precision) {
    let [m, k, n] = [9, 37, 35];
    let (mut x, w) = (numbers(m * k, 7), numbers(n * k, 8));
    let clean = product(backend, &x, (&w, [n, k]), precision, None);
    (x[4 * k + 3], x[6 * k + 36]) = (f32::NAN, f32::INFINITY);
    let spoilt = product(backend, &x, (&w, [n, k]), precision, None);
    let what = format!("linear beside NaN and infinity, {}", precision.name());
    for row in [0, 1, 2, 3, 5, 7, 8] {
        same_bits(&what, part(&spoilt, row..row + 1, n), part(&clean, row..row + 1, n));
    }
    assert!(part(&spoilt, 4..5, n).iter().all(|y| y.is_nan()), "{what}: NaN is seen");
    assert!(part(&spoilt, 6..7, n).iter().all(|y| !y.is_finite()), "{what}: infinity is seen");
}

/// Several weights with one input give what each gives alone.
fn shared_input<B: Backend>(backend: &B, precision: Precision) {
    let (k, x) = (45, numbers(6 * 45, 9));
    let weights = [(70, 10), (1, 11), (33, 12)].map(|(n, seed)| (n, numbers(n * k, seed)));
    let matrices = weights.each_ref().map(|(n, w)| matrix(backend, w, [*n, k], precision));
    let input = operand(backend, &x, k, precision, OperandUse::Input);
    let [mut a, mut b, mut c] = [B::Buffer::default(), B::Buffer::default(), B::Buffer::default()];
    let [wa, wb, wc] = &matrices;
    backend.linear(&input, [(wa, &mut a), (wb, &mut b), (wc, &mut c)], false);
    for ((n, w), out) in weights.iter().zip([a, b, c]) {
        let alone = product(backend, &x, (w, [*n, k]), precision, None);
        same_bits("linear: one of several weights", &down(backend, &out), &alone);
    }
}
