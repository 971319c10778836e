//! Backward pass: blocks of query rows against chunks of positions.

use super::tile::{Blocks, ROWS, Rows, Weights, dots, weigh, weigh_ragged};
use super::{Heads, LANES};
use crate::isa::multiversion;
use crate::math::{dot, exp};

/// Positions of a chunk.
const CHUNK: usize = 128;

/// Query rows of a block.
const BLOCK: usize = 6 * ROWS;

/// Floats from one row's scores to the next's. Not a power of two: columns are read as well.
const STRIDE: usize = CHUNK + LANES;

/// Inputs of the backward pass of one sequence, whose T queries are its last positions: P positions, the
/// sequence's prefix, come before them.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a> {
    /// Queries, after rope. `[T, H * d]`
    pub q: &'a [f32],
    /// Keys after rope, of the prefix and of the sequence. `[P, K * d]`, `[T, K * d]`
    pub k: [&'a [f32]; 2],
    /// Values, likewise.
    pub v: [&'a [f32]; 2],
    /// Outputs. `[T, H * d]`
    pub out: &'a [f32],
    /// Log-sum-exp. `[T, H]`
    pub lse: &'a [f32],
}

multiversion! {
    /// Backward of [`attend`](super::attend) over one whole sequence, for one key/value head:
    /// p = exp(q k scale - lse), dv += p do, ds = p (do . v - do . out) scale, dq += ds k, dk += ds q.
    ///
    /// # Shapes
    /// `d_out`: `[T, H * d]`; `dq`: `[T, H / K * d]`, `dk`, `dv`: `[P + T, d]`, all three for this head and
    /// added to; `scratch`: any.
    #[allow(clippy::too_many_arguments)]
    pub fn attend_backward(
        saved: Saved<'_>, d_out: &[f32], heads: Heads, kv_head: usize, scratch: &mut Vec<f32>,
        dq: &mut [f32], dk: &mut [f32], dv: &mut [f32],
    ) {
        let dim = heads.dim;
        let (prefix, rows) = ((dk.len() - dq.len() / heads.group()) / dim, dq.len() / dim);
        let pass = Pass { saved, d_out, heads, kv_head, prefix };
        let mut scratch = Scratch::new(scratch, rows, dim);
        for row in 0..rows {
            let at = pass.head(row) * dim..(pass.head(row) + 1) * dim;
            scratch.deltas[row] = dot(&d_out[at.clone()], &saved.out[at]);
        }
        for (index, (dk, dv)) in dk.chunks_mut(CHUNK * dim).zip(dv.chunks_mut(CHUNK * dim)).enumerate() {
            let chunk = index * CHUNK..index * CHUNK + dk.len() / dim;
            pass.load_positions(chunk.start, chunk.len(), &mut scratch);
            let first = chunk.start.saturating_sub(prefix) * heads.group();
            for row in (first..rows).step_by(BLOCK) {
                let block = Block { pass: &pass, row, rows: BLOCK.min(rows - row), from: chunk.start, len: chunk.len() };
                block.run(&mut scratch, &mut dq[row * dim..], dk, dv);
            }
        }
    }
}

/// Working memory: of the whole pass, of a chunk of positions, and of a block of rows.
struct Scratch<'a> {
    /// do . out of every row.
    deltas: &'a mut [f32],
    /// Keys. `[CHUNK, d]`
    keys: &'a mut [f32],
    /// Keys and values in blocks. `[CHUNK / 16, d, 16]`
    key_blocks: &'a mut [f32],
    value_blocks: &'a mut [f32],
    /// Queries and gradients of the outputs. `[BLOCK, d]`
    q: &'a mut [f32],
    d_out: &'a mut [f32],
    /// p and ds. `[BLOCK, STRIDE]`
    weights: &'a mut [f32],
    d_scores: &'a mut [f32],
}

