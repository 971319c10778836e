//! Shapes of well-known checkpoints, so that a plan can be made for a model that is not on this machine.

use thinktune_model::ModelSpec;

/// The parts of `config.json` that say how large a model is, by its name on the hub.
const SHAPES: [(&str, &str); 2] = [
    (
        "meta-llama/Llama-3.2-1B-Instruct",
        r#"{"model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192,
            "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
            "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
            "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
            "hidden_act": "silu", "tie_word_embeddings": true}"#,
    ),
    (
        "meta-llama/Llama-3.2-3B-Instruct",
        r#"{"model_type": "llama", "vocab_size": 128256, "hidden_size": 3072, "intermediate_size": 8192,
            "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128,
            "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
            "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
            "hidden_act": "silu", "tie_word_embeddings": true}"#,
    ),
];

/// The shape of a model known by name.
pub fn by_name(name: &str) -> Option<ModelSpec> {
    let (_, config) = SHAPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    ModelSpec::from_json(config).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_counts_are_the_published_ones() {
        let count = |name| by_name(name).unwrap().parameters();
        assert_eq!(count("meta-llama/Llama-3.2-1B-Instruct"), 1_235_814_400);
        assert_eq!(count("meta-llama/llama-3.2-3b-instruct"), 3_212_749_824);
        assert!(by_name("someone/else").is_none());
    }
}
