//! Causal attention with grouped key/value heads.

use super::kv::KvSeq;
use crate::{Attended, Heads, RowLayout};

/// Keys or values that a row sees: position by position, `[K d]` each.
type Seen<'a> = Vec<&'a [f32]>;

/// Rows that the row `row` of span `index` sees, in order: its prefix, then its own span as far as itself.
fn seen_rows(plan: &RowLayout, index: usize, row: usize) -> impl Iterator<Item = usize> {
    plan.prefix_rows(index).chain(plan.spans[index].rows.start..row + 1)
}

/// softmax(q k / sqrt(d)) of one query head over the keys that it sees; the weights and their log-sum-exp.
fn weights(q: &[f32], keys: &Seen, at: usize, scale: f32) -> (Vec<f32>, f32) {
    let dot = |key: &&[f32]| q.iter().zip(&key[at..]).fold(0.0f32, |sum, (q, k)| q.mul_add(*k, sum)) * scale;
    let scores: Vec<f32> = keys.iter().map(dot).collect();
    let max = scores.iter().fold(f32::NEG_INFINITY, |max, score| max.max(*score));
    let total: f32 = scores.iter().map(|score| (score - max).exp()).sum();
    (scores.iter().map(|score| (score - max).exp() / total).collect(), max + total.ln())
}

/// Attention of one row, `[H d]`; appends to `out` and `lse`.
fn attend_row(heads: Heads, q: &[f32], [keys, values]: [&Seen; 2], out: &mut Vec<f32>, lse: &mut Vec<f32>) {
    for (head, q) in q.chunks_exact(heads.dim).enumerate() {
        let at = head / heads.group() * heads.dim;
        let (weights, log_sum) = weights(q, keys, at, heads.scale());
        lse.push(log_sum);
        for i in 0..heads.dim {
            out.push(weights.iter().zip(values).map(|(weight, value)| weight * value[at + i]).sum());
        }
    }
}

/// See [`Backend::attend`](crate::Backend::attend).
pub(super) fn packed(
    plan: &RowLayout,
    heads: Heads,
    [q, k, v]: [&[f32]; 3],
    out: &mut Vec<f32>,
    lse: &mut Vec<f32>,
) {
    let (q_width, kv_width) = (heads.q_width(), heads.kv_width());
    (*out, *lse) = (Vec::new(), Vec::new());
    for (index, span) in plan.spans.iter().enumerate() {
        for row in span.rows.clone() {
            let of = |x: &'_ [f32]| -> Vec<Vec<f32>> {
                seen_rows(plan, index, row).map(|row| x[row * kv_width..][..kv_width].to_vec()).collect()
            };
            let (keys, values) = (of(k), of(v));
            let (keys, values) = (borrowed(&keys), borrowed(&values));
            attend_row(heads, &q[row * q_width..][..q_width], [&keys, &values], out, lse);
        }
    }
}

fn borrowed(rows: &[Vec<f32>]) -> Seen<'_> {
    rows.iter().map(Vec::as_slice).collect()
}

/// See [`Backend::attend_cached`](crate::Backend::attend_cached).
pub(super) fn cached(
    plan: &RowLayout,
    layer: usize,
    heads: Heads,
    q: &[f32],
    seqs: &[&mut KvSeq],
    out: &mut Vec<f32>,
) {
    let (q_width, kv_width) = (heads.q_width(), heads.kv_width());
    let mut lse = Vec::new();
    *out = Vec::new();
    for (span, seq) in plan.spans.iter().zip(seqs) {
        let [keys, values] = seq.layer(layer);
        let first = keys.len() / kv_width - span.rows.len();
        for (index, row) in span.rows.clone().enumerate() {
            let seen = first + index + 1;
            let of =
                |x: &'_ [f32]| x.chunks_exact(kv_width).take(seen).map(<[f32]>::to_vec).collect::<Vec<_>>();
            let (keys, values) = (of(keys), of(values));
            let (keys, values) = (borrowed(&keys), borrowed(&values));
            attend_row(heads, &q[row * q_width..][..q_width], [&keys, &values], out, &mut lse);
        }
    }
}

/// See [`Backend::attend_backward`](crate::Backend::attend_backward): with p the weights,
/// dv += p do, ds = p (do . v - do . out) / sqrt(d), dq += ds k, dk += ds q.
pub(super) fn backward(
    plan: &RowLayout,
    heads: Heads,
    attended: &Attended<Vec<f32>>,
    d_out: &[f32],
    [dq, dk, dv]: [&mut Vec<f32>; 3],
) {
    let Attended { q, k, v, out, lse } = attended;
    let (kv_width, dim) = (heads.kv_width(), heads.dim);
    (*dq, *dk, *dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    for (index, span) in plan.spans.iter().enumerate() {
        for row in span.rows.clone() {
            for head in 0..heads.query {
                let at = (row * heads.query + head) * dim;
                let own = at..at + dim;
                let delta = dot(&d_out[own.clone()], &out[own.clone()]);
                for seen in seen_rows(plan, index, row) {
                    let from = seen * kv_width + head / heads.group() * dim;
                    let other = from..from + dim;
                    let score = dot(&q[own.clone()], &k[other.clone()]) * heads.scale();
                    let p = (score - lse[row * heads.query + head]).exp();
                    let ds = p * (dot(&d_out[own.clone()], &v[other.clone()]) - delta) * heads.scale();
                    for i in 0..dim {
                        dq[at + i] += ds * k[from + i];
                        dk[from + i] += ds * q[at + i];
                        dv[from + i] += p * d_out[at + i];
                    }
                }
            }
        }
    }
}
