//! How well a model answers questions by itself: sampled answers, graded as in training.

use std::sync::Arc;

use thinktune_policy::{Completion, Generate, GenerateProgress, Prompt, SampleKey, Sampling, Stream};
use thinktune_runlog::event::EvalMetrics;
use thinktune_tasks::grading::grade;
use thinktune_tasks::{Question, Verdict, first_attempt, reflects};

use crate::error::MethodError;
use crate::language::Tokenizer;
use crate::record::{mean, mean_and_std, share};
use crate::reward::outcome::Outcome;
use crate::reward::phrase::says_once;
use crate::rollout::ended;
use crate::settings::Ask;

/// Questions held out, and how they are asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Exam {
    /// Its name, where a run has several.
    pub name: String,
    /// The questions.
    pub questions: Vec<Question>,
    /// How they are put.
    pub ask: Ask,
    /// Answers sampled per question.
    pub samples: usize,
    /// Sampling temperature; 0 = greedy.
    pub temperature: f32,
    /// Longest answer, in tokens.
    pub max_response_tokens: usize,
    /// Phrase whose rate is measured.
    pub phrase: Option<String>,
    /// Keys the random numbers, the same ones at every exam: what differs between two results is the model.
    pub seed: u64,
}

/// One graded answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Index of the question in its data set.
    pub question: u32,
    /// Index of the sample within its question.
    pub sample: usize,
    /// The answer.
    pub text: String,
    /// Its length.
    pub tokens: usize,
    /// How it came out.
    pub outcome: Outcome,
    /// Whether the text up to its first reflection, if any, has a correct final answer.
    pub first_attempt_right: bool,
    /// Whether it goes on reflecting after a first final answer.
    pub reflects: bool,
}

/// The answers to an exam and what they come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The summary.
    pub metrics: EvalMetrics,
    /// Every answer, question by question.
    pub answers: Vec<Answer>,
}

/// Lets `model` sit the exam; `step` is the training step it has reached.
///
/// # Errors
/// No questions or no samples, a prompt that does not fit, a failing model.
pub fn evaluate(
    model: &mut (impl Generate + ?Sized),
    language: &dyn Tokenizer,
    exam: &Exam,
    step: u32,
    progress: &mut dyn FnMut(GenerateProgress),
) -> Result<Evaluation, MethodError> {
    if exam.questions.is_empty() || exam.samples == 0 {
        return Err(MethodError::BadData("an evaluation needs at least one question and one sample".into()));
    }
    let key = |question: &Question, sample: usize| SampleKey {
        stream: Stream::HeldOut,
        step: 0,
        question: question.index,
        sample: sample as u32,
    };
    let prompt = |question: &Question| {
        let tokens: Arc<[u32]> = language.prompt_ids(&exam.ask.messages(question))?.into();
        Ok(Prompt { tokens, keys: (0..exam.samples).map(|sample| key(question, sample)).collect() })
    };
    let prompts = exam.questions.iter().map(prompt).collect::<Result<Vec<_>, MethodError>>()?;
    let sampling = Sampling {
        temperature: exam.temperature,
        ..Sampling::plain(exam.seed, exam.max_response_tokens, language.stop().to_vec())
    };
    let completions = model.generate(&prompts, &sampling, progress)?;
    let answers: Vec<Answer> = exam
        .questions
        .iter()
        .zip(&completions)
        .flat_map(|(question, made)| {
            made.iter().enumerate().map(move |(sample, made)| (question, sample, made))
        })
        .map(|(question, sample, made)| answer(question, sample, made, language))
        .collect();
    Ok(Evaluation { metrics: summary(&answers, exam, step), answers })
}

fn answer(question: &Question, sample: usize, made: &Completion, language: &dyn Tokenizer) -> Answer {
    let text = language.decode(&made.tokens);
    Answer {
        question: question.index,
        sample,
        tokens: made.tokens.len(),
        outcome: Outcome::of(question.kind, &text, ended(&made.tokens, language.stop()), &question.gold),
        first_attempt_right: grade(question.kind, &question.gold, first_attempt(&text)).verdict
            == Verdict::Correct,
        reflects: reflects(&text),
        text,
    }
}

