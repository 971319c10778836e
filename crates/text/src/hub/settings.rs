//! Address of the hub, cache and access token, read from the environment as the hub's own tools do.

use std::ffi::OsString;
use std::path::PathBuf;

/// Address of the hub, cache and access token.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Address of the hub, without a slash at the end.
    pub endpoint: String,
    /// Folder of the cache.
    pub cache: PathBuf,
    /// Access token, for gated and private models.
    pub token: Option<String>,
    /// Use the cache only.
    pub offline: bool,
    /// Number of times that a broken transfer is resumed.
    pub retries: usize,
    /// Show a progress bar on stderr.
    pub progress: bool,
}

impl HubSettings {
    /// The settings the hub's own tools read from the environment: `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HOME`,
    /// `HF_TOKEN` (else the file `HF_TOKEN_PATH`, else `token` under `HF_HOME`), `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        Self::from_lookup(&|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// As [`HubSettings::from_env`], with the environment given.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let text = |name| lookup(name).and_then(|value| value.into_string().ok());
        let home = lookup("HF_HOME").map_or_else(|| default_home(lookup), PathBuf::from);
        let token_file = lookup("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let token = text("HF_TOKEN").or_else(|| std::fs::read_to_string(token_file).ok());
        let on = |value: String| matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE");
        Self {
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            cache: lookup("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: text("HF_HUB_OFFLINE").is_some_and(on),
            retries: 3,
            progress: true,
        }
    }
}

fn default_home(lookup: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
    let cache = lookup("XDG_CACHE_HOME").map(PathBuf::from);
    let user = || lookup("HOME").or_else(|| lookup("USERPROFILE")).map_or_else(PathBuf::new, PathBuf::from);
    cache.unwrap_or_else(|| user().join(".cache")).join("huggingface")
}
