//! Backward pass.

use super::{Heads, LANES, push_keys};
use crate::isa::multiversion;
use crate::math::{axpy, exp};

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