fn summary(answers: &[Answer], exam: &Exam, step: u32) -> EvalMetrics {
    let per_question: Vec<f64> = answers
        .chunks(exam.samples)
        .map(|answers| share(answers, |answer| answer.outcome.is_right()))
        .collect();
    let (accuracy, deviation) = mean_and_std(&per_question);
    let reflecting = |first_right: bool| {
        let is = |answer: &&Answer| answer.reflects && answer.first_attempt_right == first_right;
        let of: Vec<&Answer> = answers.iter().filter(is).collect();
        share(&of, |answer| answer.outcome.is_right())
    };
    EvalMetrics {
        set: exam.name.clone(),
        step: step.into(),
        questions: exam.questions.len() as u64,
        samples: exam.samples as u64,
        accuracy,
        accuracy_stderr: deviation / (per_question.len() as f64).sqrt(),
        first_attempt_accuracy: share(answers, |answer| answer.first_attempt_right),
        reflection_rate: share(answers, |answer| answer.reflects),
        phrase_rate: match &exam.phrase {
            Some(phrase) => share(answers, |answer| says_once(&answer.text, phrase)),
            None => f64::NAN,
        },
        reflected_right_to_right: reflecting(true),
        reflected_wrong_to_right: reflecting(false),
        response_tokens_mean: mean(answers.iter().map(|answer| answer.tokens as f64)),
        truncated: share(answers, |answer| !answer.outcome.ended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Bigram, Chars, END};
    use thinktune_policy::Finish;
    use thinktune_policy::ModelError;

    /// Answers with the texts given, in order.
    struct Reciter(Vec<&'static str>);

    impl Generate for Reciter {
        fn generate(
            &mut self,
            prompts: &[Prompt],
            _: &Sampling,
            _: &mut dyn FnMut(GenerateProgress),
        ) -> Result<Vec<Vec<Completion>>, ModelError> {
            let mut texts = self.0.drain(..);
            let mut complete = || {
                let tokens = Chars.encode(texts.next().expect("a text for every sample"));
                let stopped = tokens.last() == Some(&END);
                let finish = if stopped { Finish::Stop } else { Finish::Length };
                Completion { logprobs: vec![-1.0; tokens.len()], tokens, finish }
            };
            Ok(prompts.iter().map(|prompt| prompt.keys.iter().map(|_| complete()).collect()).collect())
        }
    }

    fn exam(questions: u32, samples: usize) -> Exam {
        Exam {
            name: String::new(),
            questions: testing::sums(questions),
            ask: Ask::default(),
            samples,
            temperature: 1.0,
            max_response_tokens: 50,
            phrase: Some("aha".into()),
            seed: 5,
        }
    }

    #[test]
    fn every_number_worked_out_by_hand() {
        let mut model = Reciter(vec![
            "\\boxed{0}<end>",
            "\\boxed{1}\n\naha \\boxed{0}<end>",
            "\\boxed{2}\n\nno \\boxed{3}<end>",
            "\\boxed{2}",
        ]);
        let found = evaluate(&mut model, &Chars, &exam(2, 2), 7, &mut |_| ()).unwrap().metrics;
        assert_eq!((found.step, found.questions, found.samples), (7, 2, 2));
        assert_eq!(found.accuracy, 0.5, "right, mended, spoilt, cut off");
        let deviation = 0.5f64.sqrt();
        assert!((found.accuracy_stderr - deviation / 2f64.sqrt()).abs() < 1e-12, "question means 1 and 0");
        assert_eq!(found.first_attempt_accuracy, 0.75);
        assert_eq!(found.reflection_rate, 0.5);
        assert_eq!(found.phrase_rate, 0.25);
        assert_eq!((found.reflected_right_to_right, found.reflected_wrong_to_right), (0.0, 1.0));
        assert_eq!(found.truncated, 0.25);
        assert_eq!(found.response_tokens_mean, (10.0 + 25.0 + 24.0 + 9.0) / 4.0);
    }

    #[test]
    fn the_same_model_gives_the_same_answers_at_any_step() {
        let mut model = Bigram::writing(&["\\boxed{0}", "x"], 6.0);
        let mut sit = |step| evaluate(&mut model, &Chars, &exam(4, 3), step, &mut |_| ()).unwrap().answers;
        let answers = sit(0);
        assert_eq!(answers, sit(9));
        assert!(answers.windows(2).any(|pair| pair[0].text != pair[1].text));
        assert_eq!((answers[11].question, answers[11].sample), (3, 2));
    }

    #[test]
    fn an_empty_exam_is_refused() {
        let sit = |exam: &Exam| evaluate(&mut Bigram::default(), &Chars, exam, 0, &mut |_| ()).is_err();
        assert!(sit(&exam(0, 1)) && sit(&exam(1, 0)));
    }
}
