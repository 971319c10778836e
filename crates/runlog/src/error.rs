//! Errors of a run folder: one sentence each, with the path and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// An error of the run folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Reading or writing failed.
    #[error("cannot {action} {}: {}", path.display(), explain(source))]
    Io {
        /// `read`, `write`, `create`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's message.
        source: io::Error,
    },
    /// A file holds something else than expected.
    #[error("{}: {message}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// The value found and the one expected.
        message: String,
    },
    /// The folder exists, is not empty, and is no run folder.
    #[error("{} is not empty and is not a run folder (it has no config.toml); choose another `out`", .0.display())]
    NotARunFolder(PathBuf),
    /// The folder belongs to a run of another configuration.
    #[error(
        "{} holds a run of another configuration; {}; choose another `out`, or change the setting back",
        path.display(),
        DiffList(differences)
    )]
    OtherConfig {
        /// The run folder.
        path: PathBuf,
        /// The keys that differ.
        differences: Vec<ConfigDifference>,
    },
    /// The folder belongs to a run that began with other files.
    #[error(
        "{} was begun with other {what} (sha256 {found} then, {expected} now); \
         restore the files, or choose another `out`",
        path.display()
    )]
    OtherInput {
        /// The run folder.
        path: PathBuf,
        /// Name of the input that changed.
        what: String,
        /// Hash recorded when the run began.
        found: String,
        /// Hash of the present files.
        expected: String,
    },
    /// The folder belongs to a run that a program with other settings and records began.
    #[error(
        "{} was begun by thinktune {found}, whose runs thinktune {expected} reads but does not continue; \
         finish the run with thinktune {found}, or choose another `out`",
        path.display()
    )]
    OtherVersion {
        /// The run folder.
        path: PathBuf,
        /// Version that began the run.
        found: String,
        /// Version of this program.
        expected: String,
    },
    /// Another process writes to the folder.
    #[error("{} is in use by another process; wait until it ends, or choose another `out`", .0.display())]
    Locked(PathBuf),
    /// Checkpoints exist and none is intact.
    #[error(
        "{}: no intact checkpoint among {damaged}; restore one from a backup, or choose another `out` to start anew",
        path.display()
    )]
    NoGoodCheckpoint {
        /// The checkpoints folder.
        path: PathBuf,
        /// Names and what is wrong with each.
        damaged: String,
    },
    /// The caller's writer failed while a checkpoint was being written.
    #[error("{what} could not be written: {source}; what was written before is intact")]
    Writer {
        /// Name of the thing that was being written.
        what: String,
        /// The writer's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl RunError {
    /// Attaches an action and a path to an I/O error.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }

    /// A file that is not what it should be.
    pub fn bad_file(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::BadFile { path: path.into(), message: message.into() }
    }
}

/// One configuration key whose value differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigDifference {
    /// Dotted key.
    pub key: String,
    /// Value in the run folder, as TOML; `None` where it is not set.
    pub then: Option<String>,
    /// Value asked for now.
    pub now: Option<String>,
}

struct DiffList<'a>(&'a [ConfigDifference]);

impl fmt::Display for DiffList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, difference) in self.0.iter().enumerate() {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unset".into());
            let separator = if i == 0 { "" } else { ", " };
            write!(
                f,
                "{separator}`{}` is {} there and {} now",
                difference.key,
                text(&difference.then),
                text(&difference.now)
            )?;
        }
        Ok(())
    }
}

/// The system's message, with what to do where the reason is a full disk.
fn explain(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full; free some space and run the same command again: \
             what was written before is intact, and the run goes on from its last checkpoint"
                .into()
        }
        _ => source.to_string(),
    }
}
