//! The evaluation loop: benchmark by benchmark, method by method, a portion of questions at a time.

#[cfg(test)]
mod tests;

use thinktune_policy::{GenerateProgress, Message, Stream};
use thinktune_tasks::Question;
use thinktune_tasks::benchmarks::Benchmark;

use crate::ask::{AnswerSampling, Conversation, Conversations, prompt};
use crate::methods::{Method, QuestionPrompt};
use crate::record::{AnswerRecord, Timing};
use crate::{EvalError, EvalFolder, Subject, Summary};

/// Questions of a benchmark.
#[derive(Debug, Clone)]
pub struct BenchmarkSet {
    /// The benchmark.
    pub benchmark: &'static Benchmark,
    /// Its questions, or the first of them.
    pub questions: Vec<Question>,
    /// Appended to each question: how to answer.
    pub suffix: String,
}

/// Settings of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalSettings {
    /// Samples of each question.
    pub samples: u32,
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Keys all random numbers.
    pub seed: u64,
    /// Longest answer, in tokens; the benchmark's own where there is none.
    pub answer_tokens: Option<usize>,
    /// Tokens that budget forcing uses; twice the longest answer where there is none.
    pub budget_tokens: Option<usize>,
    /// System message, if any.
    pub system: Option<String>,
    /// Answers asked for at a time: what a killed evaluation loses at most, and asks again. Changes no answer.
    pub portion: usize,
}

impl EvalSettings {
    /// Longest answer to a question of `benchmark`, and the budget that is forced.
    pub fn limits(&self, benchmark: &Benchmark) -> (usize, usize) {
        let answer = self.answer_tokens.unwrap_or(benchmark.answer_tokens);
        (answer, self.budget_tokens.unwrap_or(2 * answer))
    }
}

/// Display of an evaluation, with the clock that the evaluation itself has not.
pub trait EvalProgress {
    /// A benchmark by a method begins; `done` of its `total` answers were there before.
    fn begin(&mut self, benchmark: &str, method: &str, done: usize, total: usize) {
        let _ = (benchmark, method, done, total);
    }

    /// Generation of the portion at hand has come this far.
    fn generating(&mut self, progress: GenerateProgress) {
        let _ = progress;
    }

    /// So many answers more are graded and kept.
    fn answered(&mut self, answers: usize) {
        let _ = answers;
    }

    /// Seconds since any fixed moment, for those who keep a clock.
    fn seconds(&mut self) -> Option<f64> {
        None
    }
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl EvalProgress for Silent {}

/// Asks every question that has no answer yet, and sums up.
///
/// # Errors
/// The model fails, or the folder cannot be written; answers kept before stay.
pub fn run(
    subject: &mut Subject<'_>,
    sets: &[BenchmarkSet],
    methods: &[&'static dyn Method],
    settings: &EvalSettings,
    folder: &EvalFolder,
    progress: &mut dyn EvalProgress,
) -> Result<Vec<Summary>, EvalError> {
    let mut summaries = Vec::new();
    for set in sets {
        for &method in methods {
            let cell = Cell { set, method, settings, folder };
            let answers = cell.complete(subject, progress)?;
            let speed = folder.speed(set.benchmark.name, method.name())?;
            summaries.push(Summary::of(set, method, settings, &answers, speed));
        }
    }
    Ok(summaries)
}

/// A benchmark by a method.
struct Cell<'a> {
    set: &'a BenchmarkSet,
    method: &'static dyn Method,
    settings: &'a EvalSettings,
    folder: &'a EvalFolder,
}

impl Cell<'_> {
    /// All answers, in the order of the questions.
    fn complete(
        &self,
        subject: &mut Subject<'_>,
        progress: &mut dyn EvalProgress,
    ) -> Result<Vec<AnswerRecord>, EvalError> {
        let (benchmark, method) = (self.set.benchmark.name, self.method.name());
        let (mut log, mut answers) = self.folder.answers(benchmark, method)?;
        let wanted: Vec<(&Question, u32)> = self.wanted().collect();
        self.check_order(&answers, &wanted)?;
        // an evaluation of more questions may have been here before
        answers.truncate(wanted.len());
        progress.begin(benchmark, method, answers.len(), wanted.len());
        for portion in wanted[answers.len()..].chunks(self.settings.portion.max(1)) {
            let began = progress.seconds();
            let records = self.ask(subject, portion, progress)?;
            for record in &records {
                log.append(record)?;
            }
            log.sync()?;
            if let (Some(began), Some(ended)) = (began, progress.seconds()) {
                let tokens = records.iter().map(|record| record.tokens).sum();
                let (benchmark, method) = (benchmark.into(), method.into());
                let timing = Timing { benchmark, method, tokens, seconds: ended - began };
                self.folder.append_timing(&timing)?;
            }
            progress.answered(records.len());
            answers.extend(records);
        }
        Ok(answers)
    }

    /// Every question with every sample of it, in order.
    fn wanted(&self) -> impl Iterator<Item = (&Question, u32)> {
        let samples = self.settings.samples;
        self.set.questions.iter().flat_map(move |question| (0..samples).map(move |sample| (question, sample)))
    }

    /// The answers there are must be to the first of the questions.
    fn check_order(&self, answers: &[AnswerRecord], wanted: &[(&Question, u32)]) -> Result<(), EvalError> {
        let differs = |(answer, (question, sample)): &(&AnswerRecord, &(&Question, u32))| {
            answer.question != question.index || answer.sample != *sample
        };
        match answers.iter().zip(wanted).position(|pair| differs(&pair)) {
            None => Ok(()),
            Some(line) => Err(EvalError::BadFolder {
                path: self.folder.dir().into(),
                message: format!(
                    "line {} of the answers to {} by {} is to question {}, sample {}; expected question {}, sample {}",
                    line + 1,
                    self.set.benchmark.name,
                    self.method.name(),
                    answers[line].question,
                    answers[line].sample,
                    wanted[line].0.index,
                    wanted[line].1
                ),
            }),
        }
    }

    fn ask(
        &self,
        subject: &mut Subject<'_>,
        portion: &[(&Question, u32)],
        progress: &mut dyn EvalProgress,
    ) -> Result<Vec<AnswerRecord>, EvalError> {
        let EvalSettings { seed, temperature, .. } = *self.settings;
        let mut conversations = Vec::with_capacity(portion.len());
        for (question, sample) in portion {
            let asked = self.asked(question, subject)?;
            conversations.push(Conversation::new(question.index, *sample, asked));
        }
        let sampling = AnswerSampling { stream: Stream::Benchmark, seed, temperature };
        let shown = &mut |so_far| progress.generating(so_far);
        Conversations { subject, method: self.method, sampling, progress: shown }
            .finish(&mut conversations)?;
        let records = conversations.iter().zip(portion);
        Ok(records
            .map(|(conversation, (question, _))| AnswerRecord::of(conversation, question, self.method))
            .collect())
    }

    fn asked(&self, question: &Question, subject: &Subject<'_>) -> Result<QuestionPrompt, EvalError> {
        let text = format!("{}{}", question.text, self.set.suffix);
        let system = self.settings.system.clone();
        let mut messages: Vec<Message> = system.iter().map(Message::system).collect();
        messages.push(Message::user(text.as_str()));
        let length = prompt(subject.tokenizer, &messages)?.len();
        let (answer_tokens, budget_tokens) = self.settings.limits(self.set.benchmark);
        let room_tokens = subject.context.saturating_sub(length);
        Ok(QuestionPrompt { system, prompt: text, answer_tokens, budget_tokens, room_tokens })
    }
}
