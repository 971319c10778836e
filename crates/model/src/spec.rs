//! `ModelSpec`: what distinguishes one checkpoint from another, as data over one decoder.

pub use crate::families::Family;

/// Rope frequency scaling of Llama 3.1 and later.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Llama3Scaling {
    /// Division of low frequencies.
    pub factor: f64,
    /// Below `original_context / low_freq_factor` wavelengths are kept scaled in full.
    pub low_freq_factor: f64,
    /// Above `original_context / high_freq_factor` wavelengths are left alone.
    pub high_freq_factor: f64,
    /// Context of pre-training, in tokens.
    pub original_context: usize,
}

/// Shape and constants of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// Family the checkpoint names.
    pub family: Family,
    /// V.
    pub vocab_size: usize,
    /// D.
    pub width: usize,
    /// Number of decoder layers.
    pub layers: usize,
    /// H.
    pub heads: usize,
    /// K.
    pub kv_heads: usize,
    /// d.
    pub head_dim: usize,
    /// F.
    pub ffn: usize,
    /// Rope base.
    pub rope_theta: f64,
    /// Rope scaling, if any.
    pub rope_scaling: Option<Llama3Scaling>,
    /// Epsilon of every RMSNorm.
    pub norm_eps: f32,
    /// Biases on the q, k and v projections.
    pub qkv_bias: bool,
    /// RMSNorm of width d on each query and key head before rope.
    pub qk_norm: bool,
    /// The LM head is the transposed embedding.
    pub tied_head: bool,
    /// Longest sequence, in tokens.
    pub context: usize,
}

/// Name and shape of one parameter tensor, as in a Hugging Face checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Hugging Face name, e.g. `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Weight decay spares vectors: norms and biases.
    pub fn decays(&self) -> bool {
        self.shape.len() > 1
    }
}

impl ModelSpec {
    /// Every parameter tensor in storage order: embedding, layers, final norm, head (if untied).
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut out = Vec::new();
        let mut push = |name: String, shape: &[usize]| out.push(TensorSpec { name, shape: shape.to_vec() });
        let (width, q_width, kv_width) =
            (self.width, self.heads * self.head_dim, self.kv_heads * self.head_dim);
        push("model.embed_tokens.weight".into(), &[self.vocab_size, width]);
        for layer in 0..self.layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}");
            push(name("input_layernorm.weight"), &[width]);
            push(name("self_attn.q_proj.weight"), &[q_width, width]);
            push(name("self_attn.k_proj.weight"), &[kv_width, width]);
            push(name("self_attn.v_proj.weight"), &[kv_width, width]);
            if self.qkv_bias {
                push(name("self_attn.q_proj.bias"), &[q_width]);
                push(name("self_attn.k_proj.bias"), &[kv_width]);
                push(name("self_attn.v_proj.bias"), &[kv_width]);
            }
            if self.qk_norm {
                push(name("self_attn.q_norm.weight"), &[self.head_dim]);
                push(name("self_attn.k_norm.weight"), &[self.head_dim]);
            }
            push(name("self_attn.o_proj.weight"), &[width, q_width]);
            push(name("post_attention_layernorm.weight"), &[width]);
            push(name("mlp.gate_proj.weight"), &[self.ffn, width]);
            push(name("mlp.up_proj.weight"), &[self.ffn, width]);
            push(name("mlp.down_proj.weight"), &[width, self.ffn]);
        }
        push("model.norm.weight".into(), &[width]);
        if !self.tied_head {
            push("lm_head.weight".into(), &[self.vocab_size, width]);
        }
        out
    }

    /// Number of parameters, the tied head counted once.
    pub fn parameters(&self) -> usize {
        self.tensors().iter().map(TensorSpec::len).sum()
    }
}
