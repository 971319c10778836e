//! Mistral, with full attention within its window.

use super::{Family, FamilyFacts, Window};

pub(super) const FACTS: FamilyFacts = FamilyFacts {
    family: Family::Mistral,
    model_type: "mistral",
    architecture: "MistralForCausalLM",
    qkv_bias: false,
    qk_norm: false,
    kv_heads: Some(8),
    head_dim: None,
    context: 4096 * 32,
    window: Some(4096),
    window_use: Window::Always,
};
