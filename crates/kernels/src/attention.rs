//! Causal grouped-query attention over packed sequences and over the KV cache, one query row at a
//! time: the same function computes a token's output in prefill, in decoding and in training, so the
//! bits are equal. No T x T matrix is kept; the backward pass recomputes the weights from the saved
//! log-sum-exp.
//!
//! Keys lie in blocks of [`LANES`] positions, component by component, so that the scores of a block are
//! one vector: a fixed chain of multiply-adds over the components, whatever the instruction set.

use crate::isa::multiversion;
use crate::math::{axpy, exp, max, sum};

/// Positions of a block of keys.
pub const LANES: usize = 16;

/// Components of the output summed at a time.
const BLOCK: usize = 32;

/// Keys and values of consecutive positions.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// Keys, after rope: `[ceil(len / 16), K, d, 16]`, see [`push_keys`]. Positions beyond `len` are not read.
    pub keys: &'a [f32],
    /// Values: `[len, K * d]`, possibly longer.
    pub values: &'a [f32],
    /// Number of positions.
    pub len: usize,
}

/// Head counts and width.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// H.
    pub query: usize,
    /// K.
    pub kv: usize,
    /// d.
    pub dim: usize,
}

impl Heads {
    /// Query heads that read one key/value head.
    #[inline(always)]
    fn group(&self) -> usize {
        self.query / self.kv
    }

    /// 1 / sqrt(d).
    #[inline(always)]
    fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }
}

/// Appends rows of width K d to `blocks`, `[ceil(len / 16), K * d, 16]`, that holds `len` positions so far.
///
/// # Shapes
/// `rows`: `[T, stride]`.
pub fn push_keys(blocks: &mut Vec<f32>, len: usize, rows: &[f32], stride: usize) {
    for (position, row) in (len..).zip(rows.chunks_exact(stride)) {
        let lane = position % LANES;
        if lane == 0 {
            blocks.resize(blocks.len() + LANES * stride, 0.0);
        }
        let from = blocks.len() - LANES * stride;
        for (slot, x) in blocks[from..].iter_mut().skip(lane).step_by(LANES).zip(row) {
            *slot = *x;
        }
    }
}

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

