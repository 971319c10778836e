//! Files of a model folder in Hugging Face layout: their names, and how the index of shards is read. Text in, names
//! out: nothing here opens a file.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use crate::ModelError;

/// Shape and constants of the model.
pub const CONFIG_FILE: &str = "config.json";
/// Weights in one file.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Index of weights in several files.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// A file that was hashed while it was written, so that nobody has to read it again to know its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenFile {
    /// Its name in the folder it was written into.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Lower-case hexadecimal SHA-256 of its bytes.
    pub sha256: String,
}

/// A text without the byte order mark that some editors put before it.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The text of a file as a JSON object.
///
/// # Errors
/// Text that is no JSON, or JSON that is no object, naming `path`.
pub fn parse_object(path: &Path, text: &str) -> Result<Map<String, Value>, ModelError> {
    match serde_json::from_str(without_mark(text)) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => {
            Err(ModelError::bad_file(path, format!("expected a JSON object, found {}", brief(&other))))
        }
        Err(error) => Err(ModelError::bad_file(path, format!("is not valid JSON: {error}"))),
    }
}

/// The files that the index at `path` names, in order of name, each once.
///
/// # Errors
/// An index without `weight_map`, with an empty one, or with a name that is not that of a safetensors file beside it.
pub fn shard_names(path: &Path, text: &str) -> Result<Vec<String>, ModelError> {
    let index = parse_object(path, text)?;
    let Some(Value::Object(weight_map)) = index.get("weight_map") else {
        return Err(ModelError::bad_file(
            path,
            "lacks `weight_map`, an object from tensor names to file names",
        ));
    };
    let mut names = BTreeSet::new();
    for (tensor, file) in weight_map {
        match file.as_str() {
            Some(name) if is_shard(name) => names.insert(name.to_owned()),
            _ => {
                let message = format!(
                    "`weight_map` gives {file} for `{tensor}`, expected the name of a safetensors file in the same \
                     directory"
                );
                return Err(ModelError::bad_file(path, message));
            }
        };
    }
    if names.is_empty() {
        return Err(ModelError::bad_file(
            path,
            "`weight_map` is empty, expected tensor names and file names",
        ));
    }
    Ok(names.into_iter().collect())
}

fn is_shard(name: &str) -> bool {
    name.ends_with(".safetensors") && !name.contains(['/', '\\', ':'])
}

/// A value for an error message, cut where long.
pub fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        text
    } else {
        format!("{}...", text.chars().take(60).collect::<String>())
    }
}
