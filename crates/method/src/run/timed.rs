//! Progress with a stop watch: passes everything on, and times the phases on their way.

use thinktune_policy::GenerateProgress;
use thinktune_runlog::event::{EvalMetrics, StepTimings};
use thinktune_runlog::{Checkpoint, Phase, PhaseTokens, StepClock};

use crate::progress::Progress;

/// Progress of the program, timed.
pub(super) struct Timed<'a> {
    shown: &'a mut dyn Progress,
    clock: StepClock,
}

impl<'a> Timed<'a> {
    pub(super) fn new(shown: &'a mut dyn Progress) -> Self {
        Self { shown, clock: StepClock::start() }
    }

    /// Returns the timings of the step; the next step begins now.
    pub(super) fn end_step(&mut self, step: u32, tokens: PhaseTokens) -> StepTimings {
        self.clock.end_step(step, tokens)
    }
}

impl Progress for Timed<'_> {
    fn phase(&mut self, step: u32, phase: Phase) {
        self.clock.begin(phase);
        self.shown.phase(step, phase);
    }

    fn sampling(&mut self, progress: GenerateProgress) {
        self.shown.sampling(progress);
    }

    fn training(&mut self, done: usize, total: usize) {
        self.shown.training(done, total);
    }

    fn step(&mut self, step: u32, steps: u32, summary: &str) {
        self.shown.step(step, steps, summary);
    }

    fn evaluated(&mut self, metrics: &EvalMetrics) {
        self.shown.evaluated(metrics);
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        self.shown.checkpoint(checkpoint);
    }

    fn notice(&mut self, text: &str) {
        self.shown.notice(text);
    }
}
