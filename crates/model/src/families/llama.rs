//! Llama 2, 3, 3.1, 3.2, and models of the same shape, such as SmolLM2.

use super::{Family, FamilyFacts, Window};

pub(super) const FACTS: FamilyFacts = FamilyFacts {
    family: Family::Llama,
    model_type: "llama",
    architecture: "LlamaForCausalLM",
    qkv_bias: false,
    qk_norm: false,
    kv_heads: None,
    head_dim: None,
    context: 2048,
    window: None,
    window_use: Window::Never,
};
