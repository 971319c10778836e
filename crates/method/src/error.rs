//! Everything that can stop a run.

use std::path::PathBuf;

use thinktune_policy::{ModelError, TeacherError};
use thinktune_runlog::RunError;

use crate::settings::SettingError;

/// An error of an evaluation, which the method cannot know by name.
pub type EvaluateError = Box<dyn std::error::Error + Send + Sync>;

/// An error of the method crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MethodError {
    /// A setting that cannot be used, alone or with the data at hand.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A file of examples that cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A line of a data file that is not an example.
    #[error("{}, line {line}: {message}", path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The text found and the text expected.
        message: String,
    },
    /// Data that cannot be trained on.
    #[error("{0}")]
    BadData(String),
    /// A prompt set that cannot be used.
    #[error("prompt set {name}: {message}")]
    BadPrompts {
        /// Its name or file.
        name: String,
        /// The text found and the text expected.
        message: String,
    },
    /// A loss that is NaN or infinite; the weights are those of the last update before it.
    #[error("step {step}: the loss of {sample} is {value}; the weights before this update are kept")]
    NonFinite {
        /// The training step.
        step: u32,
        /// The sample it was first seen in.
        sample: String,
        /// The value.
        value: f64,
    },
    /// A log-prob that the sampler recorded is not the one the trainer computes.
    #[error(
        "step {step}: {sample}, token {token}: the sampler recorded log-prob {recorded:e}, the trainer computes \
         {computed:e}; equal bits were expected, so the two run different arithmetic: please report this"
    )]
    OffPolicy {
        /// The training step.
        step: u32,
        /// The sample it was first seen in.
        sample: String,
        /// Index of the token in its response.
        token: usize,
        /// As recorded while sampling, or from the one prefill of a spliced text.
        recorded: f32,
        /// As computed by the training forward.
        computed: f32,
    },
    /// Guidance was wanted and none was used for many steps, nor ever before.
    #[error(
        "step {step}: gamma was above 0 for {steps} steps in a row (guidance.max_unguided_steps) and no feedback was ever \
         used: {why}"
    )]
    NoGuidance {
        /// The training step.
        step: u32,
        /// Steps in a row without guidance.
        steps: u32,
        /// Why not, with counts and the setting that bears on it.
        why: String,
    },
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The teacher failed.
    #[error(transparent)]
    Teacher(#[from] TeacherError),
    /// The evaluation on held-out sets failed.
    #[error("the evaluation after step {step} failed")]
    Evaluation {
        /// The training step.
        step: u32,
        /// The evaluation's error.
        source: EvaluateError,
    },
    /// The run folder could not be written.
    #[error(transparent)]
    Run(#[from] RunError),
}
