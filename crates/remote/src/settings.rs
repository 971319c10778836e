//! `guidance.teacher = { url = "..", model = "..", .. }`.

use serde::{Deserialize, Serialize};

/// Endpoint of the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// `/chat/completions`: the server applies its chat template.
    #[default]
    Chat,
    /// `/completions`: the prompt is made here, with the tokenizer and template of `tokenizer`.
    Completions,
}

/// Address of the teacher, and limits of the requests to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteSettings {
    /// Base of the API, as clients take it: `http://localhost:8000/v1`.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// Endpoint of the server.
    #[serde(default)]
    pub api: Api,
    /// Folder or hub name of the teacher's tokenizer and chat template; for `completions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Environment variable that holds the API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// Requests at a time.
    #[serde(default = "eight")]
    pub concurrency: usize,
    /// Time for one reply.
    #[serde(default = "two_minutes")]
    pub timeout_seconds: u64,
    /// Retries of a request that failed.
    #[serde(default = "four")]
    pub retries: u32,
    /// Sends `"thinktune"` along, which names the random numbers to draw; servers that do not know it pass over it,
    /// but for those that refuse fields they do not know.
    #[serde(default = "yes")]
    pub extension: bool,
}

fn eight() -> usize {
    8
}

fn two_minutes() -> u64 {
    120
}

fn four() -> u32 {
    4
}

fn yes() -> bool {
    true
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} = {value}: expected {expected}")]
pub struct BadSetting {
    /// Its name within the table.
    pub name: &'static str,
    /// The value found.
    pub value: String,
    /// The values that are accepted.
    pub expected: &'static str,
}

impl RemoteSettings {
    /// Judges the settings.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn check(&self) -> Result<(), BadSetting> {
        let ensure = |ok: bool, name, value: String, expected| match ok {
            true => Ok(()),
            false => Err(BadSetting { name, value, expected }),
        };
        let host = self.url.strip_prefix("http://").or_else(|| self.url.strip_prefix("https://"));
        let plain = host.is_some_and(|host| {
            !host.is_empty()
                && !host.starts_with('/')
                && !host.contains(|c: char| c == '@' || c.is_whitespace())
        });
        // a password in the address would end up in the run folder
        let expected = "http://host:port/v1 or https://.., without a password";
        ensure(plain, "url", format!("{:?}", self.url), expected)?;
        ensure(!self.model.is_empty(), "model", "\"\"".into(), "the model's name on the server")?;
        let of_api = self.tokenizer.is_some() == (self.api == Api::Completions);
        let tokenizer = format!("{:?}", self.tokenizer);
        ensure(
            of_api,
            "tokenizer",
            tokenizer,
            "a folder or org/name with api = \"completions\", nothing else",
        )?;
        ensure(
            (1..=256).contains(&self.concurrency),
            "concurrency",
            self.concurrency.to_string(),
            "1 to 256",
        )?;
        let seconds = self.timeout_seconds;
        ensure((1..=86_400).contains(&seconds), "timeout_seconds", seconds.to_string(), "1 to 86400")?;
        ensure(self.retries <= 20, "retries", self.retries.to_string(), "at most 20")
    }

    /// The API key, if a variable is named.
    ///
    /// # Errors
    /// The variable is not set.
    pub fn key(&self) -> Result<Option<String>, BadSetting> {
        let Some(variable) = &self.key_env else { return Ok(None) };
        let key = std::env::var(variable).ok().filter(|key| !key.trim().is_empty());
        key.map(|key| Some(key.trim().to_owned())).ok_or_else(|| BadSetting {
            name: "key_env",
            value: format!("{variable:?}"),
            expected: "an environment variable that holds the key; it is not set",
        })
    }
}
