//! Row-wise operations: embedding, norm, gate, heads.

use super::{
    PRECISIONS, REFERENCE, close, down, gradient, layout, matrix, numbers, part, same_bits, seen, up,
};
use crate::{Backend, HeadStage, OperandUse, Part, Precision, RopeTable};

pub(super) fn run<B: Backend>(backend: &B) {
    embed(backend);
    norm_and_gate(backend);
    norm_gradient_in_parts(backend);
    head_gradients_in_parts(backend);
    for (norm, bias, rope) in
        [(true, true, true), (false, true, false), (true, false, true), (false, false, true)]
    {
        heads(backend, norm, bias, rope);
    }
}

fn embed<B: Backend>(backend: &B) {
    let (vocab, width) = (71, 35);
    let table = numbers(vocab * width, 1);
    for precision in PRECISIONS {
        for tokens in [vec![], vec![70], vec![0, 70, 3, 3, 69]] {
            let mut out = B::Buffer::default();
            backend.embed(&matrix(backend, &table, [vocab, width], precision), &tokens, &mut out);
            let mut want = Vec::new();
            let reference = matrix(&REFERENCE, &table, [vocab, width], precision);
            REFERENCE.embed(&reference, &tokens, &mut want);
            same_bits("embed", &down(backend, &out), &want);
        }
    }
    let (tokens, dx) = ([5, 0, 5, 70, 5], numbers(5 * width, 2));
    let got = gradient(backend, vocab * width, |to| backend.embed_backward(&tokens, &up(backend, &dx), to));
    let want = gradient(&REFERENCE, vocab * width, |to| REFERENCE.embed_backward(&tokens, &dx, to));
    same_bits("embed_backward, in row order", &got, &want);
}

fn norm_and_gate<B: Backend>(backend: &B) {
    let layout = (Precision::F32, OperandUse::Input);
    for (rows, width) in [(0, 5), (1, 1), (3, 7), (37, 129), (70, 33)] {
        let (mut x, w) = (numbers(rows * width, 3), numbers(width, 4));
        let norm = |x: &[f32]| {
            let mut out = B::Operand::default();
            backend.rms_norm(&up(backend, x), &up(backend, &w), 1e-5, layout, &mut out);
            seen(backend, &out, width)
        };
        let mut want = crate::reference::Operand::default();
        REFERENCE.rms_norm(&x, &w, 1e-5, layout, &mut want);
        let whole = norm(&x);
        close("rms_norm", &whole, &seen(&REFERENCE, &want, width), 1e-5);
        let up_branch = numbers(rows * width, 5);
        let gate = |gate: &[f32], up_branch: &[f32]| {
            let mut out = B::Operand::default();
            backend.gate(&up(backend, gate), &up(backend, up_branch), width, layout, &mut out);
            seen(backend, &out, width)
        };
        let mut want = crate::reference::Operand::default();
        REFERENCE.gate(&x, &up_branch, width, layout, &mut want);
        let gated = gate(&x, &up_branch);
        close("gate", &gated, &seen(&REFERENCE, &want, width), 1e-5);
        if rows > 2 {
            let alone = norm(part(&x, 2..3, width));
            same_bits("rms_norm: row 2 alone", &alone, part(&whole, 2..3, width));
            let alone = gate(part(&x, 2..3, width), part(&up_branch, 2..3, width));
            same_bits("gate: row 2 alone", &alone, part(&gated, 2..3, width));
            x[0] = f32::NAN;
            let spoilt = norm(&x);
            same_bits("rms_norm beside NaN", part(&spoilt, 1..rows, width), part(&whole, 1..rows, width));
            assert!(part(&spoilt, 0..1, width).iter().all(|y| y.is_nan()), "rms_norm: NaN is seen");
        }
    }
}

/// Cuts of 23 rows.
const CUTS: [&[usize]; 3] = [&[0, 23], &[0, 1, 8, 23], &[0, 16, 17, 23]];

/// The gradient of a norm's weight is a chain over the rows: any cut gives the bits of the whole.
fn norm_gradient_in_parts<B: Backend>(backend: &B) {
    let width = 37;
    let (x, w, dy) = (numbers(23 * width, 9), numbers(width, 10), numbers(23 * width, 11));
    let found = CUTS.map(|cuts| {
        gradient(backend, width, |grads| {
            for rows in cuts.windows(2).map(|pair| pair[0]..pair[1]) {
                let (x, dy) = (part(&x, rows.clone(), width), part(&dy, rows, width));
                let mut dx = B::Buffer::default();
                backend.zeros(x.len(), &mut dx);
                let to = Part { buffer: &mut *grads.buffer, at: grads.at.clone() };
                let (x, dy) = (up(backend, x), up(backend, dy));
                backend.rms_norm_backward(&x, &up(backend, &w), 1e-5, &dy, &mut dx, to);
            }
        })
    });
    for (got, cuts) in found.iter().zip(CUTS) {
        same_bits(&format!("rms_norm_backward by its weight, in parts {cuts:?}"), got, &found[0]);
    }
}

