//! Forward pass: blocks of query rows against the positions they see.

use super::tile::{Blocks, ROWS, Rows, Weights, dots, weigh, weigh_ragged};
use super::{Heads, LANES, Span};
use crate::isa::multiversion;
use crate::math::{exp, max, sum};

/// Query rows of a block, at most.
const BLOCK: usize = 4 * ROWS;

/// Scores of a block, at most, where more than one tile would hold more: what stays near.
const SCORES: usize = 24 << 10;

multiversion! {
    /// Attention of R consecutive tokens. Row i sees all positions of `before` and the first
    /// `first + i + 1` positions of `own`, its own being the last of them; what lies beyond does not reach it.
    ///
    /// # Shapes
    /// `q`, `out`: `[R, H * d]`; `lse`: `[R, H]`, the log-sum-exp of the scaled scores; `scratch`: any.
    #[allow(clippy::too_many_arguments)]
    pub fn attend(
        q: &[f32], before: &[Span<'_>], own: Span<'_>, first: usize, heads: Heads,
        scratch: &mut Vec<f32>, out: &mut [f32], lse: &mut [f32],
    ) {
        let rows = lse.len() / heads.query * heads.group();
        let before_len: usize = before.iter().map(|span| span.len).sum();
        let shared = before_len + first;
        let stride = shared + rows / heads.group() + LANES;
        let height = (SCORES / stride / ROWS * ROWS).clamp(ROWS, BLOCK);
        let needed = height.min(rows) * (stride + 2 * heads.dim);
        if scratch.len() < needed {
            scratch.resize(needed, 0.0);
        }
        for kv_head in 0..heads.kv {
            for row in (0..rows).step_by(height) {
                let rows = height.min(rows - row);
                let block = Block { heads, before, before_len, own, shared, kv_head, row, rows, stride };
                block.run(q, scratch, out, lse);
            }
        }
    }
}

/// Consecutive rows of one key/value head, counted token by token and within a token head by head.
struct Block<'a> {
    heads: Heads,
    before: &'a [Span<'a>],
    own: Span<'a>,
    /// Positions in `before`.
    before_len: usize,
    /// Positions that every token sees beside its own and its predecessors' in the call.
    shared: usize,
    kv_head: usize,
    row: usize,
    rows: usize,
    /// Floats from one row's scores to the next's.
    stride: usize,
}

impl Block<'_> {
    #[inline(always)]
    fn run(&self, q: &[f32], scratch: &mut [f32], out: &mut [f32], lse: &mut [f32]) {
        let dim = self.heads.dim;
        let (queries, scratch) = scratch.split_at_mut(self.rows * dim);
        let (sums, scores) = scratch.split_at_mut(self.rows * dim);
        for (r, query) in queries.chunks_exact_mut(dim).enumerate() {
            query.copy_from_slice(&q[self.head(r) * dim..][..dim]);
        }
        self.score(queries, scores);
        let mut totals = [0.0f32; BLOCK];
        for r in 0..self.rows {
            let seen = self.seen(r);
            let scores = &mut scores[r * self.stride..][..seen.next_multiple_of(LANES)];
            let (max, total) = softmax(scores.as_chunks_mut().0, seen % LANES);
            lse[self.head(r)] = max + total.ln();
            totals[r] = total;
        }
        sums.fill(0.0);
        self.weigh_values(scores, sums);
        for (r, sums) in sums.chunks_exact(dim).enumerate() {
            let inverse = 1.0 / totals[r];
            for (out, sum) in out[self.head(r) * dim..][..dim].iter_mut().zip(sums) {
                *out = sum * inverse;
            }
        }
    }

    /// Index of a row among all heads of all tokens.
    #[inline(always)]
    fn head(&self, r: usize) -> usize {
        let (row, group) = (self.row + r, self.heads.group());
        row / group * self.heads.query + self.kv_head * group + row % group
    }

    /// Positions that a row sees.
    #[inline(always)]
    fn seen(&self, r: usize) -> usize {
        self.shared + (self.row + r) / self.heads.group() + 1
    }

    /// Calls `visit` with the spans before, whole, then with the row's own as far as `seen` reaches, each
    /// with its first position.
    #[inline(always)]
    fn each_span(&self, seen: usize, mut visit: impl FnMut(usize, Span<'_>)) {
        let mut from = 0;
        for index in 0..=self.before.len() {
            let span = self.before.get(index).copied().unwrap_or(self.own);
            let len = span.len.min(seen - from);
            if len > 0 {
                visit(from, Span { len, ..span });
            }
            from += len;
        }
    }

    /// Scaled scores of all rows. Beyond what a row sees lies what its neighbours see, and less.
    #[inline(always)]
    fn score(&self, queries: &[f32], scores: &mut [f32]) {
        let Heads { kv, dim, .. } = self.heads;
        // what a block of keys holds beyond its span is overwritten by the next span
        self.each_span(self.seen(self.rows - 1), |from, span| {
            let keys = Blocks {
                data: &span.keys[self.kv_head * dim * LANES..],
                stride: kv * dim * LANES,
                count: span.len.div_ceil(LANES),
            };
            dots(queries, dim, keys, self.heads.scale(), &mut scores[from..], self.stride);
        });
    }

    /// sums_r += sum_j weight_rj value_j, in the order of the positions.
    #[inline(always)]
    fn weigh_values(&self, weights: &[f32], sums: &mut [f32]) {
        let Heads { kv, dim, .. } = self.heads;
        for row in (0..self.rows).step_by(ROWS) {
            let rows = ROWS.min(self.rows - row);
            let common = self.seen(row);
            let sums = &mut sums[row * dim..(row + rows) * dim];
            let weights = &weights[row * self.stride..];
            self.each_span(common, |from, span| {
                let values = Rows {
                    data: &span.values[self.kv_head * dim..],
                    stride: kv * dim,
                    width: dim,
                    depth: span.len,
                };
                let weights =
                    Weights { data: &weights[from..], row_stride: self.stride, col_stride: 1, rows };
                weigh(weights, values, sums, dim);
            });
            // what later tokens of the tile see beyond the first is their own
            let values = Rows {
                data: &self.own.values[self.kv_head * dim..],
                stride: kv * dim,
                width: dim,
                depth: common - self.before_len,
            };
            let weights =
                Weights { data: &weights[self.before_len..], row_stride: self.stride, col_stride: 1, rows };
            weigh_ragged(weights, values, |r| self.seen(row + r) - self.before_len, sums);
        }
    }
}

