//! The evaluation loop: benchmark by benchmark, method by method, a portion of questions at a time.

use thinktune_policy::{Generate, GenerateProgress, Message, Tokenizer};
use thinktune_tasks::Question;
use thinktune_tasks::benchmarks::Benchmark;

use crate::ask::{Conversation, Drawing, Interview, prompt};
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

/// A model under evaluation.
pub struct Subject<'a> {
    /// The model.
    pub model: &'a mut dyn Generate,
    /// Its tokenizer and chat template.
    pub language: &'a dyn Tokenizer,
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
        for portion in wanted[answers.len()..].chunks(self.settings.portion.max(1)) {
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
        let mut interview = Interview {
            model: &mut *subject.model,
            language: subject.language,
            method: self.method,
            drawing: Drawing { seed, temperature, context },
            progress: &mut |progress| watch.generating(progress),
        };
        interview.lead(&mut conversations)?;
        let records = conversations.iter().zip(portion);
        Ok(records
            .map(|(conversation, (question, _))| AnswerRecord::of(conversation, question, self.method))
            .collect())
    }

    fn asked(&self, question: &Question, language: &dyn Tokenizer) -> Result<Asked, EvalError> {
        let text = self.exam.benchmark.prompt(question);
        let length = prompt(language, &[Message::user(text.as_str())])?.len();
        let (answer_tokens, budget_tokens) = self.settings.limits(self.exam.benchmark);
        let room_tokens = self.settings.context.saturating_sub(length);
        Ok(Asked { prompt: text, answer_tokens, budget_tokens, room_tokens })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::folder::Identity;
    use crate::methods;
    use crate::testing::{Actor, Chars, exam, settings};
    use thinktune_policy::SampleKey;

    const METHODS: [&str; 2] = ["zero-shot", "self-correct"];

    fn identity(samples: &str) -> Identity {
        Identity {
            model: "m".into(),
            model_sha256: "sha".into(),
            settings: BTreeMap::from([("samples".into(), samples.into())]),
            benchmarks: BTreeMap::from([("word-problems".into(), "data".into())]),
        }
    }

    /// Right for even questions, wrong in every third sample.
    fn says(key: SampleKey, _: &str) -> String {
        let SampleKey { question, sample, step, .. } = key;
        let slip = question % 2 + u32::from(sample == 2);
        format!("round {step}: \\boxed{{{}}}", 2 * question + slip)
    }

    fn evaluate<F: Fn(SampleKey, &str) -> String>(
        dir: &Path,
        actor: &mut Actor<F>,
        questions: u32,
        samples: u32,
    ) -> Result<Vec<Summary>, EvalError> {
        let folder = EvalFolder::open(dir, identity(&samples.to_string()))?;
        let methods: Vec<_> = METHODS.iter().filter_map(|name| methods::by_name(name)).collect();
        let mut subject = Subject { model: actor, language: &Chars { template: true } };
        run(&mut subject, &[exam(questions)], &methods, &settings(samples), &folder, &mut Silent)
    }

    /// As text, in which what cannot be computed is equal to itself.
    fn shown(summaries: &[Summary]) -> String {
        crate::table::results_csv(summaries)
    }

    fn answers(dir: &Path) -> Vec<Vec<u8>> {
        let read =
            |name: &&str| std::fs::read(dir.join(format!("answers/word-problems.{name}.jsonl"))).unwrap();
        METHODS.iter().map(read).collect()
    }

    #[test]
    fn every_number_worked_out_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let summary = &evaluate(dir.path(), &mut Actor::new(says), 4, 3).unwrap()[0];
        assert_eq!((summary.questions, summary.samples), (4, 3));
        // questions 0 and 2: right, right, wrong; 1: wrong; 3: wrong
        assert!((summary.accuracy - 4.0 / 12.0).abs() < 1e-12);
        // repeats: 1/2, 1/2, 0
        assert!((summary.standard_error - (1.0f64 / 12.0 / 3.0).sqrt()).abs() < 1e-12);
        let at: Vec<(usize, f64)> = summary.pass_at.iter().map(|pass| (pass.k, pass.share)).collect();
        assert!((at[0].1 - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((at[0].0, at[1..].to_vec()), (1, vec![(2, 0.5), (3, 0.5)]));
        assert_eq!((summary.majority, summary.unparseable, summary.truncated), (0.5, 0.0, 0.0));
        assert!(summary.interval_low < 0.2 && summary.interval_high > 0.4);
        let lengths: usize = (0..12)
            .map(|i| {
                says(
                    SampleKey {
                        stream: thinktune_policy::Stream::Attempt,
                        step: 0,
                        question: i / 3,
                        sample: i % 3,
                    },
                    "",
                )
                .len()
                    + 1
            })
            .sum();
        assert_eq!(summary.tokens_mean, lengths as f64 / 12.0);
    }

    #[test]
    fn killed_anywhere_it_goes_on_to_the_same_bytes_and_asks_nothing_twice() {
        let whole = tempfile::tempdir().unwrap();
        let mut actor = Actor::new(says);
        let expected = shown(&evaluate(whole.path(), &mut actor, 5, 2).unwrap());
        let all = actor.asked.clone();
        assert_eq!(all.len(), 10 + 30);
        for calls in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let mut killed = Actor { dies_after: calls, ..Actor::new(says) };
            if evaluate(dir.path(), &mut killed, 5, 2).is_ok() {
                assert!(calls > 8, "the test needs several calls");
                break;
            }
            // a torn line, as a process killed in the middle of a write leaves it
            let log = dir.path().join("answers/word-problems.zero-shot.jsonl");
            let kept = std::fs::read(&log).unwrap_or_default();
            std::fs::write(&log, [&kept, &b"{\"question\":4,\"sam"[..]].concat()).unwrap();
            let mut again = Actor::new(says);
            assert_eq!(shown(&evaluate(dir.path(), &mut again, 5, 2).unwrap()), expected);
            assert_eq!(answers(dir.path()), answers(whole.path()));
            let lines = |log: &[u8]| log.iter().filter(|&&byte| byte == b'\n').count();
            let kept = lines(&kept);
            let asked_zero_shot = again.asked.iter().filter(|(_, prompt)| !prompt.contains("Review")).count();
            assert!(
                asked_zero_shot <= 10 - kept + 10 + 10,
                "{calls}: answers that were kept are not asked for"
            );
            assert!(calls == 0 || again.asked.len() < all.len());
        }
        let mut nobody = Actor { dies_after: 0, ..Actor::new(says) };
        let finished = evaluate(whole.path(), &mut nobody, 5, 2).unwrap();
        assert_eq!(shown(&finished), expected, "nothing is asked");
    }

    #[test]
    fn a_longer_evaluation_goes_on_from_a_shorter_one_and_a_shorter_one_asks_nothing() {
        let (long, grown) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        evaluate(long.path(), &mut Actor::new(says), 6, 2).unwrap();
        let short = evaluate(grown.path(), &mut Actor::new(says), 3, 2).unwrap();
        evaluate(grown.path(), &mut Actor::new(says), 6, 2).unwrap();
        assert_eq!(answers(long.path()), answers(grown.path()));
        let mut nobody = Actor { dies_after: 0, ..Actor::new(says) };
        assert_eq!(shown(&evaluate(grown.path(), &mut nobody, 3, 2).unwrap()), shown(&short));
        assert_eq!(answers(long.path()), answers(grown.path()), "nothing is lost");
    }

    #[test]
    fn a_folder_of_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        evaluate(dir.path(), &mut Actor::new(says), 2, 1).unwrap();
        let error = evaluate(dir.path(), &mut Actor::new(says), 2, 2).unwrap_err().to_string();
        assert!(error.contains("samples was 1 and now is 2"), "{error}");
        let other = Identity { model_sha256: "other".into(), model: "n".into(), ..identity("1") };
        let error = EvalFolder::open(dir.path(), other).unwrap_err().to_string();
        assert!(error.contains("the model was m with other weights, and now is n"), "{error}");
        let data =
            BTreeMap::from([("word-problems".into(), "changed".into()), ("csqa".into(), "new".into())]);
        let error = EvalFolder::open(dir.path(), Identity { benchmarks: data, ..identity("1") });
        assert!(error.unwrap_err().to_string().contains("the data of word-problems have changed"));
        let held = EvalFolder::open(dir.path(), identity("1")).unwrap();
        assert!(EvalFolder::open(dir.path(), identity("1")).is_err(), "held by another");
        drop(held);
        let log = dir.path().join("answers/word-problems.zero-shot.jsonl");
        let text = std::fs::read_to_string(&log).unwrap().replace("\"question\":1", "\"question\":7");
        std::fs::write(&log, text).unwrap();
        let error = evaluate(dir.path(), &mut Actor::new(says), 2, 1).unwrap_err().to_string();
        assert!(error.contains("line 2 of the answers") && error.contains("expected question 1"), "{error}");
    }

    #[test]
    fn answers_cut_off_or_without_room_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut actor = Actor::new(|key: SampleKey, _: &str| match key.question {
            0 => "x".repeat(300),
            _ => "no box".into(),
        });
        let summaries = evaluate(dir.path(), &mut actor, 2, 1).unwrap();
        assert_eq!((summaries[0].truncated, summaries[0].unparseable), (0.5, 1.0));
        let folder = EvalFolder::open(dir.path(), identity("1")).unwrap();
        let (_, kept) = folder.answers("word-problems", "zero-shot").unwrap();
        assert_eq!((kept[0].tokens, kept[0].truncated, kept[1].truncated), (100, true, false));
        assert!(kept[1].earlier.is_empty());
        let (_, kept) = folder.answers("word-problems", "self-correct").unwrap();
        assert_eq!((kept[1].rounds, kept[1].earlier.len(), kept[1].response.as_str()), (3, 2, "no box"));
    }
}
