//! Wall clock of a step.

use super::field::{Metrics, metrics};

metrics! {
    /// Time of one phase of a step.
    #[derive(Copy)]
    pub struct PhaseTiming {
        /// Wall-clock seconds.
        pub seconds: f64 = Seconds,
        /// Tokens processed: sampled ones in `act` and `help`, trained sequences' tokens in `train`.
        pub tokens: u64 = Tokens,
        /// `tokens / seconds`; 0 where nothing was timed.
        pub tokens_per_second: f64 = TokensPerSecond,
    }

    /// Wall clock of one step: one line of `timings.jsonl`, the only file of a run that two equal runs do not share.
    pub struct StepTimings {
        /// Training step or update, from 1.
        pub step: u64 = Step,
        /// Sampling the student's attempts.
        pub act: PhaseTiming = Record,
        /// Asking the teacher and splicing its feedback.
        pub help: PhaseTiming = Record,
        /// Grading and advantages.
        pub reward: PhaseTiming = Record,
        /// Forward, backward and optimizer updates.
        pub train: PhaseTiming = Record,
        /// Writing rollouts of this step; checkpoints are written after this line.
        pub write: PhaseTiming = Record,
        /// Evaluating on held-out sets; of the first step, also before it.
        #[serde(default)]
        pub evaluate: PhaseTiming = Record,
        /// Seconds of the whole step.
        pub total_seconds: f64 = Seconds,
    }
}

impl PhaseTiming {
    /// The timing of a phase that took `seconds` over `tokens`.
    pub fn new(seconds: f64, tokens: u64) -> Self {
        let tokens_per_second = if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 };
        Self { seconds, tokens, tokens_per_second }
    }
}
