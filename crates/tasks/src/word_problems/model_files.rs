//! Files of a model folder, the weights aside: shape, tokenizer, chat template.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::tokenizer::{CHAT_TEMPLATE, SPECIAL, tokenizer_json, vocabulary};
use crate::TaskError;

/// Writes a model directory without weights into `dir`, which is made if need be: `config.json` of a
/// tiny Llama, `tokenizer.json`, `tokenizer_config.json` with the chat template, `generation_config.json`.
///
/// # Errors
/// A file that cannot be written.
pub fn write_model_files(dir: &Path) -> Result<(), TaskError> {
    fs::create_dir_all(dir).map_err(|source| TaskError::io(dir, source))?;
    let files = [
        ("config.json", config_json()),
        ("tokenizer.json", tokenizer_json()),
        ("tokenizer_config.json", tokenizer_config_json()),
        ("generation_config.json", json!({ "bos_token_id": 1, "eos_token_id": 2, "do_sample": true })),
    ];
    for (name, value) in files {
        let path = dir.join(name);
        let text = format!("{value:#}\n");
        fs::write(&path, text).map_err(|source| TaskError::io(&path, source))?;
    }
    Ok(())
}

/// The shape of both models.
fn config_json() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary().len(),
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": null,
        "attention_bias": false,
        "mlp_bias": false,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "tie_word_embeddings": true,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
    })
}

fn tokenizer_config_json() -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": SPECIAL[0],
        "bos_token": SPECIAL[1],
        "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[2],
        "model_max_length": 1024,
        "clean_up_tokenization_spaces": false,
        "chat_template": CHAT_TEMPLATE,
    })
}
