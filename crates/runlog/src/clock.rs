//! Wall clock of a step, phase by phase.

use std::time::Instant;

use crate::event::{PhaseTiming, StepTimings};

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

/// Stop watch of the step under way.
#[derive(Debug)]
pub struct StepClock {
    step_began: Instant,
    current: Option<(Phase, Instant)>,
    seconds: [f64; 6],
}

impl StepClock {
    /// Starts the first step now.
    pub fn start() -> Self {
        Self { step_began: Instant::now(), current: None, seconds: [0.0; 6] }
    }

    /// Ends the phase under way and begins `phase`. A phase may be entered several times in a step.
    pub fn begin(&mut self, phase: Phase) {
        self.close();
        self.current = Some((phase, Instant::now()));
    }

    fn close(&mut self) {
        if let Some((phase, began)) = self.current.take() {
            self.seconds[phase as usize] += began.elapsed().as_secs_f64();
        }
    }

    /// Returns the timings of the step; the next step begins now.
    pub fn end_step(&mut self, step: u32, tokens: PhaseTokens) -> StepTimings {
        self.close();
        let of = |phase: Phase, tokens: u64| PhaseTiming::new(self.seconds[phase as usize], tokens);
        let timings = StepTimings {
            step: step.into(),
            act: of(Phase::Act, tokens.act),
            help: of(Phase::Help, tokens.help),
            reward: of(Phase::Reward, 0),
            train: of(Phase::Train, tokens.train),
            write: of(Phase::Write, 0),
            evaluate: of(Phase::Evaluate, tokens.evaluate),
            total_seconds: self.step_began.elapsed().as_secs_f64(),
        };
        *self = Self::start();
        timings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_add_up_and_restart_with_the_step() {
        let mut clock = StepClock::start();
        for phase in [Phase::Evaluate, Phase::Act, Phase::Write, Phase::Evaluate] {
            clock.begin(phase);
            let began = Instant::now();
            while began.elapsed().as_micros() < 200 {}
        }
        let tokens = PhaseTokens { evaluate: 8, ..PhaseTokens::default() };
        let first = clock.end_step(1, tokens);
        assert!(first.evaluate.seconds >= 400e-6 && first.act.seconds >= 200e-6, "{first:?}");
        assert_eq!((first.step, first.evaluate.tokens, first.train.seconds), (1, 8, 0.0));
        assert!(first.total_seconds >= 800e-6);
        assert_eq!(clock.end_step(2, PhaseTokens::default()).evaluate.seconds, 0.0);
    }
}
