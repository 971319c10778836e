//! The decoder: embedding, L layers of attention and SwiGLU, RMSNorm, LM head. One graph written out by
//! hand, forward and backward; families differ by [`ModelSpec`] alone.
//!
//! Prefill, decoding, scoring and training run the one layer loop in [`forward`] over rows of tokens; they differ
//! in where a row finds its keys and values, and in what the loop keeps.

pub(crate) mod backward;
pub(crate) mod forward;
pub(crate) mod head;
pub(crate) mod linear;
pub(crate) mod names;
pub(crate) mod rope;
pub(crate) mod weights;

use thinktune_compute::{Backend, HeadStage, Heads, OperandUse, Precision};

pub(crate) use forward::{Activations, Context, Keep, Trail, Workspace};
pub(crate) use rope::Rope;
pub(crate) use weights::{Transposes, Weights};

use crate::ModelSpec;

/// A model's weights, read-only, with what a forward pass needs beside them.
pub(crate) struct Decoder<'a, B: Backend> {
    pub(crate) backend: &'a B,
    pub(crate) weights: &'a Weights<B>,
    pub(crate) rope: &'a Rope<B>,
}

impl<B: Backend> Clone for Decoder<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Decoder<'_, B> {}

impl<B: Backend> Decoder<'_, B> {
    pub(crate) fn spec(&self) -> &ModelSpec {
        &self.weights.spec
    }

    pub(crate) fn heads(&self) -> Heads {
        let spec = self.spec();
        Heads { query: spec.heads, kv: spec.kv_heads, dim: spec.head_dim }
    }

    /// Layout of an operand in the precision of the weights.
    fn layout(&self, kind: OperandUse) -> (Precision, OperandUse) {
        (self.weights.precision, kind)
    }

    /// What happens to the queries, keys and values of a layer after their projections.
    fn stages(&self, layer: usize) -> [HeadStage<'_, B::Buffer>; 3] {
        let (spec, weights) = (self.spec(), &self.weights.layers[layer]);
        let stage = |heads, bias, norm, rope| HeadStage {
            heads,
            dim: spec.head_dim,
            bias,
            norm,
            eps: spec.norm_eps,
            rope,
        };
        let rope = Some(&self.rope.table);
        [
            stage(spec.heads, weights.q.bias.as_ref(), weights.q_norm.as_ref(), rope),
            stage(spec.kv_heads, weights.k.bias.as_ref(), weights.k_norm.as_ref(), rope),
            stage(spec.kv_heads, weights.v.bias.as_ref(), None, None),
        ]
    }
}
