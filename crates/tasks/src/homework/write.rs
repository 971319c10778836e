//! Writing the files from which the miniature's models are made.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::documents::{base, pretraining, student, teacher};
use super::tokenizer::{CHAT_TEMPLATE, SPECIAL, tokenizer_json, vocabulary};
use crate::TaskError;

/// How many lines of each data set to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Documents both models are pretrained on.
    pub pretraining: usize,
    /// Conversations both are fine-tuned on next.
    pub base: usize,
    /// Conversations the student is fine-tuned on last.
    pub student: usize,
    /// Conversations the teacher is fine-tuned on last.
    pub teacher: usize,
}

/// Writes `pretraining.jsonl`, `base.jsonl`, `student.jsonl` and `teacher.jsonl` into `dir`, which is made if need be.
///
/// # Errors
/// A file that cannot be written.
pub fn write_data(seed: u64, counts: Counts, dir: &Path) -> Result<(), TaskError> {
    fs::create_dir_all(dir).map_err(|source| TaskError::io(dir, source))?;
    write_lines(&dir.join("pretraining.jsonl"), pretraining(seed, counts.pretraining))?;
    write_lines(&dir.join("base.jsonl"), base(seed, counts.base))?;
    write_lines(&dir.join("student.jsonl"), student(seed, counts.student))?;
    write_lines(&dir.join("teacher.jsonl"), teacher(seed, counts.teacher))
}

fn write_lines(path: &Path, rows: impl Iterator<Item = Value>) -> Result<(), TaskError> {
    let write = || {
        let mut file = BufWriter::new(fs::File::create(path)?);
        for row in rows {
            writeln!(file, "{row}")?;
        }
        file.flush()
    };
    write().map_err(|source| TaskError::io(path, source))
}

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
