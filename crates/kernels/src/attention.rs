//! Causal grouped-query attention over packed sequences and over the KV cache, one query row at a
//! time: the same function computes a token's output in prefill, in decoding and in training, so the
//! bits are equal. No T x T matrix is kept; the backward pass recomputes the weights from the saved
//! log-sum-exp.

use crate::isa::multiversion;
use crate::math::{axpy, dot, exp, max, sum};

/// Keys and values of consecutive positions, `[len, K * d]` each.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// Keys, after rope.
    pub keys: &'a [f32],
    /// Values.
    pub values: &'a [f32],
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
    /// The key/value head that a query head reads.
    #[inline(always)]
    fn kv_of(&self, head: usize) -> usize {
        head / (self.query / self.kv)
    }

    /// 1 / sqrt(d).
    #[inline(always)]
    fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }
}

multiversion! {
    /// Attention of one token over all positions in `spans`, its own last.
    ///
    /// # Shapes
    /// `q`, `out`: `[H * d]`; `lse`: `[H]`, the log-sum-exp of the scaled scores; `scores`: scratch.
    pub fn attend(
        q: &[f32], spans: &[Span<'_>], heads: Heads, scores: &mut Vec<f32>, out: &mut [f32], lse: &mut [f32],
    ) {
        let (dim, stride, scale) = (heads.dim, heads.kv * heads.dim, heads.scale());
        for head in 0..heads.query {
            let q = &q[head * dim..(head + 1) * dim];
            let offset = heads.kv_of(head) * dim;
            scores.clear();
            for span in spans {
                let from = scores.len();
                scores.resize(from + span.keys.len() / stride, 0.0);
                for (score, key) in scores[from..].iter_mut().zip(span.keys.chunks_exact(stride)) {
                    *score = dot(q, &key[offset..offset + dim]) * scale;
                }
            }
            let (max, total) = softmax_in_place(scores);
            let inverse = 1.0 / total;
            let out = &mut out[head * dim..(head + 1) * dim];
            for (block, out) in out.chunks_mut(BLOCK).enumerate() {
                weigh_values(scores, spans, stride, offset + block * BLOCK, inverse, out);
            }
            lse[head] = max + total.ln();
        }
    }
}

/// Components of the output summed at a time.
const BLOCK: usize = 32;

/// out = inverse * sum_j weight_j value_j, for up to [`BLOCK`] components from `offset` on.
#[inline(always)]
fn weigh_values(
    weights: &[f32],
    spans: &[Span<'_>],
    stride: usize,
    offset: usize,
    inverse: f32,
    out: &mut [f32],
) {
    let width = out.len();
    let mut sums = [0.0f32; BLOCK];
    let mut from = 0;
    for span in spans {
        let count = span.values.len() / stride;
        let rows = weights[from..from + count].iter().zip(span.values.chunks_exact(stride));
        if width == BLOCK {
            // the whole block stays in registers
            for (weight, value) in rows {
                let value = &value[offset..offset + BLOCK];
                for i in 0..BLOCK {
                    sums[i] = weight.mul_add(value[i], sums[i]);
                }
            }
        } else {
            for (weight, value) in rows {
                axpy(*weight, &value[offset..offset + width], &mut sums[..width]);
            }
        }
        from += count;
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum * inverse;
    }
}

/// Replaces scores by exp(score - max); returns max and the sum.
#[inline(always)]
fn softmax_in_place(scores: &mut [f32]) -> (f32, f32) {
    let max = max(scores);
    for score in scores.iter_mut() {
        *score = exp(*score - max);
    }
    let total = sum(scores);
    (max, total)
}

/// Inputs of the backward pass of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a> {
    /// Queries, after rope. `[T, H * d]`
    pub q: &'a [f32],
    /// Keys, after rope. `[T, K * d]`
    pub k: &'a [f32],
    /// Values. `[T, K * d]`
    pub v: &'a [f32],
    /// Outputs. `[T, H * d]`
    pub out: &'a [f32],
    /// Log-sum-exp. `[T, H]`
    pub lse: &'a [f32],
}

multiversion! {
    /// Backward of [`attend`] over one whole sequence, for one key/value head:
    /// p = exp(q k scale - lse), dv += p do, ds = p (do . v - do . out) scale, dq += ds k, dk += ds q.
    ///
    /// # Shapes
    /// `d_out`: `[T, H * d]`; `dq`: `[T, H / K * d]`, `dk`, `dv`: `[T, d]`, all three for this head and added to.
    pub fn attend_backward(
        saved: Saved<'_>, d_out: &[f32], heads: Heads, kv_head: usize,
        dq: &mut [f32], dk: &mut [f32], dv: &mut [f32],
    ) {
        let (dim, group, scale) = (heads.dim, heads.query / heads.kv, heads.scale());
        let (q_stride, kv_stride) = (heads.query * dim, heads.kv * dim);
        let tokens = saved.lse.len() / heads.query;
        let kv_at = |t: usize| t * kv_stride + kv_head * dim..t * kv_stride + (kv_head + 1) * dim;
        for t in 0..tokens {
            for g in 0..group {
                let head = kv_head * group + g;
                let at = t * q_stride + head * dim..t * q_stride + (head + 1) * dim;
                let (q, out, d_out) = (&saved.q[at.clone()], &saved.out[at.clone()], &d_out[at]);
                let lse = saved.lse[t * heads.query + head];
                let delta = dot(d_out, out);
                let dq = &mut dq[(t * group + g) * dim..(t * group + g + 1) * dim];
                for j in 0..=t {
                    let (key, value) = (&saved.k[kv_at(j)], &saved.v[kv_at(j)]);
                    let weight = exp(dot(q, key) * scale - lse);
                    let d_score = weight * (dot(d_out, value) - delta) * scale;
                    axpy(weight, d_out, &mut dv[j * dim..(j + 1) * dim]);
                    axpy(d_score, key, dq);
                    axpy(d_score, q, &mut dk[j * dim..(j + 1) * dim]);
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

    fn forward(q: &[f32], k: &[f32], v: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut out, mut lse, mut scratch) = (vec![0.0; q.len()], vec![0.0; TOKENS * 4], Vec::new());
        for t in 0..TOKENS {
            let span = Span { keys: &k[..(t + 1) * 6], values: &v[..(t + 1) * 6] };
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
        let (q, k, v) = (numbers(12, 1), numbers(30, 2), numbers(30, 3));
        let run = |cuts: &[usize]| {
            let mut spans = Vec::new();
            let mut from = 0;
            for &to in cuts {
                spans.push(Span { keys: &k[from * 6..to * 6], values: &v[from * 6..to * 6] });
                from = to;
            }
            let (mut out, mut lse) = (vec![0.0; 12], vec![0.0; 4]);
            attend(&q, &spans, HEADS, &mut Vec::new(), &mut out, &mut lse);
            (out, lse)
        };
        assert_eq!(run(&[5]), run(&[1, 3, 5]));
    }

    #[test]
    fn backward_agrees_with_finite_differences() {
        let (q, k, v, d_out) = (numbers(60, 1), numbers(30, 2), numbers(30, 3), numbers(60, 4));
        let (out, lse) = forward(&q, &k, &v);
        let saved = Saved { q: &q, k: &k, v: &v, out: &out, lse: &lse };
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
            attend_backward(saved, &d_out, HEADS, kv_head, &mut dq, &mut dk, &mut dv);
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
