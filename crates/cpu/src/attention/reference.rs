//! Attention one query row at a time, as plainly as the chains of operations allow: what the blocked
//! functions must equal bit for bit.

use super::{Heads, LANES, Span, push_keys};
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

/// Inputs of [`attend_backward`]: as in the blocked function, but keys and values of one head, `[P + T, d]`.
#[derive(Clone, Copy)]
pub struct SavedHead<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub out: &'a [f32],
    pub lse: &'a [f32],
}

/// Rows of width `width` in blocks of 16, `[ceil(rows / 16), width, 16]`.
#[inline(always)]
fn blocks_of(rows: &[f32], width: usize) -> Vec<f32> {
    let mut blocks = Vec::with_capacity((rows.len() / width).div_ceil(LANES) * LANES * width);
    push_keys(&mut blocks, 0, rows, width);
    blocks
}

multiversion! {
    /// Backward of [`attend`] over one whole sequence, for one key/value head:
    /// p = exp(q k scale - lse), dv += p do, ds = p (do . v - do . out) scale, dq += ds k, dk += ds q.
    ///
    /// # Shapes
    /// `d_out`: `[T, H * d]`; `dq`: `[T, H / K * d]`, `dk`, `dv`: `[P + T, d]`, all three for this head and added to.
    pub fn attend_backward(
        saved: SavedHead<'_>, d_out: &[f32], heads: Heads, kv_head: usize,
        dq: &mut [f32], dk: &mut [f32], dv: &mut [f32],
    ) {
        let (dim, group, scale) = (heads.dim, heads.group(), heads.scale());
        let q_stride = heads.query * dim;
        let (tokens, positions) = (saved.lse.len() / heads.query, saved.k.len() / dim);
        let (key_blocks, value_blocks) = (blocks_of(saved.k, dim), blocks_of(saved.v, dim));
        let blocks = |blocks, last: usize| <[f32]>::chunks_exact(blocks, LANES * dim).take(last / LANES + 1);
        let (mut weights, mut d_scores) = (vec![0.0f32; positions + LANES], vec![0.0f32; positions + LANES]);
        for t in 0..tokens {
            let last = positions - tokens + t;
            for g in 0..group {
                let head = kv_head * group + g;
                let at = t * q_stride + head * dim..t * q_stride + (head + 1) * dim;
                let (q, out, d_out) = (&saved.q[at.clone()], &saved.out[at.clone()], &d_out[at]);
                let lse = saved.lse[t * heads.query + head];
                let delta = crate::math::dot(d_out, out);
                let both = blocks(&key_blocks, last).zip(blocks(&value_blocks, last));
                for (index, (keys, values)) in both.enumerate() {
                    let (dots, d_weights) = (block_dots(q, keys), block_dots(d_out, values));
                    let weights = &mut weights[index * LANES..][..LANES];
                    let d_scores = &mut d_scores[index * LANES..][..LANES];
                    for i in 0..LANES {
                        weights[i] = exp(dots[i].mul_add(scale, -lse));
                        d_scores[i] = weights[i] * (d_weights[i] - delta) * scale;
                    }
                }
                let dq = &mut dq[(t * group + g) * dim..(t * group + g + 1) * dim];
                for j in 0..=last {
                    let key = &saved.k[j * dim..(j + 1) * dim];
                    axpy(weights[j], d_out, &mut dv[j * dim..(j + 1) * dim]);
                    axpy(d_scores[j], key, dq);
                    axpy(d_scores[j], q, &mut dk[j * dim..(j + 1) * dim]);
                }
            }
        }
    }
}
