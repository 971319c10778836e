//! The families as data over one decoder: what a family's name implies, and what transformers assumes where a key of
//! `config.json` is absent. A family is one file with its facts, and a line in each of the lists below.

mod llama;
mod mistral;
mod qwen2;
mod qwen3;

/// A supported model family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Llama 2, 3, 3.1, 3.2.
    Llama,
    /// Mistral (full attention within its window).
    Mistral,
    /// Qwen2 and Qwen2.5: biases on q, k, v.
    Qwen2,
    /// Qwen3: RMSNorm on each query and key head.
    Qwen3,
}

/// Facts of every family.
pub(crate) const FAMILIES: [FamilyFacts; 4] = [llama::FACTS, mistral::FACTS, qwen2::FACTS, qwen3::FACTS];

/// What a family's name implies, and what transformers assumes where a key is absent.
pub(crate) struct FamilyFacts {
    pub(crate) family: Family,
    /// `model_type` of `config.json`.
    pub(crate) model_type: &'static str,
    /// Name in `architectures` of `config.json`.
    pub(crate) architecture: &'static str,
    /// Biases on the q, k and v projections.
    pub(crate) qkv_bias: bool,
    /// RMSNorm on each query and key head.
    pub(crate) qk_norm: bool,
    /// Key/value heads; none: as many as query heads.
    pub(crate) kv_heads: Option<usize>,
    /// Head width; none: the width divided by the heads.
    pub(crate) head_dim: Option<usize>,
    /// Longest sequence, in tokens.
    pub(crate) context: usize,
    /// Attention window, in tokens.
    pub(crate) window: Option<usize>,
    /// When the window applies.
    pub(crate) window_use: Window,
}

/// When a family's attention window applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// The family has none.
    Never,
    /// Whenever `sliding_window` is a number.
    Always,
    /// Where `use_sliding_window` is true.
    Switched,
}

impl FamilyFacts {
    pub(crate) fn of(family: Family) -> &'static Self {
        let at = match family {
            Family::Llama => 0,
            Family::Mistral => 1,
            Family::Qwen2 => 2,
            Family::Qwen3 => 3,
        };
        &FAMILIES[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_those_of_the_family() {
        for facts in &FAMILIES {
            assert_eq!(FamilyFacts::of(facts.family).model_type, facts.model_type);
        }
    }
}
