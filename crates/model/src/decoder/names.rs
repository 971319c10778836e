//! Names of tensors in Hugging Face checkpoints.

use crate::ModelSpec;

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

const LAYERS: &str = "model.layers.";

/// Full name of a layer's tensor.
pub(crate) fn layer_name(layer: usize, part: &str) -> String {
    format!("{LAYERS}{layer}.{part}")
}

/// Layer and part of a full name; none outside the layers.
pub(crate) fn layer_part(name: &str) -> Option<(usize, &str)> {
    let (layer, part) = name.strip_prefix(LAYERS)?.split_once('.')?;
    Some((layer.parse().ok()?, part))
}

/// The LM head's tensor: the embedding where they are tied.
pub(crate) fn head_name(spec: &ModelSpec) -> &'static str {
    if spec.tied_head { EMBEDDING } else { "lm_head.weight" }
}
