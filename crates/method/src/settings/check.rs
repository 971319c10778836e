//! What each setting may be.

use std::fmt::Display;

use super::{
    Check, GammaSchedule, GammaShape, GuidanceSettings, LossSettings, OptimizerSettings, RewardSettings,
    RlSettings, RolloutSettings, SettingError, SftSettings,
};

impl Check for RlSettings {
    fn check(&self) -> Result<(), SettingError> {
        self.rollout.check()?;
        self.guidance.check()?;
        self.reward.check()?;
        self.loss.check()?;
        self.optimizer.check()?;
        let (questions, mini) = (self.rollout.questions_per_step, self.mini_batch_questions);
        ensure(
            mini > 0 && questions.is_multiple_of(mini),
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
        ensure(self.run.steps > 0, "run.steps", self.run.steps, "at least 1")?;
        ensure(self.run.eval_every != Some(0), "run.eval_every", 0, "at least 1")?;
        ensure_every(self.run.checkpoint_every)
    }
}

impl Check for SftSettings {
    fn check(&self) -> Result<(), SettingError> {
        self.optimizer.check()?;
        ensure(self.epochs > 0, "sft.epochs", self.epochs, "at least 1")?;
        ensure(self.batch_size > 0, "sft.batch_size", self.batch_size, "at least 1")?;
        ensure(self.max_tokens > 1, "sft.max_tokens", self.max_tokens, "at least 2")?;
        ensure_every(self.checkpoint_every)
    }
}

impl Check for RolloutSettings {
    fn check(&self) -> Result<(), SettingError> {
        let at_least_1 = |value: usize, key| ensure(value > 0, key, value, "at least 1");
        at_least_1(self.questions_per_step, "rollout.questions_per_step")?;
        at_least_1(self.group_size, "rollout.group_size")?;
        ensure_temperature(self.temperature, "rollout.temperature")?;
        at_least_1(self.top_k.unwrap_or(1), "rollout.top_k")?;
        ensure(self.top_p > 0.0 && self.top_p <= 1.0, "rollout.top_p", self.top_p, "in (0, 1]; 1 is off")?;
        ensure((0.0..1.0).contains(&self.min_p), "rollout.min_p", self.min_p, "in [0, 1); 0 is off")?;
        at_least_1(self.max_prompt_tokens, "rollout.max_prompt_tokens")?;
        at_least_1(self.max_response_tokens, "rollout.max_response_tokens")
    }
}

impl Check for GuidanceSettings {
    fn check(&self) -> Result<(), SettingError> {
        let GammaSchedule { shape, start, end, steps } = self.gamma;
        for (gamma, key) in [(start, "guidance.gamma.start"), (end, "guidance.gamma.end")] {
            ensure((0.0..=1.0).contains(&gamma), key, gamma, "in [0, 1]")?;
            let reachable = shape != GammaShape::Exponential || gamma > 0.0;
            ensure(reachable, key, gamma, "above 0: an exponential schedule multiplies by a fixed factor")?;
        }
        ensure(steps != Some(0), "guidance.gamma.steps", 0, "at least 1")?;
        ensure((0.0..1.0).contains(&self.off_below), "guidance.off_below", self.off_below, "in [0, 1)")?;
        let never_on = start > 0.0 && start.max(end) <= self.off_below;
        ensure(
            !never_on,
            "guidance.off_below",
            self.off_below,
            format!("below gamma, which starts at {start}; to train without guidance set gamma to 0"),
        )?;
        let at_least_1 = |value: usize, key| ensure(value > 0, key, value, "at least 1");
        at_least_1(self.max_teacher_prompt_tokens, "guidance.max_teacher_prompt_tokens")?;
        at_least_1(self.max_teacher_tokens, "guidance.max_teacher_tokens")?;
        at_least_1(self.max_feedback_tokens, "guidance.max_feedback_tokens")?;
        let temperature = self.teacher_temperature;
        ensure(
            temperature >= 0.0 && temperature.is_finite(),
            "guidance.teacher_temperature",
            temperature,
            "0 (greedy) or a positive number",
        )?;
        at_least_1(self.starved_steps as usize, "guidance.starved_steps")
    }
}

impl Check for RewardSettings {
    fn check(&self) -> Result<(), SettingError> {
        let phrase = self.phrase.as_deref().unwrap_or("-");
        ensure(!phrase.trim().is_empty(), "reward.phrase", format!("{phrase:?}"), "some text")?;
        let bonus = self.phrase_bonus;
        ensure(bonus.is_finite(), "reward.phrase_bonus", bonus, "a finite number")
    }
}

impl Check for LossSettings {
    fn check(&self) -> Result<(), SettingError> {
        ensure((0.0..=1.0).contains(&self.eps_low), "loss.eps_low", self.eps_low, "in [0, 1]")?;
        let (high, beta) = (self.eps_high, self.beta);
        ensure(high >= 0.0 && high.is_finite(), "loss.eps_high", high, "0 or a positive number")?;
        ensure(beta >= 0.0 && beta.is_finite(), "loss.beta", beta, "0 or a positive number")?;
        for (c, key) in [(self.c1, "loss.c1"), (self.c2, "loss.c2")] {
            ensure(c.abs() < 1.0, key, c, "in (-1, 1): it is added to a probability")?;
        }
        let (a_min, a_max) = (self.a_min, self.a_max);
        let usable = a_min.is_finite() && a_max.is_finite() && a_min < a_max;
        ensure(
            usable,
            "loss.a_range",
            format!("[{a_min}, {a_max}]"),
            "two finite numbers, the smaller first",
        )?;
        ensure((0.0..1.0).contains(&self.tau), "loss.tau", self.tau, "in [0, 1)")
    }
}

impl Check for OptimizerSettings {
    fn check(&self) -> Result<(), SettingError> {
        let (lr, decay, clip) = (self.lr, self.weight_decay, self.grad_clip);
        ensure(lr > 0.0 && lr.is_finite(), "optimizer.lr", lr, "a positive number")?;
        ensure(decay >= 0.0 && decay.is_finite(), "optimizer.weight_decay", decay, "0 or a positive number")?;
        let (first, second) = (self.beta1, self.beta2);
        let usable = [first, second].iter().all(|beta| (0.0..1.0).contains(beta));
        ensure(usable, "optimizer.betas", format!("[{first}, {second}]"), "two numbers in [0, 1)")?;
        ensure(self.eps > 0.0 && self.eps.is_finite(), "optimizer.eps", self.eps, "a positive number")?;
        ensure(clip > 0.0, "optimizer.grad_clip", clip, "a positive number; inf turns clipping off")
    }
}

fn ensure_temperature(value: f32, key: &str) -> Result<(), SettingError> {
    ensure(
        value > 0.0 && value.is_finite(),
        key,
        value,
        "a positive number (training samples, never greedily)",
    )
}

fn ensure_every(checkpoint_every: u32) -> Result<(), SettingError> {
    ensure(checkpoint_every > 0, "run.checkpoint_every", checkpoint_every, "at least 1")
}

fn ensure(ok: bool, key: &str, value: impl Display, expected: impl Into<String>) -> Result<(), SettingError> {
    if ok {
        return Ok(());
    }
    Err(SettingError { key: key.into(), value: value.to_string(), expected: expected.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Checked;
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
            ("rollout.top_k = 0", |s| s.rollout.top_k = Some(0)),
            ("rollout.top_p = 0", |s| s.rollout.top_p = 0.0),
            ("rollout.min_p = 1", |s| s.rollout.min_p = 1.0),
            ("rollout.max_prompt_tokens = 0", |s| s.rollout.max_prompt_tokens = 0),
            ("rollout.max_response_tokens = 0", |s| s.rollout.max_response_tokens = 0),
            ("guidance.gamma.end = -0.1", |s| s.guidance.gamma.end = -0.1),
            ("guidance.gamma.start = NaN", |s| s.guidance.gamma.start = f64::NAN),
            ("guidance.gamma.steps = 0", |s| s.guidance.gamma.steps = Some(0)),
            ("guidance.off_below = 1", |s| s.guidance.off_below = 1.0),
            ("guidance.off_below = 0.6", |s| s.guidance.off_below = 0.6),
            ("guidance.max_teacher_prompt_tokens = 0", |s| s.guidance.max_teacher_prompt_tokens = 0),
            ("guidance.max_teacher_tokens = 0", |s| s.guidance.max_teacher_tokens = 0),
            ("guidance.max_feedback_tokens = 0", |s| s.guidance.max_feedback_tokens = 0),
            ("guidance.teacher_temperature = -1", |s| s.guidance.teacher_temperature = -1.0),
            ("guidance.starved_steps = 0", |s| s.guidance.starved_steps = 0),
            ("reward.phrase = \" \"", |s| s.reward.phrase = Some(" ".into())),
            ("reward.phrase_bonus = inf", |s| s.reward.phrase_bonus = f64::INFINITY),
            ("loss.eps_low = 1.1", |s| s.loss.eps_low = 1.1),
            ("loss.eps_high = -0.2", |s| s.loss.eps_high = -0.2),
            ("loss.beta = -1", |s| s.loss.beta = -1.0),
            ("loss.c1 = 1", |s| s.loss.c1 = 1.0),
            ("loss.a_range = [-4, -4]", |s| s.loss.a_max = -4.0),
            ("loss.a_range = [-inf, 4]", |s| s.loss.a_min = f64::NEG_INFINITY),
            ("loss.tau = 1", |s| s.loss.tau = 1.0),
            ("optimizer.lr = 0", |s| s.optimizer.lr = 0.0),
            ("optimizer.weight_decay = -1", |s| s.optimizer.weight_decay = -1.0),
            ("optimizer.betas = [0.9, 1]", |s| s.optimizer.beta2 = 1.0),
            ("optimizer.eps = 0", |s| s.optimizer.eps = 0.0),
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
            epochs: 1,
            batch_size: 1,
            max_tokens: 2,
            optimizer: testing::optimizer(),
            checkpoint_every: 1,
        };
        assert!(Checked::new(good.clone()).is_ok());
        for (expected, bad) in [
            ("sft.epochs = 0", SftSettings { epochs: 0, ..good.clone() }),
            ("sft.batch_size = 0", SftSettings { batch_size: 0, ..good.clone() }),
            ("sft.max_tokens = 1", SftSettings { max_tokens: 1, ..good.clone() }),
            ("run.checkpoint_every = 0", SftSettings { checkpoint_every: 0, ..good }),
        ] {
            assert!(Checked::new(bad).unwrap_err().to_string().starts_with(expected));
        }
    }
}