/// The gradients of a bias and of a head norm, likewise.
fn head_gradients_in_parts<B: Backend>(backend: &B) {
    let (heads, dim) = (2, 6);
    let width = heads * dim;
    let (raw, d) = (numbers(23 * width, 12), numbers(23 * width, 13));
    let (bias, norm) = (up(backend, &numbers(width, 14)), up(backend, &numbers(dim, 15)));
    let table = rope(backend, 23, dim);
    let stage = HeadStage { heads, dim, bias: Some(&bias), norm: Some(&norm), eps: 1e-5, rope: Some(&table) };
    let found = CUTS.map(|cuts| {
        gradient(backend, width + dim, |grads| {
            for rows in cuts.windows(2).map(|pair| pair[0]..pair[1]) {
                let mut at = layout(&[(rows.len(), None)]);
                at.positions = rows.clone().collect();
                let (raw, mut d) =
                    (up(backend, part(&raw, rows.clone(), width)), up(backend, part(&d, rows, width)));
                let places = (&mut *grads.buffer, Some(0..width), Some(width..width + dim));
                backend.heads_backward(&backend.plan(at), &stage, &raw, &mut d, places);
            }
        })
    });
    for (got, cuts) in found.iter().zip(CUTS) {
        same_bits(&format!("heads_backward by bias and norm, in parts {cuts:?}"), got, &found[0]);
    }
}

/// Angles of `positions` positions for heads of width `dim`.
pub(super) fn rope<B: Backend>(backend: &B, positions: usize, dim: usize) -> RopeTable<B::Buffer> {
    let angles: Vec<f32> = (0..positions * (dim / 2)).map(|i| i as f32 * 0.37).collect();
    RopeTable {
        cos: up(backend, &angles.iter().map(|angle| angle.cos()).collect::<Vec<_>>()),
        sin: up(backend, &angles.iter().map(|angle| angle.sin()).collect::<Vec<_>>()),
    }
}

fn heads<B: Backend>(backend: &B, with_norm: bool, with_bias: bool, with_rope: bool) {
    let (heads, dim) = (3, 10);
    let width = heads * dim;
    let (x, bias, norm) = (numbers(41 * width, 6), numbers(width, 7), numbers(dim, 8));
    let rows = layout(&[(40, None), (1, None)]);
    let what = format!("heads (norm {with_norm}, bias {with_bias}, rope {with_rope})");

    fn forward<B: Backend>(
        backend: &B,
        rows: &crate::RowLayout,
        [x, bias, norm]: [&[f32]; 3],
        [with_norm, with_bias, with_rope]: [bool; 3],
    ) -> (Vec<f32>, Vec<f32>) {
        let (bias, norm, table) = (up(backend, bias), up(backend, norm), rope(backend, 41, 10));
        let stage = HeadStage {
            heads: 3,
            dim: 10,
            bias: with_bias.then_some(&bias),
            norm: with_norm.then_some(&norm),
            eps: 1e-5,
            rope: with_rope.then_some(&table),
        };
        let (mut y, mut raw) = (up(backend, x), B::Buffer::default());
        backend.heads(&backend.plan(rows.clone()), &stage, Some(&mut raw), &mut y);
        (down(backend, &y), down(backend, &raw))
    }

    let with = [with_norm, with_bias, with_rope];
    let (whole, raw) = forward(backend, &rows, [&x, &bias, &norm], with);
    let (want, want_raw) = forward(&REFERENCE, &rows, [&x, &bias, &norm], with);
    close(&what, &whole, &want, 1e-5);
    close(&format!("{what}: rows before the norm"), &raw, &want_raw, 1e-6);
    let mut one = layout(&[(1, None)]);
    one.positions = vec![17];
    let (alone, _) = forward(backend, &one, [part(&x, 17..18, width), &bias, &norm], with);
    same_bits(&format!("{what}: row 17 alone"), &alone, part(&whole, 17..18, width));
    let empty = forward(backend, &layout(&[]), [&[], &bias, &norm], with).0;
    assert!(empty.is_empty(), "{what}: no rows");
}