impl<'a> Scratch<'a> {
    #[inline(always)]
    fn new(memory: &'a mut Vec<f32>, rows: usize, dim: usize) -> Self {
        let needed = rows + (3 * CHUNK + 2 * BLOCK) * dim + 2 * BLOCK * STRIDE;
        if memory.len() < needed {
            memory.resize(needed, 0.0);
        }
        let (deltas, rest) = memory.split_at_mut(rows);
        let (keys, rest) = rest.split_at_mut(CHUNK * dim);
        let (key_blocks, rest) = rest.split_at_mut(CHUNK * dim);
        let (value_blocks, rest) = rest.split_at_mut(CHUNK * dim);
        let (q, rest) = rest.split_at_mut(BLOCK * dim);
        let (d_out, rest) = rest.split_at_mut(BLOCK * dim);
        let (weights, rest) = rest.split_at_mut(BLOCK * STRIDE);
        Self {
            deltas,
            keys,
            key_blocks,
            value_blocks,
            q,
            d_out,
            weights,
            d_scores: &mut rest[..BLOCK * STRIDE],
        }
    }
}

/// One call. Rows are counted token by token and within a token head by head.
struct Pass<'a> {
    saved: Saved<'a>,
    d_out: &'a [f32],
    heads: Heads,
    kv_head: usize,
    /// P.
    prefix: usize,
}

impl Pass<'_> {
    /// Index of a row among all heads of all tokens.
    #[inline(always)]
    fn head(&self, row: usize) -> usize {
        let group = self.heads.group();
        row / group * self.heads.query + self.kv_head * group + row % group
    }

    /// Positions that a row sees.
    #[inline(always)]
    fn seen(&self, row: usize) -> usize {
        self.prefix + row / self.heads.group() + 1
    }

    /// This head's floats of a position.
    #[inline(always)]
    fn of_position<'a>(&self, [before, own]: [&'a [f32]; 2], position: usize) -> &'a [f32] {
        let Heads { kv, dim, .. } = self.heads;
        let (rows, row) =
            if position < self.prefix { (before, position) } else { (own, position - self.prefix) };
        &rows[(row * kv + self.kv_head) * dim..][..dim]
    }

    /// Brings keys and values of `len` positions together.
    #[inline(always)]
    fn load_positions(&self, from: usize, len: usize, scratch: &mut Scratch) {
        let dim = self.heads.dim;
        for i in 0..len {
            let key = self.of_position(self.saved.k, from + i);
            let value = self.of_position(self.saved.v, from + i);
            scratch.keys[i * dim..(i + 1) * dim].copy_from_slice(key);
            let at = i / LANES * LANES * dim + i % LANES;
            let slots = scratch.key_blocks[at..].iter_mut().step_by(LANES);
            slots.zip(key).for_each(|(slot, x)| *slot = *x);
            let slots = scratch.value_blocks[at..].iter_mut().step_by(LANES);
            slots.zip(value).for_each(|(slot, x)| *slot = *x);
        }
    }
}

/// `rows` rows from `row` on against `len` positions from `from` on; each sees the first of them.
struct Block<'a> {
    pass: &'a Pass<'a>,
    row: usize,
    rows: usize,
    from: usize,
    len: usize,
}

