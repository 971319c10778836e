//! Names of what a measurement depends on.

use std::path::Path;

use thinktune_runlog::{fingerprint, sha256_hex};

use crate::student::is_model_file;

/// SHA-256 of a model's folder.
pub fn model_sha256(dir: &Path) -> anyhow::Result<String> {
    Ok(fingerprint(dir, is_model_file)?)
}

/// A short name of whatever a text says.
pub fn short_hash(text: &str) -> String {
    sha256_hex(text.as_bytes())[..12].to_string()
}
