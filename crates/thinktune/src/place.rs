//! Where a model is: a folder, a run, or a name on the Hugging Face hub.

use std::fmt;
use std::path::{Path, PathBuf};

use thinktune_text::hub;

use crate::failure::UsageError;

/// A model as the user named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder in Hugging Face layout.
    Folder(PathBuf),
    /// org/name on the hub.
    Hub {
        /// `org/name`.
        name: String,
        /// Branch, tag or commit.
        revision: Option<String>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Hub { name, revision: None } => name.fmt(f),
            Self::Hub { name, revision: Some(revision) } => write!(f, "{name}@{revision}"),
        }
    }
}

/// Reads a model's name: an existing folder first, then `org/name[@revision]`. A run folder stands for its
/// finished model or, before that, its latest checkpoint.
///
/// # Errors
/// What was expected.
pub fn parse(text: &str) -> Result<Place, String> {
    let path = Path::new(text);
    if path.is_dir() {
        return Ok(Place::Folder(within_run(path)));
    }
    let (name, revision) =
        text.split_once('@').map_or((text, None), |(name, rev)| (name, Some(rev.to_string())));
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    match name.split_once('/') {
        Some((org, model)) if plain(org) && plain(model) && !path.exists() => {
            Ok(Place::Hub { name: name.into(), revision })
        }
        _ => Err("a folder that exists, or org/name on the Hugging Face hub".into()),
    }
}

/// Reads a model's name given on the command line.
///
/// # Errors
/// What was found and what was expected.
pub fn named(text: &str) -> Result<Place, UsageError> {
    parse(text).map_err(|expected| UsageError(format!("model {text:?}: expected {expected}")))
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

impl Place {
    /// The model's folder, downloaded first where need be.
    ///
    /// # Errors
    /// The model is not on this machine and cannot be downloaded.
    pub fn fetch(&self, offline: bool) -> anyhow::Result<PathBuf> {
        match self {
            Self::Folder(path) => Ok(path.clone()),
            Self::Hub { name, revision } => Ok(hub::resolve(name, revision.as_deref(), offline)?),
        }
    }
}
