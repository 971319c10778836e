//! Qwen2 and Qwen2.5: biases on q, k, v.

use super::{Family, FamilyFacts, Window};

pub(super) const FACTS: FamilyFacts = FamilyFacts {
    family: Family::Qwen2,
    model_type: "qwen2",
    architecture: "Qwen2ForCausalLM",
    qkv_bias: true,
    qk_norm: false,
    kv_heads: Some(32),
    head_dim: None,
    context: 32768,
    window: Some(4096),
    window_use: Window::Switched,
};
