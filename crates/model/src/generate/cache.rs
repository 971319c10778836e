//! Keys and values of consecutive positions, and the prefix that all prompts share.

use std::sync::Arc;

use thinktune_kernels::attention::{LANES, Span, push_keys};
use thinktune_policy::Prompt;

use crate::decoder::{Activations, Decoder, Run, Workspace};

/// A shared prefix shorter than this is not worth a segment of its own.
const SHORTEST_PREAMBLE: usize = 16;

/// Keys and values of consecutive positions in every layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segment {
    layers: Vec<LayerCache>,
}

/// Keys and values of one layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct LayerCache {
    /// `[ceil(len / 16), K d, 16]`
    keys: Vec<f32>,
    /// `[len, K d]`
    values: Vec<f32>,
    len: usize,
}

impl LayerCache {
    /// Appends rows of keys and values, `[T, stride]`.
    pub(crate) fn extend(&mut self, keys: &[f32], values: &[f32], stride: usize) {
        push_keys(&mut self.keys, self.len, keys, stride);
        self.values.extend_from_slice(values);
        self.len += values.len() / stride;
    }

    /// All positions.
    pub(crate) fn span(&self) -> Span<'_> {
        Span { keys: &self.keys, values: &self.values, len: self.len }
    }

    fn first(&self, len: usize, stride: usize) -> Self {
        let keys = self.keys[..len.div_ceil(LANES) * LANES * stride].to_vec();
        Self { keys, values: self.values[..len * stride].to_vec(), len }
    }

    fn truncate(&mut self, len: usize, stride: usize) {
        self.keys.truncate(len.div_ceil(LANES) * LANES * stride);
        self.values.truncate(len * stride);
        self.len = len;
    }
}

impl Segment {
    pub(crate) fn new(layers: usize) -> Self {
        Self { layers: vec![LayerCache::default(); layers] }
    }

    pub(crate) fn layer(&self, layer: usize) -> &LayerCache {
        &self.layers[layer]
    }

    pub(crate) fn layer_mut(&mut self, layer: usize) -> &mut LayerCache {
        &mut self.layers[layer]
    }

    /// A copy of the first `positions`.
    pub(crate) fn first(&self, positions: usize, stride: usize) -> Self {
        Self { layers: self.layers.iter().map(|layer| layer.first(positions, stride)).collect() }
    }

    fn truncate(&mut self, positions: usize, stride: usize) {
        for layer in &mut self.layers {
            layer.truncate(positions, stride);
        }
    }
}

/// A prefix that all prompts of a call share, prefilled; kept from call to call while the weights
/// stay, so that a teacher's few-shot examples are prefilled once.
#[derive(Debug, Clone)]
pub(crate) struct Preamble {
    pub(crate) tokens: Vec<u32>,
    pub(crate) segment: Arc<Segment>,
}

/// The prefilled prefix shared by all prompts, from the previous call where that still serves.
/// Every prompt keeps at least one token of its own.
pub(crate) fn shared_preamble(
    decoder: &Decoder,
    prompts: &[Prompt],
    previous: Option<Preamble>,
) -> Option<Preamble> {
    let (first, rest) = prompts.split_first()?;
    let mut shared = &first.tokens[..first.tokens.len() - 1];
    for prompt in rest {
        shared = common_prefix(shared, &prompt.tokens[..prompt.tokens.len() - 1]);
    }
    if let Some(mut previous) = previous {
        let kept = common_prefix(shared, &previous.tokens).len();
        if kept >= SHORTEST_PREAMBLE && 2 * kept >= shared.len() {
            if kept < previous.tokens.len() {
                let stride = decoder.spec().kv_heads * decoder.spec().head_dim;
                Arc::make_mut(&mut previous.segment).truncate(kept, stride);
                previous.tokens.truncate(kept);
            }
            return Some(previous);
        }
    }
    if rest.is_empty() || shared.len() < SHORTEST_PREAMBLE {
        return None;
    }
    let (segment, _) = prefill(decoder, None, shared);
    Some(Preamble { tokens: shared.to_vec(), segment: Arc::new(segment) })
}

pub(super) fn common_prefix<'a>(a: &'a [u32], b: &[u32]) -> &'a [u32] {
    let length = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    &a[..length]
}

/// Runs `tokens` after an optional preamble; returns their keys and values and the last row's output.
pub(crate) fn prefill(decoder: &Decoder, preamble: Option<&Preamble>, tokens: &[u32]) -> (Segment, Vec<f32>) {
    let spec = decoder.spec();
    let mut segment = Segment::new(spec.layers);
    let mut output = extend(decoder, preamble, &mut segment, 0, tokens);
    let last = output.split_off(output.len() - spec.width);
    (segment, last)
}

/// Runs `tokens` after an optional preamble and the `done` positions that `segment` holds; appends their keys and
/// values to it and returns the last layer's output. `[T, D]`
pub(crate) fn extend(
    decoder: &Decoder,
    preamble: Option<&Preamble>,
    segment: &mut Segment,
    done: usize,
    tokens: &[u32],
) -> Vec<f32> {
    let spec = decoder.spec();
    let before = done + preamble.map_or(0, |preamble| preamble.tokens.len());
    let positions: Vec<usize> = (before..before + tokens.len()).collect();
    let stride = spec.kv_heads * spec.head_dim;
    let (mut acts, mut space, mut x) = (Activations::default(), Workspace::default(), Vec::new());
    decoder.embed(tokens, &mut acts.x);
    for layer in 0..spec.layers {
        decoder.project(layer, &positions, &mut acts, &mut space);
        segment.layer_mut(layer).extend(&acts.k, &acts.v, stride);
        let Activations { q, attention, lse, .. } = &mut acts;
        let before = preamble.map(|preamble| preamble.segment.layer(layer).span()).unwrap_or_default();
        let own = segment.layer(layer).span();
        let run = Run { rows: tokens.len(), before: [before, Span::default()], own, first: done };
        decoder.attend(q, attention, lse, std::iter::once(run));
        decoder.finish(layer, &mut acts, &mut space, &mut x);
        std::mem::swap(&mut acts.x, &mut x);
    }
    acts.x
}
