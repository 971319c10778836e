//! The learning rate of each step.

use std::f64::consts::PI;

use crate::settings::{LrSchedule, OptimizerSettings};

/// Learning rate of `step` (from 1) in a run of `steps`.
///
/// Warm-up rises linearly and reaches the peak at its last step; what follows starts at the peak
/// and would reach 0 one step after the last, so that no step is spent at a rate of 0.
pub fn learning_rate(settings: &OptimizerSettings, step: u32, steps: u32) -> f64 {
    let warmup = settings.warmup_steps;
    if step <= warmup {
        return settings.lr * f64::from(step) / f64::from(warmup);
    }
    let past = f64::from(step - warmup - 1) / f64::from(steps.saturating_sub(warmup).max(1));
    let share = match settings.schedule {
        LrSchedule::Constant => 1.0,
        LrSchedule::Linear => 1.0 - past.min(1.0),
        LrSchedule::Cosine => 0.5 * (1.0 + (PI * past.min(1.0)).cos()),
    };
    settings.lr * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn rates(schedule: LrSchedule, warmup_steps: u32, steps: u32) -> Vec<f64> {
        let settings = OptimizerSettings { lr: 1.0, schedule, warmup_steps, ..testing::optimizer() };
        (1..=steps).map(|step| learning_rate(&settings, step, steps)).collect()
    }

    #[test]
    fn warms_up_then_follows_its_course() {
        assert_eq!(rates(LrSchedule::Constant, 2, 4), [0.5, 1.0, 1.0, 1.0]);
        assert_eq!(rates(LrSchedule::Linear, 0, 4), [1.0, 0.75, 0.5, 0.25]);
        assert_eq!(rates(LrSchedule::Linear, 2, 4), [0.5, 1.0, 1.0, 0.5]);
        let cosine = rates(LrSchedule::Cosine, 0, 4);
        assert_eq!(cosine[0], 1.0);
        assert!((cosine[1] - 0.5 * (1.0 + 0.5f64.sqrt())).abs() < 1e-15);
        assert!((cosine[2] - 0.5).abs() < 1e-15);
    }

    #[test]
    fn a_warm_up_longer_than_the_run_never_reaches_the_peak() {
        assert_eq!(rates(LrSchedule::Cosine, 4, 3), [0.25, 0.5, 0.75]);
    }
}
