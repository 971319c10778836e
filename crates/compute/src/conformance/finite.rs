//! Every backward pass against finite differences of the same backend's forward pass.

use super::rows::rope;
use super::{down, gradient, layout, matrix, numbers, operand, seen, transposed, up};
use crate::{Attended, Backend, HeadStage, Heads, OperandUse, Precision, ScoreGradient};

const F32: Precision = Precision::F32;

pub(super) fn run<B: Backend>(backend: &B) {
    linear(backend);
    norm(backend);
    gate(backend);
    heads(backend);
    attend(backend);
    score(backend);
    embed(backend);
}

/// Checks `found`, d loss / d x, where loss = sum of `outputs(x)` times `d_outputs`.
#[track_caller]
fn slopes(what: &str, found: &[f32], x: &[f32], d_outputs: &[f32], outputs: impl Fn(&[f32]) -> Vec<f32>) {
    let loss = |x: &[f32]| -> f64 {
        outputs(x).iter().zip(d_outputs).map(|(y, d)| f64::from(*y) * f64::from(*d)).sum()
    };
    let step = 1e-2f32;
    assert_eq!(found.len(), x.len(), "{what}: number of derivatives");
    for i in 0..x.len() {
        let nudged = |by: f32| {
            let mut x = x.to_vec();
            x[i] += by;
            (loss(&x), f64::from(x[i]))
        };
        let ((above, high), (below, low)) = (nudged(step), nudged(-step));
        let slope = (above - below) / (high - low);
        let error = (slope - f64::from(found[i])).abs();
        assert!(error < 4e-3 * (1.0 + slope.abs()), "{what}: derivative {i} is {}, slope {slope}", found[i]);
    }
}

fn linear<B: Backend>(backend: &B) {
    let [m, k, n] = [3, 7, 5];
    let (x, w, dy) = (numbers(m * k, 1), numbers(n * k, 2), numbers(m * n, 3));
    let forward = |x: &[f32], w: &[f32]| {
        let input = operand(backend, x, k, F32, OperandUse::Input);
        let mut out = B::Buffer::default();
        backend.linear(&input, [(&matrix(backend, w, [n, k], F32), &mut out)], false);
        down(backend, &out)
    };
    let mut dx = B::Buffer::default();
    let d = operand(backend, &dy, n, F32, OperandUse::Input);
    backend.linear_backward_input(&d, &transposed(backend, &w, [n, k], F32), &mut dx, false);
    slopes("linear by its input", &down(backend, &dx), &x, &dy, |x| forward(x, &w));
    let dw = gradient(backend, n * k, |to| {
        let d = operand(backend, &dy, n, F32, OperandUse::OutputGradient);
        backend.linear_backward_weight(&d, &operand(backend, &x, k, F32, OperandUse::SavedInput), to);
    });
    slopes("linear by its weight", &dw, &w, &dy, |w| forward(&x, w));
}

fn norm<B: Backend>(backend: &B) {
    let (rows, width, eps) = (4, 9, 1e-5);
    let (x, w, dy) = (numbers(rows * width, 4), numbers(width, 5), numbers(rows * width, 6));
    let forward = |x: &[f32], w: &[f32]| {
        let mut out = B::Operand::default();
        backend.rms_norm(&up(backend, x), &up(backend, w), eps, (F32, OperandUse::Input), &mut out);
        seen(backend, &out, width)
    };
    let mut dx = B::Buffer::default();
    backend.zeros(x.len(), &mut dx);
    let dw = gradient(backend, width, |to| {
        backend.rms_norm_backward(&up(backend, &x), &up(backend, &w), eps, &up(backend, &dy), &mut dx, to);
    });
    slopes("rms_norm by its input", &down(backend, &dx), &x, &dy, |x| forward(x, &w));
    slopes("rms_norm by its weight", &dw, &w, &dy, |w| forward(&x, w));
}

fn gate<B: Backend>(backend: &B) {
    let (width, d) = (11, numbers(33, 9));
    let (gate, up_branch) = (numbers(33, 7), numbers(33, 8));
    let forward = |gate: &[f32], up_branch: &[f32]| {
        let mut out = B::Operand::default();
        let (gate, up_branch) = (up(backend, gate), up(backend, up_branch));
        backend.gate(&gate, &up_branch, width, (F32, OperandUse::Input), &mut out);
        seen(backend, &out, width)
    };
    let (mut d_gate, mut d_up) = (up(backend, &gate), up(backend, &up_branch));
    backend.gate_backward(&mut d_gate, &mut d_up, &up(backend, &d));
    slopes("gate by its gate", &down(backend, &d_gate), &gate, &d, |gate| forward(gate, &up_branch));
    slopes("gate by its other branch", &down(backend, &d_up), &up_branch, &d, |branch| {
        forward(&gate, branch)
    });
}