impl Block<'_> {
    #[inline(always)]
    fn run(&self, scratch: &mut Scratch, dq: &mut [f32], dk: &mut [f32], dv: &mut [f32]) {
        let dim = self.pass.heads.dim;
        for r in 0..self.rows {
            let (to, from) = (r * dim..(r + 1) * dim, self.pass.head(self.row + r) * dim);
            scratch.q[to.clone()].copy_from_slice(&self.pass.saved.q[from..from + dim]);
            scratch.d_out[to].copy_from_slice(&self.pass.d_out[from..from + dim]);
        }
        self.score(scratch);
        self.add_to_queries(scratch, dq);
        self.add_to_positions(scratch.weights, scratch.d_out, dv);
        self.add_to_positions(scratch.d_scores, scratch.q, dk);
    }

    /// How many of the positions a row sees.
    #[inline(always)]
    fn seen(&self, r: usize) -> usize {
        self.len.min(self.pass.seen(self.row + r) - self.from)
    }

    /// p and ds of all rows; beyond what a row sees lies anything.
    #[inline(always)]
    fn score(&self, scratch: &mut Scratch) {
        let (heads, scale) = (self.pass.heads, self.pass.heads.scale());
        let (dim, count) = (heads.dim, self.seen(self.rows - 1).div_ceil(LANES));
        let rows = ..self.rows * dim;
        let blocks = |data| Blocks { data, stride: dim * LANES, count };
        dots(&scratch.q[rows], dim, blocks(scratch.key_blocks), 1.0, scratch.weights, STRIDE);
        dots(&scratch.d_out[rows], dim, blocks(scratch.value_blocks), 1.0, scratch.d_scores, STRIDE);
        for r in 0..self.rows {
            let row = self.row + r;
            let (lse, delta) = (self.pass.saved.lse[self.pass.head(row)], scratch.deltas[row]);
            let whole = r * STRIDE..r * STRIDE + self.seen(r).next_multiple_of(LANES);
            let (weights, _) = scratch.weights[whole.clone()].as_chunks_mut::<LANES>();
            let (d_scores, _) = scratch.d_scores[whole].as_chunks_mut::<LANES>();
            for (weights, d_scores) in weights.iter_mut().zip(d_scores) {
                for i in 0..LANES {
                    weights[i] = exp(weights[i].mul_add(scale, -lse));
                    d_scores[i] = weights[i] * (d_scores[i] - delta) * scale;
                }
            }
        }
    }

    /// dq_r += sum_j ds_rj k_j, in the order of the positions.
    #[inline(always)]
    fn add_to_queries(&self, scratch: &Scratch, dq: &mut [f32]) {
        let dim = self.pass.heads.dim;
        for row in (0..self.rows).step_by(ROWS) {
            let rows = ROWS.min(self.rows - row);
            let weights =
                Weights { data: &scratch.d_scores[row * STRIDE..], row_stride: STRIDE, col_stride: 1, rows };
            let keys = Rows { data: scratch.keys, stride: dim, width: dim, depth: self.seen(row) };
            let dq = &mut dq[row * dim..(row + rows) * dim];
            weigh(weights, keys, dq, dim);
            weigh_ragged(weights, keys, |r| self.seen(row + r), dq);
        }
    }

    /// sums_j += sum_r weight_rj row_r, in the order of the rows.
    #[inline(always)]
    fn add_to_positions(&self, weights: &[f32], rows: &[f32], sums: &mut [f32]) {
        let dim = self.pass.heads.dim;
        // sums of `count` positions from `j` on, over the rows `from..to`
        let mut add = |j: usize, count: usize, from: usize, to: usize| {
            let weights = Weights {
                data: &weights[from * STRIDE + j..],
                row_stride: 1,
                col_stride: STRIDE,
                rows: count,
            };
            let rows = Rows { data: &rows[from * dim..], stride: dim, width: dim, depth: to - from };
            weigh(weights, rows, &mut sums[j * dim..(j + count) * dim], dim);
        };
        let (common, all) = (self.seen(0), self.seen(self.rows - 1));
        add(0, common, 0, self.rows);
        // the first row that sees a position
        let first = |j: usize| (self.from + j - self.pass.prefix) * self.pass.heads.group() - self.row;
        for j in (common..all).step_by(ROWS) {
            let count = ROWS.min(all - j);
            let last = first(j + count - 1);
            for one in j..j + count - 1 {
                add(one, 1, first(one), last);
            }
            add(j, count, last, self.rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::{self, SavedHead};
    use super::super::tests::numbers;
    use super::*;

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|x| x.to_bits()).collect()
    }

    /// Compares both functions for every key/value head of one sequence after a prefix.
    fn compare(heads: Heads, prefix: usize, tokens: usize, k: &[f32], v: &[f32]) {
        let Heads { query, kv, dim } = heads;
        let (q, out) = (numbers(tokens * query * dim, 1), numbers(tokens * query * dim, 2));
        let (d_out, lse) = (numbers(tokens * query * dim, 3), numbers(tokens * query, 4));
        // what an earlier call left in the scratch must not show
        let mut scratch = vec![f32::NAN; 100_000];
        for kv_head in 0..kv {
            let of_head = |x: &[f32]| -> Vec<f32> {
                x.chunks_exact(kv * dim).flat_map(|row| row[kv_head * dim..][..dim].to_vec()).collect()
            };
            let (k_head, v_head) = (of_head(k), of_head(v));
            // both add to what is there
            let start = [
                numbers(tokens * heads.group() * dim, 5),
                numbers((prefix + tokens) * dim, 6),
                numbers((prefix + tokens) * dim, 7),
            ];
            let [mut dq, mut dk, mut dv] = start.clone();
            let saved = SavedHead { q: &q, k: &k_head, v: &v_head, out: &out, lse: &lse };
            reference::attend_backward(saved, &d_out, heads, kv_head, &mut dq, &mut dk, &mut dv);
            let expected = [dq, dk, dv].map(|d| bits(&d));
            let [mut dq, mut dk, mut dv] = start;
            let (k, v) = (k.split_at(prefix * kv * dim), v.split_at(prefix * kv * dim));
            let saved = Saved { q: &q, k: [k.0, k.1], v: [v.0, v.1], out: &out, lse: &lse };
            attend_backward(saved, &d_out, heads, kv_head, &mut scratch, &mut dq, &mut dk, &mut dv);
            for (found, (expected, name)) in [dq, dk, dv].iter().zip(expected.iter().zip(["q", "k", "v"])) {
                assert!(bits(found) == *expected, "d{name}: {heads:?}, {prefix} + {tokens}");
            }
        }
    }

    #[test]
    fn blocks_of_rows_give_the_bits_of_each_row_alone() {
        for dim in [1, 3, 14, 16, 24, 32, 64, 80, 128] {
            for (group, kv) in [(1, 3), (2, 2), (3, 1), (4, 2), (7, 1)] {
                let heads = Heads { query: group * kv, kv, dim };
                for tokens in 1..=40 {
                    let prefix = [0, 1, 16, 37][tokens % 4];
                    let floats = (prefix + tokens) * kv * dim;
                    compare(heads, prefix, tokens, &numbers(floats, 8), &numbers(floats, 9));
                }
            }
        }
    }

    #[test]
    fn several_chunks_of_positions() {
        let heads = Heads { query: 4, kv: 2, dim: 18 };
        for (prefix, tokens) in [(0, CHUNK), (0, 2 * CHUNK + 5), (CHUNK, 17), (3 * CHUNK - 1, 150), (5, 0)] {
            let floats = (prefix + tokens) * 36;
            compare(heads, prefix, tokens, &numbers(floats, 8), &numbers(floats, 9));
        }
    }

    #[test]
    fn what_a_row_does_not_see_cannot_poison_it() {
        let heads = Heads { query: 2, kv: 1, dim: 5 };
        let tokens = 45;
        let (k, v) = (numbers(tokens * 5, 8), numbers(tokens * 5, 9));
        let run = |k: &[f32], v: &[f32]| {
            let (q, out, d_out) = (numbers(450, 1), numbers(450, 2), numbers(450, 3));
            let (mut dq, mut dk, mut dv) = (vec![0.0; 450], vec![0.0; 225], vec![0.0; 225]);
            let saved = Saved { q: &q, k: [&[], k], v: [&[], v], out: &out, lse: &numbers(90, 4) };
            attend_backward(saved, &d_out, heads, 0, &mut Vec::new(), &mut dq, &mut dk, &mut dv);
            dq
        };
        let clean = run(&k, &v);
        for seen in 1..tokens {
            let (mut bad_k, mut bad_v) = (k.clone(), v.clone());
            bad_k[seen * 5..].fill(f32::NAN);
            bad_v[seen * 5..].fill(f32::INFINITY);
            let dq = run(&bad_k, &bad_v);
            assert_eq!(bits(&dq[..seen * 10]), bits(&clean[..seen * 10]));
            assert!(dq[seen * 10..].iter().all(|x| x.is_nan()));
        }
    }
}