/// Replaces scores by exp(score - max); returns max and the sum. Of the last of the blocks only the first
/// `rest` are scores, if any.
#[inline(always)]
fn softmax(blocks: &mut [[f32; LANES]], rest: usize) -> (f32, f32) {
    let whole = if rest > 0 { blocks.len() - 1 } else { blocks.len() };
    let (blocks, last) = blocks.split_at_mut(whole);
    let masked = |block: &[f32; LANES], other: f32| -> [f32; LANES] {
        std::array::from_fn(|i| if i < rest { block[i] } else { other })
    };
    // the rest first, as `math::max` does, so that of 0 and -0 the same wins
    let mut best = match last {
        [last] => {
            masked(last, f32::NEG_INFINITY).map(|x| if x > f32::NEG_INFINITY { x } else { f32::NEG_INFINITY })
        }
        _ => [f32::NEG_INFINITY; LANES],
    };
    for block in blocks.iter() {
        for i in 0..LANES {
            best[i] = if block[i] > best[i] { block[i] } else { best[i] };
        }
    }
    let max = max(&best);
    // lane by lane in the order of `math::sum`
    let mut total = [0.0f32; LANES];
    for block in blocks {
        for i in 0..LANES {
            block[i] = exp(block[i] - max);
            total[i] += block[i];
        }
    }
    for block in last {
        for i in 0..LANES {
            block[i] = exp(block[i] - max);
        }
        // no sum so far is -0: adding 0 leaves it as it is
        let seen = masked(block, 0.0);
        for i in 0..LANES {
            total[i] += seen[i];
        }
    }
    (max, sum(&total))
}

#[cfg(test)]
mod tests {
    use super::super::tests::numbers;
    use super::super::{push_keys, reference};
    use super::*;

    /// Keys, blocked, and values of consecutive positions.
    struct Cache {
        keys: Vec<f32>,
        values: Vec<f32>,
        len: usize,
    }

    impl Cache {
        fn new(len: usize, heads: Heads, seed: usize) -> Self {
            let stride = heads.kv * heads.dim;
            let mut keys = Vec::new();
            push_keys(&mut keys, 0, &numbers(len * stride, seed), stride);
            Self { keys, values: numbers(len * stride, seed + 1), len }
        }

