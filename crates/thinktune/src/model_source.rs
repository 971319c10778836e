//! A model as the user names it: a folder, a run, or a name on the Hugging Face hub.

use std::fmt;
use std::path::{Path, PathBuf};

use thinktune_text::hub::{self, BadHubName, HubName};

use crate::failure::UsageError;

/// The forms of a model's name.
pub const EXPECTED: &str = "a folder that exists, or org/name on the Hugging Face hub";

/// A model as the user named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// A folder in Hugging Face layout.
    Folder(PathBuf),
    /// A name on the hub.
    Hub(HubName),
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Hub(name) => name.fmt(f),
        }
    }
}

/// A text that names no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadModelSource {
    /// A file, not a folder.
    #[error("{0:?} is a file: expected the folder that holds it")]
    File(PathBuf),
    /// Neither a folder nor a name on the hub.
    #[error("expected {EXPECTED} ({0})")]
    Name(#[from] BadHubName),
}

impl ModelSource {
    /// Reads a model's name: an existing folder first, then `org/name[@revision]`. A run folder stands for its
    /// finished model or, before that, its latest checkpoint.
    ///
    /// # Errors
    /// A file, or a text of another form.
    pub fn parse(text: &str) -> Result<Self, BadModelSource> {
        let path = Path::new(text);
        if path.is_dir() {
            return Ok(Self::Folder(within_run(path)));
        }
        if path.exists() {
            return Err(BadModelSource::File(path.into()));
        }
        Ok(Self::Hub(text.parse()?))
    }

    /// Reads a model's name given on the command line.
    ///
    /// # Errors
    /// The text found, and the forms expected.
    pub fn named(text: &str) -> Result<Self, UsageError> {
        Self::parse(text).map_err(|error| UsageError(format!("model {text:?}: {error}")))
    }

    /// The model's folder, downloaded first where need be.
    ///
    /// # Errors
    /// The model is not on this machine and cannot be downloaded.
    pub fn fetch(&self, offline: bool) -> anyhow::Result<PathBuf> {
        match self {
            Self::Folder(path) => Ok(path.clone()),
            Self::Hub(HubName { name, revision }) => Ok(hub::resolve(name, revision.as_deref(), offline)?),
        }
    }
}

fn within_run(path: &Path) -> PathBuf {
    if path.join("config.json").exists() || !path.join("config.toml").exists() {
        return path.to_path_buf();
    }
    let finished = path.join("final");
    if finished.is_dir() {
        return finished;
    }
    match thinktune_runlog::latest_checkpoint(path) {
        Ok(Some(checkpoint)) => checkpoint.dir,
        _ => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_names_on_the_hub() {
        assert!(matches!(ModelSource::parse("src"), Ok(ModelSource::Folder(_))));
        let hub = ModelSource::parse("org/name@v1.0").unwrap();
        assert_eq!(hub.to_string(), "org/name@v1.0");
        for (text, words) in [
            ("nowhere", "expected a folder that exists, or org/name"),
            ("no/such/folder", "expected a folder that exists"),
            ("org/name@..", "is not a revision"),
            ("Cargo.toml", "is a file"),
        ] {
            let error = ModelSource::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
