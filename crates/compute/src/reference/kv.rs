//! Keys and values of a sequence: one list per layer, copied by a fork.

use std::ops::Range;

/// Keys and values of one sequence in every layer.
#[derive(Debug, Clone)]
pub struct KvSeq {
    kv_width: usize,
    layers: Vec<[Vec<f32>; 2]>,
}

impl KvSeq {
    pub(super) fn new(layers: usize, kv_width: usize) -> Self {
        Self { kv_width, layers: vec![[Vec::new(), Vec::new()]; layers] }
    }

    pub(super) fn len(&self) -> usize {
        self.layers.first().map_or(0, |[keys, _]| keys.len() / self.kv_width)
    }

    pub(super) fn fork(&self, len: usize) -> Self {
        assert!(len <= self.len(), "a fork at {len} of a sequence of {} positions", self.len());
        let first = |values: &Vec<f32>| values[..len * self.kv_width].to_vec();
        let layers = self.layers.iter().map(|layer| layer.each_ref().map(first)).collect();
        Self { kv_width: self.kv_width, layers }
    }

    pub(super) fn push(&mut self, layer: usize, k: &[f32], v: &[f32], rows: Range<usize>) {
        let at = rows.start * self.kv_width..rows.end * self.kv_width;
        let [keys, values] = &mut self.layers[layer];
        keys.extend_from_slice(&k[at.clone()]);
        values.extend_from_slice(&v[at]);
    }

    /// Keys and values of a layer. `[len, K d]` each
    pub(super) fn layer(&self, layer: usize) -> [&[f32]; 2] {
        self.layers[layer].each_ref().map(Vec::as_slice)
    }
}
