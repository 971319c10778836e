//! Fault injection for the tests of resuming: `THINKTUNE_TEST_STALL=training:2` makes the run stand still in the middle
//! of the training of step 2, and say so, so that a test can kill it there.

use std::time::Duration;

const VARIABLE: &str = "THINKTUNE_TEST_STALL";

/// Point of a run at which it stands still, if there is one.
#[derive(Debug, Default)]
pub struct FaultPoint {
    point: Option<(String, u64)>,
}

impl FaultPoint {
    /// The point that the environment names; none as a rule.
    pub fn from_env() -> Self {
        let point = std::env::var(VARIABLE).ok().and_then(|text| {
            let (name, step) = text.split_once(':')?;
            Some((name.to_string(), step.parse().ok()?))
        });
        Self { point }
    }

    /// Stands still for good if this is the point.
    pub fn reach(&self, name: &str, step: u64) {
        if self.point.as_ref().is_some_and(|point| point.0 == name && point.1 == step) {
            eprintln!("stalled at {name}:{step}");
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
    }
}
