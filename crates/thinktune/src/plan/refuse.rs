//! Refusals that several sections share.

use std::fmt::Display;

use thinktune_method::settings::SettingError;

use crate::model_source::{EXPECTED, ModelSource};

/// The model that a setting names.
pub fn model_source(key: &str, name: &str) -> Result<ModelSource, SettingError> {
    ModelSource::parse(name).map_err(|_| SettingError::new(key, format!("{name:?}"), EXPECTED))
}

/// Fails unless a setting is as expected.
///
/// # Errors
/// Key, value, and what was expected.
pub fn ensure(ok: bool, key: &str, value: impl Display, expected: impl Display) -> Result<(), SettingError> {
    if ok { Ok(()) } else { Err(SettingError::new(key, value, expected)) }
}
