//! Attention forward: which keys and values each row sees, cut among threads.

use std::cell::RefCell;

use rayon::prelude::*;
use thinktune_compute::{Heads, RowLayout};

use super::handle::{Cpu, ROWS};
use super::kv::{KvSeq, LayerKv, MOST_SEGMENTS};
use crate::attention::{Span, attend};

thread_local! {
    /// Scores of the rows that a thread attends for.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    /// Log-sum-exps that nobody reads: there is no backward pass over cached keys.
    static UNREAD: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Rows of consecutive tokens of one sequence: row i sees all of `before` and the first `first + i + 1`
/// positions of `own`.
#[derive(Debug, Clone, Copy)]
struct Run<'a> {
    rows: usize,
    before: [Span<'a>; MOST_SEGMENTS - 1],
    own: Span<'a>,
    first: usize,
}

/// Some rows of a run: one parallel task.
struct Piece<'a> {
    run: Run<'a>,
    first: usize,
    q: &'a [f32],
    out: &'a mut [f32],
    lse: &'a mut [f32],
}

impl Cpu {
    /// See [`Backend::attend`](thinktune_compute::Backend::attend).
    pub(super) fn attend_spans(
        &self,
        plan: &RowLayout,
        heads: Heads,
        [q, k, v]: [&Vec<f32>; 3],
        out: &mut Vec<f32>,
        lse: &mut Vec<f32>,
    ) {
        let width = heads.kv_width();
        let blocked: Vec<LayerKv> = plan
            .spans
            .par_iter()
            .map(|span| {
                let at = span.rows.start * width..span.rows.end * width;
                let mut keys_and_values = LayerKv::default();
                keys_and_values.extend(&k[at.clone()], &v[at], width);
                keys_and_values
            })
            .collect();
        let runs = plan.spans.iter().zip(&blocked).map(|(span, own)| {
            let mut before = [Span::default(); MOST_SEGMENTS - 1];
            before[0] = span.prefix.map(|prefix| blocked[prefix].span()).unwrap_or_default();
            Run { rows: span.rows.len(), before, own: own.span(), first: 0 }
        });
        self.attend_runs(heads, q, runs, out, lse);
    }

    /// See [`Backend::attend_cached`](thinktune_compute::Backend::attend_cached).
    pub(super) fn attend_sequences(
        &self,
        plan: &RowLayout,
        layer: usize,
        heads: Heads,
        q: &[f32],
        seqs: &[&mut KvSeq],
        out: &mut Vec<f32>,
    ) {
        let runs = plan.spans.iter().zip(seqs).map(|(span, seq)| {
            let [before @ .., own] = seq.spans(layer);
            Run { rows: span.rows.len(), before, own, first: own.len - span.rows.len() }
        });
        let mut lse = UNREAD.take();
        self.attend_runs(heads, q, runs, out, &mut lse);
        UNREAD.set(lse);
    }

    /// Attention of every row; `runs`, one after another, are all rows.
    fn attend_runs<'s>(
        &self,
        heads: Heads,
        q: &'s [f32],
        runs: impl Iterator<Item = Run<'s>>,
        out: &'s mut Vec<f32>,
        lse: &'s mut Vec<f32>,
    ) {
        let (stride, rows) = (heads.q_width(), q.len() / heads.q_width());
        out.resize(rows * stride, 0.0);
        lse.resize(rows * heads.query, 0.0);
        let mut pieces = Vec::new();
        let (mut q, mut out, mut lse) = (q, out.as_mut_slice(), lse.as_mut_slice());
        for run in runs {
            for from in (0..run.rows).step_by(ROWS) {
                let rows = ROWS.min(run.rows - from);
                let (piece_q, piece_out, piece_lse);
                (piece_q, q) = q.split_at(rows * stride);
                (piece_out, out) = out.split_at_mut(rows * stride);
                (piece_lse, lse) = lse.split_at_mut(rows * heads.query);
                pieces.push(Piece {
                    run,
                    first: run.first + from,
                    q: piece_q,
                    out: piece_out,
                    lse: piece_lse,
                });
            }
        }
        debug_assert!(q.is_empty(), "the runs are all rows");
        self.threads().chunks_mut(&mut pieces, 1, |_, pieces| {
            for Piece { run, first, q, out, lse } in pieces {
                SCRATCH.with_borrow_mut(|scratch| {
                    attend(q, &run.before, run.own, *first, heads, scratch, out, lse);
                });
            }
        });
    }
}