fn heads<B: Backend>(backend: &B) {
    let (count, dim) = (2, 6);
    let width = count * dim;
    let (x, bias, norm, d) =
        (numbers(5 * width, 1), numbers(width, 2), numbers(dim, 3), numbers(5 * width, 4));
    let plan = backend.plan(layout(&[(5, None)]));
    let table = rope(backend, 5, dim);
    let forward = |x: &[f32], bias: &[f32], norm: &[f32]| {
        let (bias, norm) = (up(backend, bias), up(backend, norm));
        let (bias, norm) = (Some(&bias), Some(&norm));
        let stage = HeadStage { heads: count, dim, bias, norm, eps: 1e-5, rope: Some(&table) };
        let (mut y, mut raw) = (up(backend, x), B::Buffer::default());
        backend.heads(&plan, &stage, Some(&mut raw), &mut y);
        (down(backend, &y), raw)
    };
    let raw = forward(&x, &bias, &norm).1;
    let (bias_buffer, norm_buffer) = (up(backend, &bias), up(backend, &norm));
    let (of_bias, of_norm) = (Some(&bias_buffer), Some(&norm_buffer));
    let stage = HeadStage { heads: count, dim, bias: of_bias, norm: of_norm, eps: 1e-5, rope: Some(&table) };
    let mut dx = up(backend, &d);
    let grads = gradient(backend, width + dim, |to| {
        let places = (to.buffer, Some(0..width), Some(width..width + dim));
        backend.heads_backward(&plan, &stage, &raw, &mut dx, places);
    });
    slopes("heads by the projection", &down(backend, &dx), &x, &d, |x| forward(x, &bias, &norm).0);
    slopes("heads by the bias", &grads[..width], &bias, &d, |bias| forward(&x, bias, &norm).0);
    slopes("heads by the norm", &grads[width..], &norm, &d, |norm| forward(&x, &bias, norm).0);
}

fn attend<B: Backend>(backend: &B) {
    let shape = Heads { query: 4, kv: 2, dim: 3 };
    let rows = layout(&[(3, None), (2, Some(0)), (4, Some(0)), (2, None)]);
    let count = rows.positions.len();
    let plan = backend.plan(rows);
    let inputs = [
        numbers(count * shape.q_width(), 5),
        numbers(count * shape.kv_width(), 6),
        numbers(count * shape.kv_width(), 7),
    ];
    let d = numbers(count * shape.q_width(), 8);
    let forward = |[q, k, v]: [&[f32]; 3]| {
        let [q, k, v] = [q, k, v].map(|values| up(backend, values));
        let (mut out, mut lse) = (B::Buffer::default(), B::Buffer::default());
        backend.attend(&plan, shape, [&q, &k, &v], &mut out, &mut lse);
        (out, lse)
    };
    let [q, k, v] = &inputs;
    let (out, lse) = forward([q, k, v]);
    let [q_buffer, k_buffer, v_buffer] = inputs.each_ref().map(|values| up(backend, values));
    let attended = Attended { q: &q_buffer, k: &k_buffer, v: &v_buffer, out: &out, lse: &lse };
    let mut found = [B::Buffer::default(), B::Buffer::default(), B::Buffer::default()];
    backend.attend_backward(&plan, shape, &attended, &up(backend, &d), found.each_mut());
    let [dq, dk, dv] = found.map(|found| down(backend, &found));
    slopes("attend by its queries", &dq, q, &d, |q| down(backend, &forward([q, k, v]).0));
    slopes("attend by its keys", &dk, k, &d, |k| down(backend, &forward([q, k, v]).0));
    slopes("attend by its values", &dv, v, &d, |v| down(backend, &forward([q, k, v]).0));
}

fn score<B: Backend>(backend: &B) {
    let (vocab, targets, temperature) = (13, [3, 12], 0.8);
    let (logits, d_logprobs) = (numbers(2 * vocab, 9), [0.7, -1.2]);
    let mut lse = B::Buffer::default();
    let mut d = up(backend, &logits);
    backend.score(&d, &targets, temperature, (&mut lse, 0)).expect("score");
    let gradient = ScoreGradient {
        vocab,
        rows: 0..2,
        first_lse: 0,
        targets: &targets,
        d_logprobs: &d_logprobs,
        temperature,
    };
    backend.score_backward(&mut d, &lse, &gradient);
    slopes("score by its logits", &down(backend, &d), &logits, &d_logprobs, |logits| {
        let logits = up(backend, logits);
        backend.score(&logits, &targets, temperature, (&mut B::Buffer::default(), 0)).expect("score").logprobs
    });
}

fn embed<B: Backend>(backend: &B) {
    let (vocab, width, tokens) = (6, 5, [2, 0, 2]);
    let (table, d) = (numbers(vocab * width, 1), numbers(3 * width, 2));
    let found = gradient(backend, vocab * width, |to| backend.embed_backward(&tokens, &up(backend, &d), to));
    slopes("embed by its table", &found, &table, &d, |table| {
        let mut out = B::Buffer::default();
        backend.embed(&matrix(backend, table, [vocab, width], F32), &tokens, &mut out);
        down(backend, &out)
    });
}
