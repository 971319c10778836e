//! Rules that join several settings. The ranges of single ones are in their definitions.

use std::fmt::Display;

use thinktune_policy::Sampling;

use super::{
    Check, GammaSchedule, GammaShape, GuidanceSettings, LossSettings, MiniBatchSettings, RewardSettings,
    RlSettings, RolloutSettings, RunSettings, Section, SettingError, SftSettings,
};

impl Check for RlSettings {
    fn check(&self) -> Result<(), SettingError> {
        self.rollout.check()?;
        self.guidance.check()?;
        self.reward.check()?;
        self.loss.check()?;
        self.optimizer.check_ranges()?;
        let (questions, mini) = (self.rollout.questions_per_step, self.mini_batch_questions);
        MiniBatchSettings { mini_batch_questions: mini }.check_ranges()?;
        ensure(
            questions.is_multiple_of(mini),
            "optimizer.mini_batch_questions",
            mini,
            format!("a divisor of rollout.questions_per_step = {questions}"),
        )?;
        let never_guided = self.guidance.gamma.start == 0.0 && self.guidance.gamma.end == 0.0;
        ensure(
            self.rollout.group_size >= 2 || !never_guided,
            "rollout.group_size",
            self.rollout.group_size,
            "at least 2: GRPO compares the attempts of a group with each other",
        )?;
        self.run.check_ranges()
    }
}

impl Check for SftSettings {
    fn check(&self) -> Result<(), SettingError> {
        self.optimizer.check_ranges()?;
        self.examples.check_ranges()?;
        let run = RunSettings {
            steps: 1,
            checkpoint_every: self.checkpoint_every,
            eval_every: None,
            log_logprobs: false,
            check_logprobs: false,
        };
        run.check_ranges()
    }
}

impl Check for RolloutSettings {
    fn check(&self) -> Result<(), SettingError> {
        self.check_ranges()?;
        let sampling = Sampling { temperature: self.temperature, ..plain(self.max_response_tokens) };
        sampling.check_ranges().map_err(|error| {
            let name = if error.name == "max_tokens" { "max_response_tokens" } else { error.name };
            SettingError::new(format!("rollout.{name}"), error.value, error.expected)
        })
    }
}

impl Check for GuidanceSettings {
    fn check(&self) -> Result<(), SettingError> {
        self.check_ranges()?;
        let GammaSchedule { shape, start, end, .. } = self.gamma;
        for (gamma, key) in [(start, "guidance.gamma.start"), (end, "guidance.gamma.end")] {
            let reachable = shape != GammaShape::Exponential || gamma > 0.0;
            ensure(reachable, key, gamma, "above 0: an exponential schedule multiplies by a fixed factor")?;
        }
        let never_on = start > 0.0 && start.max(end) <= self.min_gamma;
        ensure(
            !never_on,
            "guidance.min_gamma",
            self.min_gamma,
            format!("below gamma, which starts at {start}; to train without guidance set gamma to 0"),
        )?;
        let sampling = Sampling { temperature: self.teacher_temperature, ..plain(self.max_teacher_tokens) };
        sampling.check_ranges().map_err(|error| {
            SettingError::new(format!("guidance.teacher_{}", error.name), error.value, error.expected)
        })
    }
}

/// The sampling of training, but for what a section sets.
fn plain(max_tokens: usize) -> Sampling {
    Sampling::plain(0, max_tokens, Vec::new())
}

impl Check for RewardSettings {
    fn check(&self) -> Result<(), SettingError> {
        self.check_ranges()?;
        let phrase = self.phrase.as_deref().unwrap_or("-");
        ensure(!phrase.trim().is_empty(), "reward.phrase", format!("{phrase:?}"), "some text")
    }
}

impl Check for LossSettings {
    fn check(&self) -> Result<(), SettingError> {
        let [low, high] = self.advantage_range;
        let usable = low.is_finite() && high.is_finite() && low < high;
        let expected = "two finite numbers, the smaller first";
        ensure(usable, "loss.advantage_range", format!("[{low}, {high}]"), expected)?;
        self.check_ranges()?;
        let most_negative = self.c_at_max_advantage.min(self.c_at_min_advantage);
        let least = -2.0 * most_negative;
        ensure(
            self.low_confidence_below >= least,
            "loss.low_confidence_below",
            self.low_confidence_below,
            format!(
                "at least {least}, twice the size of the smaller c, {most_negative}: below that the weight p / (p + c) \
                 passes 2"
            ),
        )
    }
}

