//! gamma: the share of a group's eligible attempts that is guided, step by step.

use std::f64::consts::PI;

use crate::settings::{GammaShape, GuidanceSettings};

/// gamma at `step` (from 1) of a run of `run_steps`.
///
/// With t = min(1, (step - 1) / steps), from `start` s to `end` e:
/// constant s; linear s + (e - s) t; cosine e + (s - e) (1 + cos(pi t)) / 2; exponential s (e / s)^t.
/// It is 0 beyond the horizon k, and where the schedule is at or below `min_gamma`.
pub fn gamma(settings: &GuidanceSettings, run_steps: u32, step: u32) -> f64 {
    if settings.last_step.is_some_and(|last| step > last) {
        return 0.0;
    }
    let schedule = &settings.gamma;
    let (start, end) = (schedule.start, schedule.end);
    let steps = schedule.steps.or(settings.last_step).unwrap_or(run_steps).max(1);
    let t = (f64::from(step - 1) / f64::from(steps)).min(1.0);
    let gamma = match schedule.shape {
        GammaShape::Constant => start,
        GammaShape::Linear => start + (end - start) * t,
        GammaShape::Cosine => end + (start - end) * 0.5 * (1.0 + (PI * t).cos()),
        GammaShape::Exponential => start * (end / start).powf(t),
    };
    // A schedule that reaches the cutoff only up to rounding has reached it.
    if gamma > settings.min_gamma + 1e-9 { gamma } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::GammaSchedule;
    use crate::testing;

    fn schedule(shape: GammaShape, start: f64, end: f64, steps: Option<u32>) -> GuidanceSettings {
        GuidanceSettings {
            gamma: GammaSchedule { shape, start, end, steps },
            ..testing::rl_settings().guidance
        }
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }

    #[test]
    fn shapes_go_from_start_to_end_and_stay() {
        use GammaShape::*;
        for (shape, middle) in [(Linear, 0.25), (Cosine, 0.25), (Exponential, (0.4f64 * 0.1).sqrt())] {
            let settings = schedule(shape, 0.4, 0.1, Some(10));
            close(gamma(&settings, 99, 1), 0.4);
            close(gamma(&settings, 99, 6), middle);
            close(gamma(&settings, 99, 11), 0.1);
            close(gamma(&settings, 99, 50), 0.1);
        }
        let settings = schedule(Constant, 0.4, 0.1, Some(10));
        close(gamma(&settings, 99, 50), 0.4);
        close(gamma(&schedule(Cosine, 0.4, 0.0, Some(4)), 99, 2), 0.2 * (1.0 + (PI / 4.0).cos()));
    }

    #[test]
    fn steps_default_to_the_horizon_then_to_the_run() {
        let mut settings = schedule(GammaShape::Linear, 0.4, 0.0, None);
        close(gamma(&settings, 20, 11), 0.2);
        settings.last_step = Some(40);
        close(gamma(&settings, 20, 11), 0.3);
    }

    #[test]
    fn off_beyond_the_horizon_and_once_the_cutoff_is_reached() {
        let mut settings = schedule(GammaShape::Constant, 0.5, 0.5, None);
        settings.last_step = Some(3);
        close(gamma(&settings, 10, 3), 0.5);
        close(gamma(&settings, 10, 4), 0.0);

        let mut paper = schedule(GammaShape::Linear, 0.1, 0.05, Some(10));
        paper.min_gamma = 0.075;
        close(gamma(&paper, 50, 5), 0.08);
        assert_eq!(gamma(&paper, 50, 6), 0.0, "off at the cutoff itself");
        assert_eq!(gamma(&paper, 50, 7), 0.0);
        assert_eq!(gamma(&schedule(GammaShape::Constant, 0.0, 0.0, None), 50, 1), 0.0);
    }
}
