//! Draw of a step's questions: a fresh permutation every epoch, derived from the step number alone.

use std::sync::Arc;

use thinktune_policy::{SampleKey, Stream, Tokenizer, rng};
use thinktune_tasks::Question;

use crate::error::MethodError;
use crate::rollout::Asked;
use crate::settings::{RlSettings, SettingError};

/// The questions of a run, in data order, each with its prompt.
#[derive(Debug, Clone)]
pub struct Questions {
    asked: Vec<Arc<Asked>>,
    seed: u64,
    per_step: usize,
}

impl Questions {
    /// Prepares all prompts, so that a prompt beyond the limit fails before the first step.
    ///
    /// # Errors
    /// No questions, fewer than one step draws, or a prompt that is too long.
    pub fn new(
        questions: Vec<Question>,
        settings: &RlSettings,
        tokenizer: &dyn Tokenizer,
    ) -> Result<Self, MethodError> {
        let per_step = settings.rollout.questions_per_step;
        if questions.len() < per_step {
            return Err(MethodError::Setting(SettingError {
                key: "rollout.questions_per_step".into(),
                value: per_step.to_string(),
                expected: format!("at most the number of questions, {}", questions.len()),
            }));
        }
        let limit = settings.rollout.max_prompt_tokens;
        let asked = questions.into_iter().map(|question| {
            let prompt = tokenizer.prompt_ids(&settings.ask.messages(&question))?;
            if prompt.len() > limit {
                return Err(MethodError::BadData(format!(
                    "the prompt of question {} has {} tokens; rollout.max_prompt_tokens = {limit}",
                    question.index,
                    prompt.len()
                )));
            }
            Ok(Arc::new(Asked { question, prompt: prompt.into() }))
        });
        Ok(Self { asked: asked.collect::<Result<_, _>>()?, seed: settings.seed, per_step })
    }

    /// The questions of `step` (from 1). Those left over at the end of an epoch wait for the next
    /// permutation: no step sees a question twice.
    pub fn of_step(&self, step: u32) -> Vec<Arc<Asked>> {
        let steps_per_epoch = self.steps_per_epoch();
        let (epoch, place) = ((step as usize - 1) / steps_per_epoch, (step as usize - 1) % steps_per_epoch);
        let order = permutation(self.seed, epoch as u32, self.asked.len());
        let drawn = &order[place * self.per_step..(place + 1) * self.per_step];
        drawn.iter().map(|&index| Arc::clone(&self.asked[index])).collect()
    }

    /// Epochs done after `step` steps.
    pub fn epochs_after(&self, step: u32) -> f64 {
        f64::from(step) / self.steps_per_epoch() as f64
    }

    /// All of them, in data order.
    pub fn all(&self) -> &[Arc<Asked>] {
        &self.asked
    }

    fn steps_per_epoch(&self) -> usize {
        self.asked.len() / self.per_step
    }
}

/// The order of `len` items in an epoch (from 0).
pub fn permutation(seed: u64, epoch: u32, len: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    rng::shuffle(
        seed,
        SampleKey { stream: Stream::Shuffle, step: epoch, question: 0, sample: 0 },
        &mut order,
    );
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn questions(count: u32, per_step: usize) -> Questions {
        let mut settings = testing::rl_settings();
        settings.rollout.questions_per_step = per_step;
        Questions::new(testing::sums(count), &settings, &testing::Chars).unwrap()
    }

    fn indices(questions: &Questions, step: u32) -> Vec<u32> {
        questions.of_step(step).iter().map(|asked| asked.question.index).collect()
    }

    #[test]
    fn an_epoch_sees_each_question_at_most_once_and_epochs_differ() {
        let questions = questions(11, 3);
        let epoch =
            |first: u32| (first..first + 3).flat_map(|step| indices(&questions, step)).collect::<Vec<_>>();
        let (one, two) = (epoch(1), epoch(4));
        let mut distinct = one.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 9);
        assert_ne!(one, two);
        assert_eq!(questions.epochs_after(3), 1.0);
    }

    #[test]
    fn a_step_needs_enough_questions_and_short_enough_prompts() {
        let mut settings = testing::rl_settings();
        settings.rollout.questions_per_step = 3;
        let new = |settings: &RlSettings| Questions::new(testing::sums(2), settings, &testing::Chars);
        let message = new(&settings).unwrap_err().to_string();
        assert!(message.contains("rollout.questions_per_step = 3"), "{message}");
        settings.rollout.questions_per_step = 1;
        settings.rollout.max_prompt_tokens = 2;
        let message = new(&settings).unwrap_err().to_string();
        assert!(message.contains("question 0 has") && message.contains("max_prompt_tokens = 2"), "{message}");
    }
}
