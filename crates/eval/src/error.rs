//! Everything that can stop an evaluation.

use std::path::PathBuf;

use thinktune_policy::ModelError;
use thinktune_runlog::RunError;

/// An error of the evaluation crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Something could not be read or written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A setting that cannot be used.
    #[error("{0}")]
    Setting(String),
    /// A folder that holds the answers to something else.
    #[error("{} holds an evaluation with other settings: {differences}; take another folder, or the same settings", path.display())]
    OtherEvaluation {
        /// The folder.
        path: PathBuf,
        /// The differences.
        differences: String,
    },
    /// A folder without an evaluation, or a damaged one.
    #[error("{}: {message}", path.display())]
    BadFolder {
        /// The folder or file.
        path: PathBuf,
        /// The text found and the text expected.
        message: String,
    },
}
