//! The families as data: names, and what transformers assumes where a key is absent.

use crate::spec::Family;

/// What a family's name implies, and what transformers assumes where a key is absent.
pub(super) struct FamilyFacts {
    pub(super) family: Family,
    pub(super) model_type: &'static str,
    pub(super) architecture: &'static str,
    pub(super) qkv_bias: bool,
    pub(super) qk_norm: bool,
    pub(super) kv_heads: Option<usize>,
    pub(super) head_dim: Option<usize>,
    pub(super) context: usize,
    pub(super) window: Option<usize>,
}

pub(super) const FAMILIES: [FamilyFacts; 4] = [
    FamilyFacts {
        family: Family::Llama,
        model_type: "llama",
        architecture: "LlamaForCausalLM",
        qkv_bias: false,
        qk_norm: false,
        kv_heads: None,
        head_dim: None,
        context: 2048,
        window: None,
    },
    FamilyFacts {
        family: Family::Mistral,
        model_type: "mistral",
        architecture: "MistralForCausalLM",
        qkv_bias: false,
        qk_norm: false,
        kv_heads: Some(8),
        head_dim: None,
        context: 4096 * 32,
        window: Some(4096),
    },
    FamilyFacts {
        family: Family::Qwen2,
        model_type: "qwen2",
        architecture: "Qwen2ForCausalLM",
        qkv_bias: true,
        qk_norm: false,
        kv_heads: Some(32),
        head_dim: None,
        context: 32768,
        window: Some(4096),
    },
    FamilyFacts {
        family: Family::Qwen3,
        model_type: "qwen3",
        architecture: "Qwen3ForCausalLM",
        qkv_bias: false,
        qk_norm: true,
        kv_heads: Some(32),
        head_dim: Some(128),
        context: 32768,
        window: Some(4096),
    },
];

impl FamilyFacts {
    pub(super) fn of(family: Family) -> &'static Self {
        let at = match family {
            Family::Llama => 0,
            Family::Mistral => 1,
            Family::Qwen2 => 2,
            Family::Qwen3 => 3,
        };
        &FAMILIES[at]
    }
}
