//! The error of a setting.

use std::fmt::Display;

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: expected {expected}")]
pub struct SettingError {
    /// Its name in the configuration file.
    pub key: String,
    /// The value found.
    pub value: String,
    /// The values accepted, in words.
    pub expected: String,
}

impl SettingError {
    /// The error of a setting, the value found, and what was expected.
    pub fn new(key: impl Into<String>, value: impl Display, expected: impl Display) -> Self {
        Self { key: key.into(), value: value.to_string(), expected: expected.to_string() }
    }
}
