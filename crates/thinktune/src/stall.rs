//! A place to be killed at, for the tests of resuming: `THINKTUNE_TEST_STALL=training:2` makes the run stand still
//! in the middle of the training of step 2, and say so.

use std::time::Duration;

const VARIABLE: &str = "THINKTUNE_TEST_STALL";

/// Where to stand still, if anywhere.
#[derive(Debug, Default)]
pub struct Stall {
    place: Option<(String, u64)>,
}

impl Stall {
    /// As the environment says; nowhere, as a rule.
    pub fn from_env() -> Self {
        let place = std::env::var(VARIABLE).ok().and_then(|text| {
            let (name, step) = text.split_once(':')?;
            Some((name.to_string(), step.parse().ok()?))
        });
        Self { place }
    }

    /// Stands still for good if this is the place.
    pub fn at(&self, name: &str, step: u64) {
        if self.place.as_ref().is_some_and(|place| place.0 == name && place.1 == step) {
            eprintln!("stalled at {name}:{step}");
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
    }
}
