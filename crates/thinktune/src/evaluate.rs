//! How a model answers held-out questions: asked as in training, one sample each at temperature 1.

use std::sync::Arc;

use thinktune_method::reward::phrase::says_once;
use thinktune_method::settings::Ask;
use thinktune_model::surface::{
    Completion, Finish, Generate, GenerateProgress, Prompt, SampleKey, Sampling, stream,
};
use thinktune_model::{Codec, LocalModel};
use thinktune_runlog::event::EvalMetrics;
use thinktune_tasks::{Question, Verdict, first_attempt, grade, reflects};

/// What to ask, and how.
pub struct Exam<'a> {
    /// Held-out questions.
    pub questions: &'a [Question],
    /// How they are put.
    pub ask: &'a Ask,
    /// A phrase whose use is counted.
    pub phrase: Option<&'a str>,
    /// Keys the random numbers.
    pub seed: u64,
    /// Longest response.
    pub max_tokens: usize,
}

/// One answer and what the grader says of it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Index of its question in the exam.
    pub question: usize,
    /// The text.
    pub text: String,
    /// Length in tokens.
    pub tokens: usize,
    /// It ended by itself.
    pub ended: bool,
    /// Ended by itself with a correct final answer.
    pub correct: bool,
    /// Its text up to the first reflection has a correct final answer.
    pub first_correct: bool,
    /// It goes on reflecting after a first final answer.
    pub reflects: bool,
    /// It holds the phrase exactly once.
    pub says_phrase: bool,
}

impl Exam<'_> {
    /// Asks every question once.
    ///
    /// # Errors
    /// A prompt the model cannot take.
    pub fn sit(
        &self,
        model: &mut LocalModel,
        codec: &Codec,
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> anyhow::Result<Vec<Answer>> {
        let prompt = |question: &Question| {
            let tokens: Arc<[u32]> = codec.prompt_ids(&self.ask.messages(question))?.into();
            let key = SampleKey { stream: stream::EVAL, step: 0, question: question.index, sample: 0 };
            Ok::<_, anyhow::Error>(Prompt { tokens, keys: vec![key] })
        };
        let prompts = self.questions.iter().map(prompt).collect::<Result<Vec<_>, _>>()?;
        let sampling = Sampling::plain(self.seed, self.max_tokens, codec.stop().to_vec());
        let completions = model.generate(&prompts, &sampling, progress)?;
        let answers = completions.iter().flatten().enumerate();
        Ok(answers.map(|(question, completion)| self.mark(question, completion, codec)).collect())
    }

    fn mark(&self, question: usize, completion: &Completion, codec: &Codec) -> Answer {
        let text = codec.decode(&completion.tokens);
        let gold = &self.questions[question].gold;
        let right = |text: &str| grade(text, gold).verdict == Verdict::Correct;
        let ended = completion.finish == Finish::Stop;
        Answer {
            question,
            tokens: completion.tokens.len(),
            ended,
            correct: ended && right(&text),
            first_correct: right(first_attempt(&text)),
            reflects: reflects(&text),
            says_phrase: self.phrase.is_some_and(|phrase| says_once(&text, phrase)),
            text,
        }
    }

    /// The numbers of a set of answers, one per question, of a student after `step` steps.
    pub fn summarise(&self, step: u64, answers: &[Answer]) -> EvalMetrics {
        let share = |of: &dyn Fn(&&Answer) -> bool| share(answers.iter(), of);
        let accuracy = share(&|a| a.correct);
        let n = answers.len() as f64;
        let kept = |first: bool| {
            let of = answers.iter().filter(|a| a.reflects && a.first_correct == first);
            self::share(of, &|a| a.correct)
        };
        EvalMetrics {
            step,
            questions: answers.len() as u64,
            samples: 1,
            accuracy,
            accuracy_stderr: (accuracy * (1.0 - accuracy) / (n - 1.0)).sqrt(),
            first_attempt_accuracy: share(&|a| a.first_correct),
            reflection_rate: share(&|a| a.reflects),
            phrase_rate: if self.phrase.is_some() { share(&|a| a.says_phrase) } else { f64::NAN },
            reflected_right_to_right: kept(true),
            reflected_wrong_to_right: kept(false),
            response_tokens_mean: answers.iter().map(|a| a.tokens as f64).sum::<f64>() / n,
            truncated: share(&|a| !a.ended),
        }
    }
}

/// Of these answers, the share for which `of` holds; NaN where there are none.
fn share<'a>(answers: impl Iterator<Item = &'a Answer>, of: &dyn Fn(&&Answer) -> bool) -> f64 {
    let (mut all, mut held) = (0u32, 0u32);
    for answer in answers {
        all += 1;
        held += u32::from(of(&answer));
    }
    f64::from(held) / f64::from(all)
}
