//! The evaluation loop: benchmark by benchmark, method by method, a portion of questions at a time.

use thinktune_model::Language;
use thinktune_model::chat::Message;
use thinktune_model::surface::{Generate, GenerateProgress};
use thinktune_tasks::Question;
use thinktune_tasks::benchmarks::Benchmark;

use crate::ask::{Conversation, Drawing, converse, prompt};
use crate::methods::{Asked, Method};
use crate::record::{AnswerRecord, Timing};
use crate::{EvalError, EvalFolder, Summary};

/// Questions of a benchmark.
#[derive(Debug, Clone)]
pub struct Exam {
    /// The benchmark.
    pub benchmark: &'static Benchmark,
    /// Its questions, or the first of them.
    pub questions: Vec<Question>,
}

/// How questions are asked.
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
    /// Tokens the model can hold.
    pub context: usize,
}

impl EvalSettings {
    /// Longest answer to a question of `benchmark`, and the budget that is forced.
    pub fn limits(&self, benchmark: &Benchmark) -> (usize, usize) {
        let answer = self.answer_tokens.unwrap_or(benchmark.answer_tokens);
        (answer, self.budget_tokens.unwrap_or(2 * answer))
    }
}

/// Who watches: shows progress and keeps the clock, which the evaluation itself has not.
pub trait Watch {
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

/// Watches without a word.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Watch for Silent {}

/// Answers asked for at a time: what a killed evaluation loses at most, and asks again.
const PORTION: usize = 128;

/// A model under evaluation.
pub struct Subject<'a> {
    /// The model.
    pub model: &'a mut dyn Generate,
    /// Its tokenizer and chat template.
    pub language: &'a dyn Language,
}

/// Asks every question that has no answer yet, and sums up.
///
/// # Errors
/// The model fails, or the folder cannot be written; answers kept before stay.
pub fn run(
    subject: &mut Subject<'_>,
    exams: &[Exam],
    methods: &[&'static dyn Method],
    settings: &EvalSettings,
    folder: &EvalFolder,
    watch: &mut dyn Watch,
) -> Result<Vec<Summary>, EvalError> {
    let mut summaries = Vec::new();
    for exam in exams {
        for &method in methods {
            let cell = Cell { exam, method, settings, folder };
            let answers = cell.complete(subject, watch)?;
            let speed = folder.speed(exam.benchmark.name, method.name())?;
            summaries.push(Summary::of(exam, method, settings, &answers, speed));
        }
    }
    Ok(summaries)
}

/// A benchmark by a method.
struct Cell<'a> {
    exam: &'a Exam,
    method: &'static dyn Method,
    settings: &'a EvalSettings,
    folder: &'a EvalFolder,
}

impl Cell<'_> {
    /// All answers, in the order of the questions.
    fn complete(
        &self,
        subject: &mut Subject<'_>,
        watch: &mut dyn Watch,
    ) -> Result<Vec<AnswerRecord>, EvalError> {
        let (benchmark, method) = (self.exam.benchmark.name, self.method.name());
        let (mut log, mut answers) = self.folder.answers(benchmark, method)?;
        let wanted: Vec<(&Question, u32)> = self.wanted().collect();
        self.check_order(&answers, &wanted)?;
        // an evaluation of more questions may have been here before
        answers.truncate(wanted.len());
        watch.begin(benchmark, method, answers.len(), wanted.len());
        for portion in wanted[answers.len()..].chunks(PORTION) {
            let began = watch.seconds();
            let records = self.ask(subject, portion, watch)?;
            for record in &records {
                log.append(record)?;
            }
            log.sync()?;
            if let (Some(began), Some(ended)) = (began, watch.seconds()) {
                let tokens = records.iter().map(|record| record.tokens).sum();
                let (benchmark, method) = (benchmark.into(), method.into());
                let timing = Timing { benchmark, method, tokens, seconds: ended - began };
                self.folder.append_timing(&timing)?;
            }
            watch.answered(records.len());
            answers.extend(records);
        }
        Ok(answers)
    }

    /// Every question with every sample of it, in order.
    fn wanted(&self) -> impl Iterator<Item = (&Question, u32)> {
        let samples = self.settings.samples;
        self.exam
            .questions
            .iter()
            .flat_map(move |question| (0..samples).map(move |sample| (question, sample)))
    }

    /// The answers there are must be to the first of the questions.
    fn check_order(&self, answers: &[AnswerRecord], wanted: &[(&Question, u32)]) -> Result<(), EvalError> {
        let strays = |(answer, (question, sample)): &(&AnswerRecord, &(&Question, u32))| {
            answer.question != question.index || answer.sample != *sample
        };
        match answers.iter().zip(wanted).position(|pair| strays(&pair)) {
            None => Ok(()),
            Some(line) => Err(EvalError::BadFolder {
                path: self.folder.dir().into(),
                message: format!(
                    "line {} of the answers to {} by {} is to question {}, sample {}; expected question {}, sample {}",
                    line + 1,
                    self.exam.benchmark.name,
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
        watch: &mut dyn Watch,
    ) -> Result<Vec<AnswerRecord>, EvalError> {
        let EvalSettings { seed, temperature, context, .. } = *self.settings;
        let mut conversations = Vec::with_capacity(portion.len());
        for (question, sample) in portion {
            let asked = self.asked(question, subject.language)?;
            conversations.push(Conversation::new(question.index, *sample, asked));
        }
        let drawing = Drawing { seed, temperature, context };
        let mut progress = |progress| watch.generating(progress);
        let Subject { model, language } = subject;
        converse(*model, *language, self.method, &drawing, &mut conversations, &mut progress)?;
        let records = conversations.iter().zip(portion);
        Ok(records
            .map(|(conversation, (question, _))| AnswerRecord::of(conversation, question, self.method))
            .collect())
    }

    fn asked(&self, question: &Question, language: &dyn Language) -> Result<Asked, EvalError> {
        let text = self.exam.benchmark.prompt(question);
        let length = prompt(language, &[Message::user(text.as_str())])?.len();
        let (answer_tokens, budget_tokens) = self.settings.limits(self.exam.benchmark);
        let room_tokens = self.settings.context.saturating_sub(length);
        Ok(Asked { prompt: text, answer_tokens, budget_tokens, room_tokens })
    }
}
