//! The small files beside `tokenizer.json`: special tokens, chat template, ids that end a text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use thinktune_policy::ModelError;
use thinktune_policy::model_files::{CONFIG_FILE, parse_object, without_mark};
use tokenizers::Tokenizer;

const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const GENERATION_CONFIG: &str = "generation_config.json";
const TEMPLATE_FILE: &str = "chat_template.jinja";

/// Contents of the small files of a directory.
pub(super) struct TokenizerFiles {
    dir: PathBuf,
    config: Map<String, Value>,
    /// Special tokens by role, such as `bos_token`.
    pub(super) tokens: BTreeMap<String, String>,
    /// True where BOS goes before every text; absent where the tokenizer decides.
    pub(super) add_bos_token: Option<bool>,
}

impl TokenizerFiles {
    pub(super) fn read(dir: &Path) -> Result<Self, ModelError> {
        let config = optional_object(&dir.join(TOKENIZER_CONFIG))?;
        let mut tokens = special_tokens(&optional_object(&dir.join(SPECIAL_TOKENS))?);
        tokens.retain(|name, _| !config.contains_key(name));
        tokens.extend(special_tokens(&config));
        let add_bos_token = config.get("add_bos_token").and_then(Value::as_bool);
        Ok(Self { dir: dir.to_owned(), config, tokens, add_bos_token })
    }

    /// The id of a special token, if the directory names one.
    pub(super) fn token_id(&self, name: &str, tokenizer: &Tokenizer) -> Result<Option<u32>, ModelError> {
        let Some(text) = self.tokens.get(name) else { return Ok(None) };
        tokenizer.token_to_id(text).map(Some).ok_or_else(|| {
            let message = format!("`{name}` is `{text}`, which tokenizer.json does not hold");
            ModelError::bad_file(self.dir.join(TOKENIZER_CONFIG), message)
        })
    }

    /// The chat template and the file it stands in: a file of its own goes before `tokenizer_config.json`.
    pub(super) fn template(&self) -> Result<Option<(String, PathBuf)>, ModelError> {
        let own = self.dir.join(TEMPLATE_FILE);
        if let Some(text) = optional_text(&own)? {
            // as Python reads it: an editor's byte order mark and carriage returns are no part of a template
            return Ok(Some((without_mark(&text).replace("\r\n", "\n"), own)));
        }
        let path = self.dir.join(TOKENIZER_CONFIG);
        match self.config.get("chat_template") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some((text.clone(), path))),
            Some(Value::Array(named)) => default_template(named, &path).map(|text| Some((text, path))),
            Some(other) => {
                let message = format!("`chat_template` is {other}, expected a text or a list of named texts");
                Err(ModelError::bad_file(path, message))
            }
        }
    }

    /// `eos_token_id` of `generation_config.json` and `config.json`, each an id or a list of ids.
    pub(super) fn eos_ids(&self) -> Result<Vec<u32>, ModelError> {
        let mut ids = Vec::new();
        for name in [GENERATION_CONFIG, CONFIG_FILE] {
            let path = self.dir.join(name);
            let map = optional_object(&path)?;
            let values = match map.get("eos_token_id") {
                None | Some(Value::Null) => continue,
                Some(Value::Array(list)) => list.as_slice(),
                Some(one) => std::slice::from_ref(one),
            };
            for value in values {
                let id = value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
                    let message =
                        format!("`eos_token_id` has {value}, expected a token id or a list of them");
                    ModelError::bad_file(&path, message)
                })?;
                ids.push(id);
            }
        }
        Ok(ids)
    }
}

fn default_template(named: &[Value], path: &Path) -> Result<String, ModelError> {
    let name_of = |entry: &Value| entry.get("name").and_then(Value::as_str).unwrap_or("(unnamed)").to_owned();
    let default = named.iter().find(|entry| name_of(entry) == "default");
    default.and_then(|entry| entry.get("template")).and_then(Value::as_str).map(str::to_owned).ok_or_else(
        || {
            let names = named.iter().map(name_of).collect::<Vec<_>>().join(", ");
            ModelError::bad_file(
                path,
                format!("`chat_template` lists {names}, expected one named default with a `template`"),
            )
        },
    )
}

/// Entries whose name ends in `_token`, given as a text or as an object with `content`.
fn special_tokens(map: &Map<String, Value>) -> BTreeMap<String, String> {
    map.iter()
        .filter(|(name, _)| name.ends_with("_token"))
        .filter_map(|(name, value)| {
            let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
            Some((name.clone(), text.to_owned()))
        })
        .collect()
}

fn optional_text(path: &Path) -> Result<Option<String>, ModelError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ModelError::io(path, error)),
    }
}

fn optional_object(path: &Path) -> Result<Map<String, Value>, ModelError> {
    match optional_text(path)? {
        Some(text) => parse_object(path, &text),
        None => Ok(Map::new()),
    }
}
