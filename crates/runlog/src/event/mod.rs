//! Records of a run: one per step, per response, per evaluation. Each field has one line that says what it is;
//! a number that could not be computed (nothing to average, non-finite) is `null`.
//!
//! Everything here except [`StepTimings`] is a function of the configuration and the inputs alone, so two
//! runs of the same configuration write the same bytes. The clock lives in [`StepTimings`], in a file of its own.
//!
//! Metrics and timings are defined by one macro from the lines that document them, so that a reader knows name,
//! unit and meaning of each field: [`Metrics::FIELDS`].

mod behaviours;
mod field;
mod held_out;
mod metrics;
mod rollout;
mod timings;
mod totals;

pub use behaviours::BehaviourMetrics;
pub use field::{Field, Metrics, Unit};
pub use held_out::{HeldOutRecord, HeldOutResult};
pub use metrics::{EvalMetrics, SftMetrics, StepMetrics};
pub use rollout::{Author, AuthorRun, GuidanceRecord, RolloutRecord, author_runs};
pub use timings::{PhaseTiming, StepTimings};
pub use totals::RunTotals;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_numbers_become_null_and_come_back() {
        let metrics = StepMetrics { step: 3, kl: f64::NAN, loss: f64::INFINITY, ..Default::default() };
        let line = serde_json::to_string(&metrics).unwrap();
        assert!(line.contains("\"kl\":null") && line.contains("\"loss\":null"), "{line}");
        let back: StepMetrics = serde_json::from_str(&line).unwrap();
        assert!(back.kl.is_nan() && back.loss.is_nan());
        assert_eq!(back.step, 3);
    }
}