fn ensure(ok: bool, key: &str, value: impl Display, expected: impl Display) -> Result<(), SettingError> {
    if ok { Ok(()) } else { Err(SettingError::new(key, value, expected)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Checked, ExampleSettings};
    use crate::testing;

    fn refused(change: impl FnOnce(&mut RlSettings)) -> String {
        let mut settings = testing::rl_settings();
        change(&mut settings);
        Checked::new(settings).expect_err("a setting that cannot be used").to_string()
    }

    #[test]
    fn the_papers_defaults_pass() {
        assert!(Checked::new(testing::rl_settings()).is_ok());
    }

    #[test]
    fn each_error_names_key_value_and_what_was_expected() {
        let message = refused(|s| s.guidance.gamma.start = 1.5);
        assert_eq!(message, "guidance.gamma.start = 1.5: expected in [0, 1]");
        let message = refused(|s| s.mini_batch_questions = 3);
        assert_eq!(
            message,
            "optimizer.mini_batch_questions = 3: expected a divisor of rollout.questions_per_step = 4"
        );
    }

    #[test]
    fn every_limit_is_guarded() {
        type Change = fn(&mut RlSettings);
        let cases: &[(&str, Change)] = &[
            ("rollout.questions_per_step = 0", |s| s.rollout.questions_per_step = 0),
            ("rollout.group_size = 0", |s| s.rollout.group_size = 0),
            ("rollout.temperature = 0", |s| s.rollout.temperature = 0.0),
            ("rollout.temperature = NaN", |s| s.rollout.temperature = f32::NAN),
            ("rollout.max_prompt_tokens = 0", |s| s.rollout.max_prompt_tokens = 0),
            ("rollout.max_response_tokens = 0", |s| s.rollout.max_response_tokens = 0),
            ("guidance.gamma.end = -0.1", |s| s.guidance.gamma.end = -0.1),
            ("guidance.gamma.start = NaN", |s| s.guidance.gamma.start = f64::NAN),
            ("guidance.gamma.steps = 0", |s| s.guidance.gamma.steps = Some(0)),
            ("guidance.min_gamma = 1", |s| s.guidance.min_gamma = 1.0),
            ("guidance.min_gamma = 0.6", |s| s.guidance.min_gamma = 0.6),
            ("guidance.max_teacher_prompt_tokens = 0", |s| s.guidance.max_teacher_prompt_tokens = 0),
            ("guidance.max_teacher_tokens = 0", |s| s.guidance.max_teacher_tokens = 0),
            ("guidance.max_feedback_tokens = 0", |s| s.guidance.max_feedback_tokens = 0),
            ("guidance.teacher_temperature = -1", |s| s.guidance.teacher_temperature = -1.0),
            ("guidance.max_unguided_steps = 0", |s| s.guidance.max_unguided_steps = 0),
            ("reward.phrase = \" \"", |s| s.reward.phrase = Some(" ".into())),
            ("reward.phrase_bonus = inf", |s| s.reward.phrase_bonus = f64::INFINITY),
            ("loss.eps_low = 1.1", |s| s.loss.eps_low = 1.1),
            ("loss.eps_high = -0.2", |s| s.loss.eps_high = -0.2),
            ("loss.beta = -1", |s| s.loss.beta = -1.0),
            ("loss.c_at_max_advantage = 1", |s| s.loss.c_at_max_advantage = 1.0),
            ("loss.advantage_range = [-4, -4]", |s| s.loss.advantage_range[1] = -4.0),
            ("loss.advantage_range = [-inf, 4]", |s| s.loss.advantage_range[0] = f64::NEG_INFINITY),
            ("loss.low_confidence_below = 1", |s| s.loss.low_confidence_below = 1.0),
            ("loss.low_confidence_below = 0", |s| s.loss.low_confidence_below = 0.0),
            ("loss.low_confidence_below = 0.01", |s| s.loss.c_at_max_advantage = -0.006),
            ("optimizer.lr = 0", |s| s.optimizer.lr = 0.0),
            ("optimizer.weight_decay = -1", |s| s.optimizer.weight_decay = -1.0),
            ("optimizer.betas = [0.9, 1]", |s| s.optimizer.betas[1] = 1.0),
            ("optimizer.grad_clip = 0", |s| s.optimizer.grad_clip = 0.0),
            ("optimizer.mini_batch_questions = 0", |s| s.mini_batch_questions = 0),
            ("run.steps = 0", |s| s.run.steps = 0),
            ("run.checkpoint_every = 0", |s| s.run.checkpoint_every = 0),
            ("run.eval_every = 0", |s| s.run.eval_every = Some(0)),
        ];
        for (expected, change) in cases {
            let message = refused(change);
            assert!(message.starts_with(&format!("{expected}: expected ")), "{expected}: {message}");
        }
    }

    /// The ranges in the definitions are there for the schema; the rule is that of the sampler.
    #[test]
    fn defined_ranges_are_those_of_sampling() {
        for temperature in [-1.0, 0.0, 0.5, f32::NAN, f32::INFINITY] {
            let guidance =
                GuidanceSettings { teacher_temperature: temperature, ..testing::rl_settings().guidance };
            let rule = Sampling { temperature, ..plain(1) }.check_ranges();
            assert_eq!(guidance.check_ranges().is_ok(), rule.is_ok(), "{temperature}");
        }
        for tokens in [0, 1] {
            let rollout = RolloutSettings { max_response_tokens: tokens, ..testing::rl_settings().rollout };
            assert_eq!(rollout.check_ranges().is_ok(), plain(tokens).check_ranges().is_ok(), "{tokens}");
        }
    }

    /// w_aas = p / (p + c) is at most 2 from p = -2 c on; the released code's c of -1e-3 needs 2e-3.
    #[test]
    fn tau_is_at_least_twice_minus_c() {
        let with = |c1: f64, c2: f64, tau: f64| {
            let mut settings = testing::rl_settings();
            let loss = &mut settings.loss;
            (loss.c_at_max_advantage, loss.c_at_min_advantage, loss.low_confidence_below) = (c1, c2, tau);
            Checked::new(settings)
        };
        assert!(with(1e-4, -1e-4, 2e-4).is_ok() && with(-1e-3, -1e-3, 2e-3).is_ok());
        assert!(with(1e-4, 0.0, 0.0).is_ok(), "without a negative c nothing passes 1");
        let message = with(-1e-3, -1e-4, 1.9e-3).unwrap_err().to_string();
        let expected = "loss.low_confidence_below = 0.0019: expected at least 0.002, twice the size of the smaller c, -0.001";
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn an_exponential_schedule_cannot_reach_zero() {
        let message = refused(|s| {
            s.guidance.gamma =
                GammaSchedule { shape: GammaShape::Exponential, start: 0.5, end: 0.0, steps: None };
        });
        assert!(message.starts_with("guidance.gamma.end = 0: expected above 0"), "{message}");
    }

    #[test]
    fn a_group_of_one_is_refused_for_grpo_alone() {
        let one = |gamma: f64| {
            let mut settings = testing::rl_settings();
            settings.rollout.group_size = 1;
            settings.guidance.gamma.start = gamma;
            settings.guidance.gamma.end = gamma;
            Checked::new(settings)
        };
        assert!(one(0.5).is_ok());
        let message = one(0.0).unwrap_err().to_string();
        assert!(message.starts_with("rollout.group_size = 1: expected at least 2"), "{message}");
    }

    #[test]
    fn sft_has_its_own() {
        let good = SftSettings {
            seed: 1,
            examples: ExampleSettings { epochs: 1, batch_size: 1, max_tokens: 2 },
            optimizer: testing::optimizer(),
            checkpoint_every: 1,
        };
        assert!(Checked::new(good.clone()).is_ok());
        for (expected, bad) in [
            (
                "sft.epochs = 0",
                SftSettings {
                    examples: ExampleSettings { epochs: 0, ..good.examples.clone() },
                    ..good.clone()
                },
            ),
            (
                "sft.batch_size = 0",
                SftSettings {
                    examples: ExampleSettings { batch_size: 0, ..good.examples.clone() },
                    ..good.clone()
                },
            ),
            (
                "sft.max_tokens = 1",
                SftSettings {
                    examples: ExampleSettings { max_tokens: 1, ..good.examples.clone() },
                    ..good.clone()
                },
            ),
            ("run.checkpoint_every = 0", SftSettings { checkpoint_every: 0, ..good }),
        ] {
            assert!(Checked::new(bad).unwrap_err().to_string().starts_with(expected));
        }
    }
}
