//! A point of a run at which the tests of resuming kill it: `THINKTUNE_TEST_STALL=training:2` makes the run stand
//! still in the middle of the training of step 2, and say so.

use std::time::Duration;

const VARIABLE: &str = "THINKTUNE_TEST_STALL";

/// Phase and step to stand still at, if any.
#[derive(Debug, Default)]
pub struct FaultPoint {
    point: Option<(String, u64)>,
}

impl FaultPoint {
    /// The point that the environment names; none, as a rule.
    pub fn from_env() -> Self {
        let point = std::env::var(VARIABLE).ok().and_then(|text| {
            let (phase, step) = text.split_once(':')?;
            Some((phase.to_string(), step.parse().ok()?))
        });
        Self { point }
    }

    /// Stands still for good if this is the point.
    pub fn at(&self, phase: &str, step: u64) {
        if self.point.as_ref().is_some_and(|point| point.0 == phase && point.1 == step) {
            eprintln!("stalled at {phase}:{step}");
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
    }
}