/// Inputs of the backward pass of one sequence, whose T queries are its last positions: P positions, the
/// sequence's prefix, come before them.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a> {
    /// Queries, after rope. `[T, H * d]`
    pub q: &'a [f32],
    /// Keys of one head, after rope. `[P + T, d]`
    pub k: &'a [f32],
    /// Values of that head. `[P + T, d]`
    pub v: &'a [f32],
    /// Outputs. `[T, H * d]`
    pub out: &'a [f32],
    /// Log-sum-exp. `[T, H]`
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
        saved: Saved<'_>, d_out: &[f32], heads: Heads, kv_head: usize,
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

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: Heads = Heads { query: 4, kv: 2, dim: 3 };
    const TOKENS: usize = 5;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 199) as f32 / 100.0 - 1.0).collect()
    }

    fn blocked(k: &[f32]) -> Vec<f32> {
        let mut blocks = Vec::new();
        push_keys(&mut blocks, 0, k, 6);
        blocks
    }

    fn forward(q: &[f32], k: &[f32], v: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut out, mut lse, mut scratch) = (vec![0.0; q.len()], vec![0.0; TOKENS * 4], Vec::new());
        for t in 0..TOKENS {
            let keys = blocked(&k[..(t + 1) * 6]);
            let span = Span { keys: &keys, values: v, len: t + 1 };
            let at = t * 12..(t + 1) * 12;
            attend(&q[at.clone()], &[span], HEADS, &mut scratch, &mut out[at], &mut lse[t * 4..(t + 1) * 4]);
        }
        (out, lse)
    }

    #[test]
    fn agrees_with_softmax_in_f64() {
        let (q, k, v) = (numbers(60, 1), numbers(30, 2), numbers(30, 3));
        let (out, _) = forward(&q, &k, &v);
        for t in 0..TOKENS {
            for head in 0..4 {
                let score = |j: usize| -> f64 {
                    (0..3)
                        .map(|i| f64::from(q[t * 12 + head * 3 + i]) * f64::from(k[j * 6 + head / 2 * 3 + i]))
                        .sum::<f64>()
                        / 3f64.sqrt()
                };
                let total: f64 = (0..=t).map(|j| score(j).exp()).sum();
                for i in 0..3 {
                    let exact: f64 = (0..=t)
                        .map(|j| score(j).exp() / total * f64::from(v[j * 6 + head / 2 * 3 + i]))
                        .sum();
                    assert!((exact - f64::from(out[t * 12 + head * 3 + i])).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn cutting_the_cache_into_spans_does_not_change_a_bit() {
        const LEN: usize = 50;
        let (q, k, v) = (numbers(12, 1), numbers(LEN * 6, 2), numbers(LEN * 6, 3));
        let run = |cuts: &[usize]| {
            let starts = std::iter::once(0).chain(cuts.iter().copied());
            let keys: Vec<_> =
                starts.zip(cuts).map(|(from, &to)| (blocked(&k[from * 6..to * 6]), from, to)).collect();
            let spans: Vec<_> = keys
                .iter()
                .map(|(keys, from, to)| Span { keys, values: &v[from * 6..to * 6], len: to - from })
                .collect();
            let (mut out, mut lse) = (vec![0.0; 12], vec![0.0; 4]);
            attend(&q, &spans, HEADS, &mut Vec::new(), &mut out, &mut lse);
            (out, lse)
        };
        let whole = run(&[LEN]);
        assert_eq!(run(&[1, 3, LEN]), whole);
        assert_eq!(run(&[16, 17, 49, LEN]), whole);
    }

    #[test]
    fn pushing_keys_one_by_one_or_together_is_the_same() {
        let k = numbers(37 * 6, 2);
        let mut blocks = Vec::new();
        for (position, row) in k.chunks_exact(6).enumerate() {
            push_keys(&mut blocks, position, row, 6);
        }
        assert_eq!(blocks, blocked(&k));
    }

    #[test]
    fn backward_agrees_with_finite_differences() {
        let (q, k, v, d_out) = (numbers(60, 1), numbers(30, 2), numbers(30, 3), numbers(60, 4));
        let (out, lse) = forward(&q, &k, &v);
        let of_head = |x: &[f32], kv_head: usize| -> Vec<f32> {
            x.chunks_exact(6).flat_map(|row| row[kv_head * 3..kv_head * 3 + 3].to_vec()).collect()
        };
        let loss = |q: &[f32], k: &[f32], v: &[f32]| -> f64 {
            forward(q, k, v).0.iter().zip(&d_out).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let nudge = |x: &[f32], i: usize, by: f32| {
            let mut x = x.to_vec();
            x[i] += by;
            x
        };
        for kv_head in 0..2 {
            let (mut dq, mut dk, mut dv) = (vec![0.0; 30], vec![0.0; 15], vec![0.0; 15]);
            let (k_head, v_head) = (of_head(&k, kv_head), of_head(&v, kv_head));
            // the first two positions as a prefix of the rest: queries in two calls
            for queries in [0..2, 2..TOKENS] {
                let saved = Saved {
                    q: &q[queries.start * 12..queries.end * 12],
                    k: &k_head[..queries.end * 3],
                    v: &v_head[..queries.end * 3],
                    out: &out[queries.start * 12..queries.end * 12],
                    lse: &lse[queries.start * 4..queries.end * 4],
                };
                let dq = &mut dq[queries.start * 6..queries.end * 6];
                let d_out = &d_out[queries.start * 12..queries.end * 12];
                let (dk, dv) = (&mut dk[..queries.end * 3], &mut dv[..queries.end * 3]);
                attend_backward(saved, d_out, HEADS, kv_head, dq, dk, dv);
            }
            let step = 1e-2;
            let slope = |up: f64, down: f64| ((up - down) / (2.0 * f64::from(step))) as f32;
            for t in 0..TOKENS {
                for i in 0..3 {
                    let at = t * 6 + kv_head * 3 + i;
                    let numeric_k =
                        slope(loss(&q, &nudge(&k, at, step), &v), loss(&q, &nudge(&k, at, -step), &v));
                    let numeric_v =
                        slope(loss(&q, &k, &nudge(&v, at, step)), loss(&q, &k, &nudge(&v, at, -step)));
                    assert!((dk[t * 3 + i] - numeric_k).abs() < 2e-3, "dk");
                    assert!((dv[t * 3 + i] - numeric_v).abs() < 2e-3, "dv");
                }
                for i in 0..6 {
                    let at = t * 12 + kv_head * 6 + i;
                    let numeric =
                        slope(loss(&nudge(&q, at, step), &k, &v), loss(&nudge(&q, at, -step), &k, &v));
                    assert!((dq[t * 6 + i] - numeric).abs() < 2e-3, "dq");
                }
            }
        }
    }
}
