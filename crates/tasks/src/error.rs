//! Errors of a data set.

use std::path::PathBuf;

/// An error of the tasks crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's message.
        source: std::io::Error,
    },
    /// A line of a data set is not what it should be.
    #[error("{} line {line}: {message}", path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// Line number, counted from 1.
        line: usize,
        /// The value found and the one expected.
        message: String,
    },
    /// A data set that is not what it should be as a whole.
    #[error("{}: {message}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// The value found and the one expected.
        message: String,
    },
    /// A name that is no [`crate::grading::AnswerKind`].
    #[error(
        "task {name:?}: expected one of {}, or choice:N with 2 to 26 options",
        crate::grading::AnswerKind::NAMES.join(", ")
    )]
    UnknownAnswerKind {
        /// The name.
        name: String,
    },
    /// A data set without a single problem.
    #[error("{}: no problem in it; expected at least one row", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl TaskError {
    /// Attaches a path to an I/O error.
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}
