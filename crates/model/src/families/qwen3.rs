//! Qwen3: RMSNorm on each query and key head.

use super::{Family, FamilyFacts, Window};

pub(super) const FACTS: FamilyFacts = FamilyFacts {
    family: Family::Qwen3,
    model_type: "qwen3",
    architecture: "Qwen3ForCausalLM",
    qkv_bias: false,
    qk_norm: true,
    kv_heads: Some(32),
    head_dim: Some(128),
    context: 32768,
    window: Some(4096),
    window_use: Window::Switched,
};
