//! The outer loop.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thinktune_model::surface::{Policy, Train};
use thinktune_runlog::RunFolder;

use crate::error::MethodError;
use crate::observer::Observer;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// All steps are done.
    Done {
        /// How many there were.
        steps: u32,
    },
    /// The observer asked to stop; a checkpoint is written.
    Interrupted {
        /// The last step done.
        step: u32,
    },
}

/// Restores the student from the checkpoint the folder goes on from; the steps done and what was saved beside.
pub(crate) fn load_checkpoint<S: DeserializeOwned>(
    student: &mut (impl Train + ?Sized),
    folder: &RunFolder,
) -> Result<Option<(u32, S)>, MethodError> {
    let Some(checkpoint) = folder.resume_from() else { return Ok(None) };
    student.load_state(&checkpoint.dir)?;
    Ok(Some((checkpoint.step as u32, checkpoint.state()?)))
}

/// Writes the checkpoint after `step`.
pub(crate) fn save_checkpoint(
    student: &mut dyn Policy,
    folder: &mut RunFolder,
    observer: &mut dyn Observer,
    step: u32,
    state: &impl Serialize,
) -> Result<(), MethodError> {
    let checkpoint = folder.save_checkpoint(step.into(), state, |dir| {
        student.save_state(dir)?;
        observer.checkpoint_files(dir)
    })?;
    observer.checkpoint(&checkpoint);
    Ok(())
}
