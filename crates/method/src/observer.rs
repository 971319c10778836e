//! Who watches a run: shows progress, keeps time, asks it to stop. The method itself has no clock and
//! no terminal.

use std::path::Path;

use thinktune_policy::{GenerateProgress, ModelError};
use thinktune_runlog::Checkpoint;
use thinktune_runlog::event::{EvalMetrics, SftMetrics, StepMetrics, StepTimings};

/// A part of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The student attempts the questions.
    Act,
    /// The teacher is asked, its guidance spliced in.
    Help,
    /// Rewards and advantages.
    Reward,
    /// Optimizer updates.
    Train,
    /// Logs and checkpoints are written.
    Write,
    /// Held-out questions are asked.
    Evaluate,
}

/// Tokens each phase of a step worked on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhaseTokens {
    /// Sampled from the student.
    pub act: u64,
    /// Sampled from the teacher.
    pub help: u64,
    /// In the sequences forwarded and backwarded, prompts included.
    pub train: u64,
    /// Sampled in answers to held-out questions.
    pub evaluate: u64,
}

/// A run's spectator. Every method has a default that does nothing.
pub trait Observer {
    /// A phase of `step` begins, and the one before it has ended.
    fn phase(&mut self, step: u32, phase: Phase) {
        let _ = (step, phase);
    }

    /// Sampling has come this far.
    fn sampling(&mut self, progress: GenerateProgress) {
        let _ = progress;
    }

    /// Training of the step has come this far, in sequences.
    fn training(&mut self, done: usize, total: usize) {
        let _ = (done, total);
    }

    /// A step of ThinkTuning or GRPO is done and in the log.
    fn step(&mut self, metrics: &StepMetrics) {
        let _ = metrics;
    }

    /// A held-out set was evaluated, and is in the log.
    fn evaluated(&mut self, metrics: &EvalMetrics) {
        let _ = metrics;
    }

    /// An update of supervised fine-tuning is done and in the log.
    fn sft_step(&mut self, metrics: &SftMetrics) {
        let _ = metrics;
    }

    /// The wall clock of a step that has just ended, for those who keep one.
    fn timings(&mut self, step: u32, tokens: PhaseTokens) -> Option<StepTimings> {
        let _ = (step, tokens);
        None
    }

    /// Adds files to a checkpoint being written: what the model needs beside its weights.
    fn checkpoint_files(&mut self, dir: &Path) -> Result<(), ModelError> {
        let _ = dir;
        Ok(())
    }

    /// A checkpoint is complete.
    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let _ = checkpoint;
    }

    /// Something the user should know.
    fn notice(&mut self, text: &str) {
        let _ = text;
    }

    /// Whether the run should finish its step, write a checkpoint and stop.
    fn interrupted(&mut self) -> bool {
        false
    }
}

/// Watches without a word.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