        fn first(&self, len: usize) -> Span<'_> {
            Span { keys: &self.keys, values: &self.values, len }
        }
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|x| x.to_bits()).collect()
    }

    /// Attention of all tokens of `own`, in calls of `step` tokens.
    fn blocked(q: &[f32], before: &[Span<'_>], own: &Cache, heads: Heads, step: usize) -> [Vec<u32>; 2] {
        let width = heads.query * heads.dim;
        let (mut out, mut lse) = (vec![f32::NAN; q.len()], vec![f32::NAN; own.len * heads.query]);
        // what an earlier call left in the scratch must not show
        let mut scratch = vec![f32::NAN; 100];
        for first in (0..own.len).step_by(step) {
            let next = own.len.min(first + step);
            let (out, lse) =
                (&mut out[first * width..next * width], &mut lse[first * heads.query..next * heads.query]);
            let q = &q[first * width..next * width];
            attend(q, before, own.first(own.len), first, heads, &mut scratch, out, lse);
        }
        [bits(&out), bits(&lse)]
    }

    /// The same, token by token.
    fn one_by_one(q: &[f32], before: &[Span<'_>], own: &Cache, heads: Heads) -> [Vec<u32>; 2] {
        let (mut out, mut lse) = (vec![0.0; q.len()], vec![0.0; own.len * heads.query]);
        let rows = out.chunks_exact_mut(heads.query * heads.dim).zip(lse.chunks_exact_mut(heads.query));
        for (t, (out, lse)) in rows.enumerate() {
            let spans: Vec<_> = before.iter().copied().chain([own.first(t + 1)]).collect();
            let q = &q[t * out.len()..(t + 1) * out.len()];
            reference::attend(q, &spans, heads, &mut Vec::new(), out, lse);
        }
        [bits(&out), bits(&lse)]
    }

    #[test]
    fn a_block_of_rows_gives_the_bits_of_each_row_alone() {
        for dim in [1, 3, 14, 16, 24, 32, 64, 80, 128] {
            for (group, kv) in [(1, 3), (2, 2), (3, 1), (4, 2), (7, 1)] {
                let heads = Heads { query: group * kv, kv, dim };
                let prefixes = [Cache::new(21, heads, 5), Cache::new(16, heads, 7), Cache::new(3, heads, 9)];
                for tokens in 1..=40 {
                    let q = numbers(tokens * heads.query * dim, tokens);
                    let own = Cache::new(tokens, heads, tokens + 1);
                    let before: Vec<_> =
                        prefixes[..tokens % 4].iter().map(|prefix| prefix.first(prefix.len)).collect();
                    let expected = one_by_one(&q, &before, &own, heads);
                    for step in [tokens, tokens.div_ceil(2)] {
                        let found = blocked(&q, &before, &own, heads, step);
                        assert!(found == expected, "d {dim}, group {group}, {tokens} tokens by {step}");
                    }
                }
            }
        }
    }

    #[test]
    fn many_positions_and_empty_spans() {
        let heads = Heads { query: 2, kv: 1, dim: 16 };
        let (before, own) = (Cache::new(1500, heads, 1), Cache::new(61, heads, 3));
        let q = numbers(own.len * 32, 5);
        let before = [Span::default(), before.first(before.len), Span::default()];
        assert!(blocked(&q, &before, &own, heads, 50) == one_by_one(&q, &before, &own, heads));
        attend(&[], &before, own.first(0), 0, heads, &mut Vec::new(), &mut [], &mut []);
    }

    #[test]
    fn what_a_row_does_not_see_cannot_poison_it() {
        let heads = Heads { query: 4, kv: 2, dim: 18 };
        let (stride, tokens) = (36, 23);
        let q = numbers(tokens * 72, 1);
        let clean = Cache::new(tokens, heads, 2);
        let [clean_out, clean_lse] = blocked(&q, &[], &clean, heads, tokens);
        for seen in 1..tokens {
            let mut rows = numbers(tokens * stride, 2);
            rows[seen * stride..].fill(f32::NAN);
            let mut poisoned = Cache::new(tokens, heads, 2);
            poisoned.keys.clear();
            push_keys(&mut poisoned.keys, 0, &rows, stride);
            poisoned.values[seen * stride..].fill(f32::NAN);
            let [out, lse] = blocked(&q, &[], &poisoned, heads, tokens);
            assert_eq!(out[..seen * 72], clean_out[..seen * 72]);
            assert_eq!(lse[..seen * 4], clean_lse[..seen * 4]);
            assert!(out[seen * 72..].iter().all(|&bits| f32::from_bits(bits).is_nan()));
        }
    }
}
