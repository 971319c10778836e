//! What makes a directory of weights a model that other programs open.

use std::path::Path;

use serde_json::Value;
use thinktune_policy::ModelError;
use thinktune_policy::model_files::CONFIG_FILE;

use super::Dtype;

use super::config::{read_config, write_json};

/// Copies what stands beside the weights of a model directory (tokenizer, chat template, generation settings) into
/// another. `config.json` is not among it: see [`copy_config`].
///
/// # Errors
/// A file that cannot be read or written.
pub fn copy_side_files(from: &Path, to: &Path) -> Result<(), ModelError> {
    for name in SIDE_FILES {
        let (source, target) = (from.join(name), to.join(name));
        if source.is_file() && !same_file(&source, &target) {
            std::fs::copy(&source, &target).map_err(|error| ModelError::io(&target, error))?;
        }
    }
    Ok(())
}

/// Copies `config.json` with every field it has; only the number format of the weights is set anew.
///
/// # Errors
/// A file that cannot be read or written.
pub fn copy_config(from: &Path, to: &Path, dtype: Dtype) -> Result<(), ModelError> {
    let mut map = read_config(from)?;
    let present: Vec<&str> =
        ["torch_dtype", "dtype"].into_iter().filter(|key| map.contains_key(*key)).collect();
    let keys = if present.is_empty() { vec!["torch_dtype"] } else { present };
    for key in keys {
        map.insert(key.to_owned(), Value::from(dtype.torch_name()));
    }
    write_json(&to.join(CONFIG_FILE), &Value::Object(map))
}

/// Files beside the weights that make a directory complete.
const SIDE_FILES: [&str; 12] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "LICENSE",
    "NOTICE",
];

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
