//! Shapes of well-known checkpoints, so that a plan or a measurement can be made of a model that is not on this
//! machine.

use thinktune_model::ModelSpec;

/// The parts of `config.json` that say how large a model is, by its name on the hub; the last is this project's own,
/// the small model of `docs/performance.md`.
const SHAPES: [(&str, &str); 6] = [
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
    (
        "Qwen/Qwen2.5-0.5B-Instruct",
        r#"{"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
            "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
            "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
            "hidden_act": "silu", "tie_word_embeddings": true}"#,
    ),
    (
        "Qwen/Qwen2.5-1.5B-Instruct",
        r#"{"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 1536, "intermediate_size": 8960,
            "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2,
            "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
            "hidden_act": "silu", "tie_word_embeddings": true}"#,
    ),
    (
        "Qwen/Qwen3-0.6B",
        r#"{"model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072,
            "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
            "max_position_embeddings": 40960, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
            "hidden_act": "silu", "tie_word_embeddings": true}"#,
    ),
    (
        "28m",
        r#"{"model_type": "llama", "vocab_size": 8192, "hidden_size": 512, "intermediate_size": 1408,
            "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64,
            "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "hidden_act": "silu", "tie_word_embeddings": true}"#,
    ),
];

/// The shape of a model known by its name on the hub, or by its [short name](names).
pub fn by_name(name: &str) -> Option<ModelSpec> {
    let called = |known: &str| known.eq_ignore_ascii_case(name) || short(known).eq_ignore_ascii_case(name);
    let (_, config) = SHAPES.iter().find(|(known, _)| called(known))?;
    ModelSpec::from_json(config).ok()
}

/// Short names of all shapes: without organisation and "Instruct", in lower case.
pub fn names() -> Vec<String> {
    SHAPES.iter().map(|(known, _)| short(known)).collect()
}

fn short(known: &str) -> String {
    let name = known.rsplit('/').next().unwrap_or(known);
    name.trim_end_matches("-Instruct").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_counts_are_the_published_ones() {
        let count = |name| by_name(name).unwrap().parameters();
        assert_eq!(count("meta-llama/Llama-3.2-1B-Instruct"), 1_235_814_400);
        assert_eq!(count("meta-llama/llama-3.2-3b-instruct"), 3_212_749_824);
        assert_eq!(count("qwen2.5-0.5b"), 494_032_768);
        assert_eq!(count("qwen2.5-1.5b"), 1_543_714_304);
        assert_eq!(count("Qwen3-0.6B"), 596_049_920);
        assert_eq!(count("28m"), 27_795_968);
        assert!(by_name("someone/else").is_none());
    }

    #[test]
    fn every_shape_is_found_by_its_short_name() {
        assert_eq!(names()[0], "llama-3.2-1b");
        assert!(names().iter().all(|name| by_name(name).is_some()));
    }
}
