//! JSON files and their fields, read so that an error names file, key, value and what was expected.

use std::path::Path;

use serde_json::{Map, Value};
use thinktune_policy::ModelError;
use thinktune_policy::model_files::{CONFIG_FILE, brief, parse_object};

/// `config.json` of a directory as a JSON object.
pub(crate) fn read_config(dir: &Path) -> Result<Map<String, Value>, ModelError> {
    let path = dir.join(CONFIG_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse_object(&path, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(ModelError::bad_file(
            path,
            "not found; a model directory holds config.json, model.safetensors and tokenizer.json",
        )),
        Err(error) => Err(ModelError::io(path, error)),
    }
}

/// Writes pretty-printed JSON and a final newline.
pub(crate) fn write_json(path: &Path, value: &Value) -> Result<(), ModelError> {
    let text = format!("{value:#}\n");
    std::fs::write(path, text).map_err(|error| ModelError::io(path, error))
}

/// The object of a `config.json` and where it came from.
pub(super) struct Fields<'a> {
    pub(super) path: &'a Path,
    pub(super) map: &'a Map<String, Value>,
}

impl Fields<'_> {
    /// A present, non-null value.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn error(&self, key: &str, found: &Value, expected: &str) -> ModelError {
        ModelError::bad_file(self.path, format!("`{key}` is {}, expected {expected}", brief(found)))
    }

    pub(super) fn size(&self, key: &str) -> Result<usize, ModelError> {
        self.optional_size(key)?.ok_or_else(|| {
            ModelError::bad_file(self.path, format!("`{key}` is missing, expected a positive integer"))
        })
    }

    pub(super) fn optional_size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0) {
            Some(size) => Ok(Some(size)),
            None => Err(self.error(key, value, "a positive integer")),
        }
    }

    pub(super) fn positive(&self, key: &str) -> Result<Option<f64>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_f64().filter(|number| number.is_finite() && *number > 0.0) {
            Some(number) => Ok(Some(number)),
            None => Err(self.error(key, value, "a positive number")),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, ModelError> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.error(key, other, "true or false")),
        }
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<Fields<'_>>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Fields { path: self.path, map })),
            Some(other) => Err(self.error(key, other, "an object")),
        }
    }
}
