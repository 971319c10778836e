//! Causal grouped-query attention over packed sequences and over the KV cache: the same function
//! computes a token's output in prefill, in decoding and in training. Query rows go through it in blocks,
//! that a key or value loaded once may serve several, but each row's chain of operations is that of a row
//! alone, so the bits are equal. No T x T matrix is kept; the backward pass recomputes the weights from
//! the saved log-sum-exp.
//!
//! Keys lie in blocks of [`LANES`] positions, component by component, so that the scores of a block are
//! one vector: a fixed chain of multiply-adds over the components, whatever the instruction set.

mod backward;
mod forward;
#[cfg(test)]
mod reference;
mod tile;

pub use backward::{Saved, attend_backward};
pub use forward::attend;
pub use thinktune_compute::Heads;

/// Positions of a block of keys.
pub const LANES: usize = 16;

/// Keys and values of consecutive positions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span<'a> {
    /// Keys, after rope: `[ceil(len / 16), K, d, 16]`, see [`push_keys`]. Positions beyond `len` are not read.
    pub keys: &'a [f32],
    /// Values: `[len, K * d]`, possibly longer.
    pub values: &'a [f32],
    /// Number of positions.
    pub len: usize,
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

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: Heads = Heads { query: 4, kv: 2, dim: 3 };
    const TOKENS: usize = 5;

    pub(super) fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 199) as f32 / 100.0 - 1.0).collect()
    }

    fn blocked(k: &[f32]) -> Vec<f32> {
        let mut blocks = Vec::new();
        push_keys(&mut blocks, 0, k, 6);
        blocks
    }

    fn forward(q: &[f32], k: &[f32], v: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut out, mut lse) = (vec![0.0; q.len()], vec![0.0; TOKENS * 4]);
        let keys = blocked(k);
        let own = Span { keys: &keys, values: v, len: TOKENS };
        attend(q, &[], own, 0, HEADS, &mut Vec::new(), &mut out, &mut lse);
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
            let (&own, before) = spans.split_last().expect("a span");
            attend(&q, before, own, own.len - 1, HEADS, &mut Vec::new(), &mut out, &mut lse);
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
            // the first two positions as a prefix of the rest: queries in two calls
            for queries in [0..2, 2..TOKENS] {
                let saved = Saved {
                    q: &q[queries.start * 12..queries.end * 12],
                    k: [&k[..queries.start * 6], &k[queries.start * 6..queries.end * 6]],
                    v: [&v[..queries.start * 6], &v[queries.start * 6..queries.end * 6]],
                    out: &out[queries.start * 12..queries.end * 12],
                    lse: &lse[queries.start * 4..queries.end * 4],
                };
                let dq = &mut dq[queries.start * 6..queries.end * 6];
                let d_out = &d_out[queries.start * 12..queries.end * 12];
                let (dk, dv) = (&mut dk[..queries.end * 3], &mut dv[..queries.end * 3]);
                attend_backward(saved, d_out, HEADS, kv_head, &mut Vec::new(), dq, dk, dv);
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
