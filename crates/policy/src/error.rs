//! Everything that can go wrong with a model, each variant naming what was found and what was expected.

use std::path::PathBuf;

/// An error of the model crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of a model directory is missing, torn, or holds something else than expected.
    #[error("{}: {message}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What was found, what was expected, what to do.
        message: String,
    },
    /// Input that cannot be run: an id outside the vocabulary, a prompt beyond the context, ...
    #[error("{0}")]
    BadInput(String),
    /// A loss, gradient or log-prob is NaN or infinite.
    #[error("non-finite {what}: {detail}")]
    NonFinite {
        /// Which quantity.
        what: &'static str,
        /// Where.
        detail: String,
    },
    /// A device failed: no memory, a lost connection to it.
    #[error("{0}")]
    Device(String),
    /// A model could not be downloaded.
    #[error("{0}")]
    Download(String),
}

impl ModelError {
    /// Attaches a path to an I/O error.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// A file that is not what it should be.
    pub fn bad_file(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::BadFile { path: path.into(), message: message.into() }
    }
}
