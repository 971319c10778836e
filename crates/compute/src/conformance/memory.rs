//! Buffers: what is uploaded comes back, copies are copies, parts are parts.

use super::{close, down, numbers, same_bits, up};
use crate::{AdamWStep, Backend, Part};

pub(super) fn run<B: Backend>(backend: &B) {
    copies(backend);
    gathers(backend);
    optimizer(backend);
}

fn copies<B: Backend>(backend: &B) {
    for len in [0, 1, 37, 40_001] {
        let mut values = numbers(len, 1);
        if len > 30 {
            (values[3], values[30]) = (f32::NAN, f32::NEG_INFINITY);
        }
        let buffer = up(backend, &values);
        same_bits("upload and download", &down(backend, &buffer), &values);
        let mut copy = up(backend, &[7.0; 3]);
        let at = len / 3..len;
        backend.copy(&buffer, at.clone(), &mut copy);
        same_bits("copy of a part", &down(backend, &copy), &values[at]);
        backend.zeros(len, &mut copy);
        same_bits("zeros", &down(backend, &copy), &vec![0.0; len]);
    }
    let (x, mut y) = (numbers(501, 2), numbers(900, 3));
    let mut buffer = up(backend, &y);
    backend.add(&up(backend, &x), Part { buffer: &mut buffer, at: 200..701 });
    y[200..701].iter_mut().zip(&x).for_each(|(y, x)| *y += x);
    same_bits("add to a part", &down(backend, &buffer), &y);
}

fn gathers<B: Backend>(backend: &B) {
    let width = 19;
    let x = numbers(53 * width, 4);
    for rows in [vec![], vec![52], vec![7, 7, 0, 51, 7], (0..53).rev().collect()] {
        let mut out = B::Buffer::default();
        backend.gather(&up(backend, &x), width, &rows, &mut out);
        let want: Vec<f32> = rows.iter().flat_map(|r| &x[r * width..(r + 1) * width]).copied().collect();
        same_bits("gather", &down(backend, &out), &want);

        let d_rows = numbers(rows.len() * width, 5);
        let (mut dx, mut want) = (up(backend, &x), x.clone());
        backend.scatter_add(&up(backend, &d_rows), width, &rows, &mut dx);
        for (d, row) in d_rows.chunks(width).zip(&rows) {
            want[row * width..][..width].iter_mut().zip(d).for_each(|(x, d)| *x += d);
        }
        same_bits("scatter_add, in the order of the rows", &down(backend, &dx), &want);
    }
}

fn optimizer<B: Backend>(backend: &B) {
    for len in [1, 131, 70_000] {
        let x = numbers(len, 6);
        let want: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let buffer = up(backend, &x);
        let got = backend.sum_squares(&buffer).expect("sum of squares");
        assert!((got - want).abs() <= 1e-5 * want, "sum of squares of {len}: {got}, expected {want}");
        let again = backend.sum_squares(&buffer).expect("sum of squares");
        assert_eq!(got.to_bits(), again.to_bits(), "sum of squares twice");
    }
    let bad = up(backend, &[1.0, f32::NAN, 2.0]);
    assert!(!backend.sum_squares(&bad).expect("sum of squares").is_finite(), "NaN in a sum of squares");

    let (len, at) = (1000, 100..837);
    let start = [numbers(len, 7), numbers(len, 8), numbers(len, 9), numbers(len, 10)];
    let start = start.map(|values| values.into_iter().map(|x| x * x).collect::<Vec<_>>());
    let mut state = start.each_ref().map(|values| up(backend, values));
    let mut want = start.clone();
    for update in 1..=3 {
        let step = AdamWStep {
            lr: 3e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.1,
            grad_scale: 0.7,
            update,
        };
        let [w, g, m, v] = &mut state;
        backend.adamw([w, g, m, v], at.clone(), &step);
        let [w, g, m, v] = &mut want;
        super::REFERENCE.adamw([w, g, m, v], at.clone(), &step);
    }
    for ((name, got), (want, start)) in ["parameters", "gradients", "first moments", "second moments"]
        .iter()
        .zip(&state)
        .zip(want.iter().zip(&start))
    {
        let got = down(backend, got);
        close(&format!("AdamW: {name}"), &got, want, 1e-5);
        same_bits(&format!("AdamW: {name} outside the part"), &got[837..], &start[837..]);
    }
}
