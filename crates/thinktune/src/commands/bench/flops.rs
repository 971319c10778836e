//! Work as the model's shape tells it.
//!
//! A token at position p of its sequence (from 0) costs a forward pass
//!
//! ```text
//! 2 W + 4 L H d (p + 1)    floating-point operations, and 2 V D more where it predicts a token
//! ```
//!
//! W being the weights of the layers' matrices, L layers, H heads of width d over the p + 1 tokens it attends to, V
//! the vocabulary, D the width. A backward pass costs twice its forward pass (one product for the inputs, one for the
//! weights). Norms, rope, softmax and the optimizer count nothing; nor do recomputed layers. Prompts count once per
//! group, since both sampling and training compute them once.

use thinktune_model::{ModelSpec, Precision};

/// A run of tokens of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Position of the first.
    pub from: usize,
    /// How many.
    pub tokens: usize,
    /// How many of them predict a token.
    pub predicting: usize,
}

/// Operations of a forward pass over a stretch.
pub fn forward(spec: &ModelSpec, stretch: Stretch) -> f64 {
    let Stretch { from, tokens, predicting } = stretch;
    let attended = tokens * from + tokens * (tokens + 1) / 2;
    let attention = 4 * spec.layers * spec.heads * spec.head_dim * attended;
    2.0 * (tokens * layer_weights(spec) + predicting * head_weights(spec)) as f64 + attention as f64
}

/// Bytes of weights that one decoding pass reads: every matrix once.
pub fn decode_bytes(spec: &ModelSpec, precision: Precision) -> f64 {
    precision.bytes() as f64 * (layer_weights(spec) + head_weights(spec)) as f64
}

/// W: weights of the layers' matrices.
fn layer_weights(spec: &ModelSpec) -> usize {
    let attention = 2 * spec.width * spec.head_dim * (spec.heads + spec.kv_heads);
    spec.layers * (attention + 3 * spec.width * spec.ffn)
}

fn head_weights(spec: &ModelSpec) -> usize {
    spec.vocab_size * spec.width
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes;

    #[test]
    fn matrices_are_all_there_is_but_norms_and_an_embedding() {
        let spec = shapes::by_name("llama-3.2-1b").unwrap();
        let norms = (2 * spec.layers + 1) * spec.width;
        assert_eq!(layer_weights(&spec) + head_weights(&spec) + norms, spec.parameters());
    }

    #[test]
    fn a_stretch_costs_what_its_tokens_cost_one_by_one() {
        let spec = shapes::by_name("28m").unwrap();
        let whole = forward(&spec, Stretch { from: 3, tokens: 5, predicting: 5 });
        let single = |from| forward(&spec, Stretch { from, tokens: 1, predicting: 1 });
        assert_eq!(whole, (3..8).map(single).sum::<f64>());
        // by hand: 23,592,960 - 8 * 2 * 512 = 8 layers without their norms
        let first = 2.0 * (23_592_960.0 + 8192.0 * 512.0) + 4.0 * 8.0 * 8.0 * 64.0;
        assert_eq!(single(0), first);
    }
}
