//! Weights as the kernels want them: matrices packed once per version of the parameters.

use thinktune_kernels::gemm::{Packed, View};

use crate::Params;

/// The matrices of one layer, each packed as the `[in, out]` operand of y = x W^T.
#[derive(Debug)]
pub(crate) struct PackedLayer {
    pub(crate) q: Packed,
    pub(crate) k: Packed,
    pub(crate) v: Packed,
    pub(crate) o: Packed,
    pub(crate) gate: Packed,
    pub(crate) up: Packed,
    pub(crate) down: Packed,
}

/// All matrices of a model, packed.
#[derive(Debug)]
pub(crate) struct PackedWeights {
    pub(crate) layers: Vec<PackedLayer>,
    pub(crate) head: Packed,
}

impl PackedWeights {
    pub(crate) fn new(params: &Params) -> Self {
        let pack = |name: &str| Packed::new(matrix(params, name).t());
        let layers = (0..params.spec.layers)
            .map(|layer| {
                let part = |part: &str| pack(&layer_name(layer, part));
                PackedLayer {
                    q: part(Q_PROJ),
                    k: part(K_PROJ),
                    v: part(V_PROJ),
                    o: part(O_PROJ),
                    gate: part(GATE_PROJ),
                    up: part(UP_PROJ),
                    down: part(DOWN_PROJ),
                }
            })
            .collect();
        Self { layers, head: pack(head_name(params)) }
    }
}

pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
pub(crate) const FINAL_NORM: &str = "model.norm.weight";
pub(crate) const INPUT_NORM: &str = "input_layernorm.weight";
pub(crate) const POST_NORM: &str = "post_attention_layernorm.weight";
pub(crate) const Q_PROJ: &str = "self_attn.q_proj.weight";
pub(crate) const K_PROJ: &str = "self_attn.k_proj.weight";
pub(crate) const V_PROJ: &str = "self_attn.v_proj.weight";
pub(crate) const O_PROJ: &str = "self_attn.o_proj.weight";
pub(crate) const Q_BIAS: &str = "self_attn.q_proj.bias";
pub(crate) const K_BIAS: &str = "self_attn.k_proj.bias";
pub(crate) const V_BIAS: &str = "self_attn.v_proj.bias";
pub(crate) const Q_NORM: &str = "self_attn.q_norm.weight";
pub(crate) const K_NORM: &str = "self_attn.k_norm.weight";
pub(crate) const GATE_PROJ: &str = "mlp.gate_proj.weight";
pub(crate) const UP_PROJ: &str = "mlp.up_proj.weight";
pub(crate) const DOWN_PROJ: &str = "mlp.down_proj.weight";

/// Full name of a layer's tensor.
pub(crate) fn layer_name(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.{part}")
}

/// The LM head's tensor: the embedding where they are tied.
pub(crate) fn head_name(params: &Params) -> &'static str {
    if params.spec.tied_head { EMBEDDING } else { "lm_head.weight" }
}

/// A tensor that the layout of this spec is known to hold.
pub(crate) fn tensor<'a>(params: &'a Params, name: &str) -> &'a [f32] {
    params.get(name).unwrap_or_else(|| unreachable!("the layout has no tensor {name}"))
}

/// A matrix, `[out, in]` as checkpoints store it.
pub(crate) fn matrix<'a>(params: &'a Params, name: &str) -> View<'a> {
    let Some((tensor, range)) = params.layout.tensor(name) else {
        unreachable!("the layout has no tensor {name}")
    };
    View::new(&params.data[range.clone()], tensor.shape[0], tensor.shape[1])
}
