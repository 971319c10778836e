//! Origin of a run: program version, hashes of its inputs, and when it began.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::{files_below, hash_file, hex};
use crate::{RECORD_VERSION, RunError};

/// Facts about a run, written once when it begins. Not part of what two equal runs share byte for byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of the program.
    pub version: String,
    /// Version of the records it writes ([`RECORD_VERSION`]). A run is continued by a program of the same one only.
    #[serde(default = "first")]
    pub record_version: u32,
    /// SHA-256 of the resolved configuration.
    pub config_sha256: String,
    /// SHA-256 of each input by name (`model`, `data`, ...); a changed one is refused on resume.
    pub inputs: BTreeMap<String, String>,
    /// When the run began, in seconds since 1970-01-01 UTC.
    pub created_unix_seconds: u64,
}

impl Provenance {
    /// The provenance of a run that begins now.
    pub fn now(version: &str, config: &str, inputs: BTreeMap<String, String>) -> Self {
        let created_unix_seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let config_sha256 = sha256_hex(config.as_bytes());
        let record_version = RECORD_VERSION;
        Self { version: version.into(), record_version, config_sha256, inputs, created_unix_seconds }
    }
}

/// Version of the records of a program that did not name it.
fn first() -> u32 {
    1
}

/// SHA-256 of bytes, in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, or over the names and contents of those files of a folder whose name is `wanted`, so that
/// a run is not continued with other weights or other data than it began with.
///
/// # Errors
/// A file that cannot be read.
pub fn fingerprint(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<String, RunError> {
    if path.is_file() {
        return Ok(hash_file(path)?.1);
    }
    let mut hasher = Sha256::new();
    for name in files_below(path)?.into_iter().filter(|name| wanted(name)) {
        let (length, digest) = hash_file(&path.join(&name))?;
        hasher.update(format!("{name}\n{length}\n{digest}\n"));
    }
    Ok(hex(&hasher.finalize()))
}
