//! Display and interruption of a run: [`Progress`] shows, [`Control`] interrupts. The method itself has no clock and no
//! terminal.

use thinktune_policy::GenerateProgress;
use thinktune_runlog::event::EvalMetrics;
pub use thinktune_runlog::{Checkpoint, Phase};

/// Display of a run. Every method has a default that does nothing.
pub trait Progress {
    /// The run goes on after step `done` of `steps`.
    fn begin(&mut self, done: u32, steps: u32) {
        let _ = (done, steps);
    }

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

    /// A step is done and in the log; `summary` is its line for people.
    fn step(&mut self, step: u32, steps: u32, summary: &str) {
        let _ = (step, steps, summary);
    }

    /// A held-out set was evaluated, and is in the log.
    fn evaluated(&mut self, metrics: &EvalMetrics) {
        let _ = metrics;
    }

    /// A checkpoint is complete.
    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let _ = checkpoint;
    }

    /// Something the user should know.
    fn notice(&mut self, text: &str) {
        let _ = text;
    }
}

/// Decision to stop a run early.
pub trait Control {
    /// Returns true where the run should finish its step, write a checkpoint and stop.
    fn interrupted(&mut self) -> bool;
}

/// Shows nothing and never interrupts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

impl Control for Silent {
    fn interrupted(&mut self) -> bool {
        false
    }
}
