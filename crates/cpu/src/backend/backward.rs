//! Attention backward over spans of rows, each with the span that it continues.

use std::ops::Range;

use rayon::prelude::*;
use thinktune_compute::{Attended, Heads, RowLayout};

use super::handle::Cpu;
use crate::attention::{Saved, attend_backward};
use crate::elementwise::add;

impl Cpu {
    /// See [`Backend::attend_backward`](thinktune_compute::Backend::attend_backward).
    pub(super) fn attend_spans_backward(
        &self,
        plan: &RowLayout,
        heads: Heads,
        attended: &Attended<Vec<f32>>,
        d_out: &[f32],
        [dq, dk, dv]: [&mut Vec<f32>; 3],
    ) {
        let group = heads.group();
        let parts: Vec<AttentionPart> = (0..plan.spans.len() * heads.kv)
            .into_par_iter()
            .map_init(Vec::new, |scratch, unit| {
                let (span, kv_head) = (unit / heads.kv, unit % heads.kv);
                let (rows, prefix) = (plan.spans[span].rows.clone(), plan.prefix_rows(span));
                let positions = prefix.len() + rows.len();
                let mut part = AttentionPart {
                    span,
                    kv_head,
                    dq: vec![0.0; rows.len() * group * heads.dim],
                    dk: vec![0.0; positions * heads.dim],
                    dv: vec![0.0; positions * heads.dim],
                };
                let d_out = &d_out[rows.start * heads.q_width()..rows.end * heads.q_width()];
                let saved = saved(attended, heads, rows, prefix);
                let AttentionPart { dq, dk, dv, .. } = &mut part;
                attend_backward(saved, d_out, heads, kv_head, scratch, dq, dk, dv);
                part
            })
            .collect();
        for (d, len) in
            [(&mut *dq, attended.q.len()), (&mut *dk, attended.k.len()), (&mut *dv, attended.v.len())]
        {
            d.clear();
            d.resize(len, 0.0);
        }
        let outputs: Vec<_> = by_span(dq, heads.q_width(), plan)
            .zip(by_span(dk, heads.kv_width(), plan))
            .zip(by_span(dv, heads.kv_width(), plan))
            .collect();
        outputs.into_par_iter().enumerate().for_each(|(span, ((dq, dk), dv))| {
            // in the order of the spans, so that what continues a prefix adds to it in that order
            for part in &parts {
                part.add_to(span, plan, heads, [&mut *dq, &mut *dk, &mut *dv]);
            }
        });
    }
}

/// What the attention of one span read and gave.
fn saved<'a>(
    attended: &Attended<'a, Vec<f32>>,
    heads: Heads,
    rows: Range<usize>,
    prefix: Range<usize>,
) -> Saved<'a> {
    let of = |x: &'a Vec<f32>, rows: &Range<usize>, width: usize| &x[rows.start * width..rows.end * width];
    let (q_width, kv_width) = (heads.q_width(), heads.kv_width());
    Saved {
        q: of(attended.q, &rows, q_width),
        k: [of(attended.k, &prefix, kv_width), of(attended.k, &rows, kv_width)],
        v: [of(attended.v, &prefix, kv_width), of(attended.v, &rows, kv_width)],
        out: of(attended.out, &rows, q_width),
        lse: of(attended.lse, &rows, heads.query),
    }
}

/// Gradients of one span and its prefix by one key/value head.
struct AttentionPart {
    span: usize,
    kv_head: usize,
    /// `[T, H / K * d]`
    dq: Vec<f32>,
    /// `[P + T, d]`
    dk: Vec<f32>,
    dv: Vec<f32>,
}

impl AttentionPart {
    /// Adds what belongs to the rows of `span`.
    fn add_to(&self, span: usize, plan: &RowLayout, heads: Heads, [dq, dk, dv]: [&mut [f32]; 3]) {
        let Heads { query, kv, dim } = heads;
        let (at, prefix) = (self.kv_head * dim, plan.prefix_rows(self.span).len() * dim);
        if self.span == span {
            let width = query / kv * dim;
            scatter(&self.dq, width, dq, query * dim, self.kv_head * width);
            scatter(&self.dk[prefix..], dim, dk, kv * dim, at);
            scatter(&self.dv[prefix..], dim, dv, kv * dim, at);
        } else if plan.spans[self.span].prefix == Some(span) {
            scatter(&self.dk[..prefix], dim, dk, kv * dim, at);
            scatter(&self.dv[..prefix], dim, dv, kv * dim, at);
        }
    }
}

/// Rows of width `width` cut between the spans.
fn by_span<'a>(rows: &'a mut [f32], width: usize, plan: &RowLayout) -> impl Iterator<Item = &'a mut [f32]> {
    let mut rows = rows;
    plan.spans.iter().map(move |span| {
        let own;
        (own, rows) = std::mem::take(&mut rows).split_at_mut(span.rows.len() * width);
        own
    })
}

/// Adds rows of width `width` to columns `at..at + width` of rows of width `stride`.
fn scatter(rows: &[f32], width: usize, out: &mut [f32], stride: usize, at: usize) {
    for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(stride)) {
        add(&mut out[at..at + width], row);
    }
}
