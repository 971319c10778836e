//! Attention one query row at a time, as plainly as the chains of operations allow: what the blocked
//! functions must equal bit for bit.

use super::{Heads, LANES, Span};
use crate::isa::multiversion;
use crate::math::{axpy, exp, max, sum};

/// Components of the output summed at a time.
const BLOCK: usize = 32;

/// Dot products of `q` with the 16 rows of one block of one head, `[d, 16]`, in two chains.
#[inline(always)]
fn block_dots(q: &[f32], block: &[f32]) -> [f32; LANES] {
    let (mut even, mut odd) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (rows, _) = block.as_chunks::<LANES>();
    let (pairs, last_rows) = rows.as_chunks::<2>();
    let (q_pairs, last_q) = q.as_chunks::<2>();
    for (pair, q) in pairs.iter().zip(q_pairs) {
        for i in 0..LANES {
            even[i] = q[0].mul_add(pair[0][i], even[i]);
            odd[i] = q[1].mul_add(pair[1][i], odd[i]);
        }
    }
    for (row, q) in last_rows.iter().zip(last_q) {
        for i in 0..LANES {
            even[i] = q.mul_add(row[i], even[i]);
        }
    }
    std::array::from_fn(|i| even[i] + odd[i])
}

/// Blocks of one key/value head.
#[inline(always)]
fn head_blocks(blocks: &[f32], heads: Heads, kv_head: usize) -> impl Iterator<Item = &[f32]> {
    let (size, at) = (LANES * heads.dim, kv_head * LANES * heads.dim);
    blocks.chunks_exact(heads.kv * size).map(move |block| &block[at..at + size])
}

multiversion! {
    /// Attention of one token over all positions in `spans`, its own last.
    ///
    /// # Shapes
    /// `q`, `out`: `[H * d]`; `lse`: `[H]`, the log-sum-exp of the scaled scores; `scores`: scratch.
    pub fn attend(
        q: &[f32], spans: &[Span<'_>], heads: Heads, scores: &mut Vec<f32>, out: &mut [f32], lse: &mut [f32],
    ) {
        let (dim, scale) = (heads.dim, heads.scale());
        let total_len: usize = spans.iter().map(|span| span.len).sum();
        scores.resize(total_len + LANES, 0.0);
        for head in 0..heads.query {
            let q = &q[head * dim..(head + 1) * dim];
            let kv_head = head / heads.group();
            let mut from = 0;
            for span in spans {
                let blocks = head_blocks(span.keys, heads, kv_head).take(span.len.div_ceil(LANES));
                for (index, block) in blocks.enumerate() {
                    let dots = block_dots(q, block);
                    // what a block holds beyond the span is overwritten by the next, or left out below
                    let scores = &mut scores[from + index * LANES..][..LANES];
                    for i in 0..LANES {
                        scores[i] = dots[i] * scale;
                    }
                }
                from += span.len;
            }
            let weights = &mut scores[..total_len];
            let (max, total) = softmax(weights);
            let inverse = 1.0 / total;
            let out = &mut out[head * dim..(head + 1) * dim];
            for (block, out) in out.chunks_mut(BLOCK).enumerate() {
                weigh_values(weights, spans, heads, kv_head * dim + block * BLOCK, inverse, out);
            }
            lse[head] = max + total.ln();
        }
    }
}

/// Replaces scores by exp(score - max); returns max and the sum.
#[inline(always)]
fn softmax(scores: &mut [f32]) -> (f32, f32) {
    let max = max(scores);
    for score in scores.iter_mut() {
        *score = exp(*score - max);
    }
    (max, sum(scores))
}

/// out = inverse * sum_j weight_j value_j, for up to [`BLOCK`] components from `offset` on.
#[inline(always)]
fn weigh_values(
    weights: &[f32],
    spans: &[Span<'_>],
    heads: Heads,
    offset: usize,
    inverse: f32,
    out: &mut [f32],
) {
    let stride = heads.kv * heads.dim;
    if out.len() == BLOCK {
        let (low, high) = weigh_block(weights, spans, stride, offset);
        for i in 0..LANES {
            out[i] = low[i] * inverse;
            out[LANES + i] = high[i] * inverse;
        }
        return;
    }
    out.fill(0.0);
    let mut from = 0;
    for span in spans {
        let rows = weights[from..from + span.len].iter().zip(span.values.chunks_exact(stride));
        for (weight, value) in rows {
            axpy(*weight, &value[offset..offset + out.len()], out);
        }
        from += span.len;
    }
    for x in out {
        *x *= inverse;
    }
}

/// A whole block of [`weigh_values`], in two vectors that stay in registers.
#[inline(always)]
fn weigh_block(
    weights: &[f32],
    spans: &[Span<'_>],
    stride: usize,
    offset: usize,
) -> ([f32; LANES], [f32; LANES]) {
    let (mut low, mut high) = ([0.0f32; LANES], [0.0f32; LANES]);
    let mut from = 0;
    for span in spans {
        let rows = weights[from..from + span.len].iter().zip(span.values.chunks_exact(stride));
        for (&weight, value) in rows {
            let value = &value[offset..offset + BLOCK];
            for i in 0..LANES {
                low[i] = weight.mul_add(value[i], low[i]);
                high[i] = weight.mul_add(value[LANES + i], high[i]);
            }
        }
        from += span.len;
    }
    (low, high)
}
