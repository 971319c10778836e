//! Keys and values of sequences: a chain of segments, so that a fork copies nothing.

use std::ops::Range;
use std::sync::Arc;

use crate::attention::{Span, push_keys};

/// Segments of a chain, at most: the last ones of a longer chain are joined.
pub(super) const MOST_SEGMENTS: usize = 4;

/// Keys and values of one sequence in every layer.
#[derive(Debug, Clone)]
pub struct KvSeq {
    /// Segments shared with other sequences, as far as this one reads them; one fewer than [`MOST_SEGMENTS`] at most.
    before: Vec<(Arc<Segment>, usize)>,
    /// Grows, as long as no other sequence reads it.
    own: Arc<Segment>,
    /// K d.
    kv_width: usize,
}

/// Keys and values of consecutive positions in every layer.
#[derive(Debug, Clone, Default)]
struct Segment {
    layers: Vec<LayerKv>,
}

/// Keys and values of one layer.
#[derive(Debug, Clone, Default)]
pub(super) struct LayerKv {
    /// `[ceil(len / 16), K d, 16]`
    keys: Vec<f32>,
    /// `[len, K d]`
    values: Vec<f32>,
    len: usize,
}

impl LayerKv {
    /// Appends rows of keys and values, `[T, kv_width]`.
    pub(super) fn extend(&mut self, keys: &[f32], values: &[f32], kv_width: usize) {
        push_keys(&mut self.keys, self.len, keys, kv_width);
        self.values.extend_from_slice(values);
        self.len += values.len() / kv_width;
    }

    /// All positions.
    pub(super) fn span(&self) -> Span<'_> {
        Span { keys: &self.keys, values: &self.values, len: self.len }
    }
}

impl Segment {
    fn new(layers: usize) -> Self {
        Self { layers: vec![LayerKv::default(); layers] }
    }

    fn len(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.len)
    }
}

impl KvSeq {
    pub(super) fn new(layers: usize, kv_width: usize) -> Self {
        Self { before: Vec::new(), own: Arc::new(Segment::new(layers)), kv_width }
    }

    pub(super) fn len(&self) -> usize {
        self.before.iter().map(|(_, len)| len).sum::<usize>() + self.own.len()
    }

    /// A sequence that begins with the first `len` positions; segments are shared.
    pub(super) fn fork(&self, len: usize) -> Self {
        assert!(len <= self.len(), "a fork at {len} of a sequence of {} positions", self.len());
        let mut left = len;
        let mut before = Vec::with_capacity(MOST_SEGMENTS);
        for (segment, len) in
            self.before.iter().map(|(s, len)| (s, *len)).chain([(&self.own, self.own.len())])
        {
            let taken = left.min(len);
            if taken > 0 {
                before.push((Arc::clone(segment), taken));
            }
            left -= taken;
        }
        let mut fork =
            Self { before, own: Arc::new(Segment::new(self.own.layers.len())), kv_width: self.kv_width };
        fork.shorten();
        fork
    }

    /// Appends rows of keys and values, `[T, K d]`.
    pub(super) fn push(&mut self, layer: usize, k: &[f32], v: &[f32], rows: Range<usize>) {
        if Arc::get_mut(&mut self.own).is_none() {
            // another sequence reads it: go on behind it
            let layers = self.own.layers.len();
            let shared = std::mem::replace(&mut self.own, Arc::new(Segment::new(layers)));
            let len = shared.len();
            self.before.push((shared, len));
            self.shorten();
        }
        let at = rows.start * self.kv_width..rows.end * self.kv_width;
        if let Some(own) = Arc::get_mut(&mut self.own) {
            own.layers[layer].extend(&k[at.clone()], &v[at], self.kv_width);
        }
    }

    /// Joins the last shared segments until there is room for `own` beside them.
    fn shorten(&mut self) {
        while self.before.len() >= MOST_SEGMENTS {
            let parts = self.before.split_off(self.before.len() - 2);
            let len = parts.iter().map(|(_, len)| len).sum();
            let mut joined = Segment::new(self.own.layers.len());
            for (segment, len) in &parts {
                for (to, from) in joined.layers.iter_mut().zip(&segment.layers) {
                    let keys = unblocked(&from.keys, *len, self.kv_width);
                    to.extend(&keys, &from.values[..len * self.kv_width], self.kv_width);
                }
            }
            self.before.push((Arc::new(joined), len));
        }
    }

    /// The spans of a layer, in order; unused ones are empty. The last is `own`.
    pub(super) fn spans(&self, layer: usize) -> [Span<'_>; MOST_SEGMENTS] {
        let mut spans = [Span::default(); MOST_SEGMENTS];
        for (span, (segment, len)) in spans.iter_mut().zip(&self.before) {
            *span = Span { len: *len, ..segment.layers[layer].span() };
        }
        spans[MOST_SEGMENTS - 1] = self.own.layers[layer].span();
        spans
    }
}

/// The first `len` rows of keys that lie in blocks. `[ceil(len / 16), K d, 16] -> [len, K d]`
fn unblocked(blocks: &[f32], len: usize, kv_width: usize) -> Vec<f32> {
    use crate::attention::LANES;
    let mut rows = vec![0.0; len * kv_width];
    for (position, row) in rows.chunks_exact_mut(kv_width).enumerate() {
        let block = &blocks[position / LANES * LANES * kv_width..];
        for (component, x) in row.iter_mut().enumerate() {
            *x = block[component * LANES + position % LANES];
        }
    }
    rows
}
