//! The error of a configuration.

use std::fmt;

use thinktune_method::settings::SettingError;

/// A configuration that cannot be read. Bad values are [`SettingError`]s.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not TOML: {message}")]
    Syntax {
        /// The file.
        path: String,
        /// Line, column and reason.
        message: String,
    },
    /// A key nobody knows.
    #[error("unknown key `{key}` (value {value}){}; `thinktune settings` lists all keys", Nearest(nearest))]
    UnknownKey {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// A known key spelt much like it.
        nearest: Option<String>,
    },
    /// A key under its name of before.
    #[error("`{key}` (value {value}) is now called `{now}`: rename it; its meaning is the same")]
    RenamedKey {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// Its name of today.
        now: &'static str,
    },
    /// A value that is not of its key's type, or not in its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// An override that is not `key=value`.
    #[error("--set {0}: expected key.path=value, e.g. --set optimizer.lr=1e-5")]
    BadOverride(String),
    /// `--set` for an element of an array of sections that the configuration does not have.
    #[error("--set {0:?}: the array has no section of this number; they are counted from 0")]
    NoSuchSection(String),
}

struct Nearest<'a>(&'a Option<String>);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |key| write!(f, "; did you mean `{key}`?"))
    }
}
