//! What a program adds to a run, and runs with it.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use thinktune_policy::{
    Generate, Message, ModelError, Prompt, SampleKey, Sampling, Score, Stream, Teacher, Tokenizer,
};
use thinktune_runlog::event::{EvalMetrics, HeldOutRecord, HeldOutResult};

use super::{Bigram, Chars, ScriptedTeacher, run_folder, sums};
use crate::act::questions::Questions;
use crate::error::{EvaluateError, MethodError};
use crate::progress::{Control, Progress, Silent};
use crate::rl::RlRun;
use crate::run::{Evaluate, Hooks, RunEnd, drive};
use crate::settings::{Checked, RlSettings};
use crate::step::Models;

/// A student that answers `\\boxed{0}`, `\\boxed{2}` or rubbish, and sometimes does not end.
pub fn student() -> Bigram {
    Bigram::writing(&["\\boxed{0}", "\\boxed{2}", "x"], 9.0)
}

/// Trains on nine sums, with two held-out sets.
pub fn train_with(
    student: &mut Bigram,
    teacher: Option<&mut (dyn Teacher + '_)>,
    settings: RlSettings,
    dir: &Path,
    watcher: &mut dyn Watcher,
) -> Result<RunEnd, MethodError> {
    let questions = Questions::new(sums(9), &settings, &Chars).unwrap();
    let mut reference = student.clone();
    let reference = (settings.loss.beta > 0.0).then_some(&mut reference as &mut dyn Score);
    let teacher = teacher.map(|teacher| teacher as &mut dyn Teacher);
    let models = Models { student, tokenizer: &Chars, teacher, reference };
    let settings = Checked::new(settings).unwrap();
    let mut run = RlRun::new(models, &questions, &settings)?;
    let mut sets = HeldOutSets(vec!["easy", "hard"]);
    with_hooks(Some(&mut sets), watcher, |hooks| drive(&mut run, &mut run_folder(dir), hooks))
}

/// Trains with the scripted teacher.
pub fn train(student: &mut Bigram, settings: RlSettings, dir: &Path, watcher: &mut dyn Watcher) -> RunEnd {
    train_with(student, Some(&mut ScriptedTeacher), settings, dir, watcher).unwrap()
}

/// Progress and control in one, split for the loop by [`with_hooks`].
pub trait Watcher {
    /// A step is in the log.
    fn logged(&mut self) {}

    /// The user is told something.
    fn notice(&mut self, text: &str) {
        let _ = text;
    }

    /// Whether to stop.
    fn stops(&self) -> bool {
        false
    }
}

impl Watcher for Silent {}

/// Interrupts once that many steps are done.
#[derive(Debug)]
pub struct Stopper {
    steps: u32,
    done: u32,
}

impl Stopper {
    /// After `steps` steps.
    pub fn after(steps: u32) -> Self {
        Self { steps, done: 0 }
    }
}

impl Watcher for Stopper {
    fn logged(&mut self) {
        self.done += 1;
    }

    fn stops(&self) -> bool {
        self.done >= self.steps
    }
}

/// Dies while a step is being finished: logged, not yet in a checkpoint.
#[derive(Debug)]
pub struct Killer(Stopper);

impl Killer {
    /// After `steps` steps.
    pub fn after(steps: u32) -> Self {
        Self(Stopper::after(steps))
    }
}

impl Watcher for Killer {
    fn logged(&mut self) {
        self.0.logged();
        assert!(!self.0.stops(), "killed");
    }
}

/// One of the two halves of a watcher.
struct Half<'a, 'w>(&'a RefCell<&'w mut dyn Watcher>);

impl Progress for Half<'_, '_> {
    fn step(&mut self, _: u32, _: u32, _: &str) {
        self.0.borrow_mut().logged();
    }

    fn notice(&mut self, text: &str) {
        self.0.borrow_mut().notice(text);
    }
}

impl Control for Half<'_, '_> {
    fn interrupted(&mut self) -> bool {
        self.0.borrow().stops()
    }
}

/// Calls with hooks of a program that keeps one side file, `side.txt`, which names the step.
pub fn with_hooks<T>(
    evaluate: Option<&mut dyn Evaluate>,
    watcher: &mut dyn Watcher,
    call: impl FnOnce(&mut Hooks<'_>) -> T,
) -> T {
    let watcher = RefCell::new(watcher);
    let side_files = |step: u32, dir: &Path| {
        let path = dir.join("side.txt");
        fs::write(&path, step.to_string()).map_err(|e| ModelError::io(path, e))
    };
    let (mut progress, mut control) = (Half(&watcher), Half(&watcher));
    let evaluate = evaluate.map(|hook| hook as &mut dyn Evaluate);
    let (progress, control) = (&mut progress, &mut control);
    call(&mut Hooks { evaluate, side_files: &side_files, progress, control })
}

/// Asks one question per held-out set, greedily, and calls every answer wrong.
pub struct HeldOutSets(pub Vec<&'static str>);

impl Evaluate for HeldOutSets {
    fn evaluate(
        &mut self,
        student: &mut dyn Generate,
        step: u32,
        progress: &mut dyn Progress,
    ) -> Result<Vec<HeldOutResult>, EvaluateError> {
        let ask = |(index, set): (usize, &&str)| {
            let question = index as u32;
            let keys = vec![SampleKey { stream: Stream::HeldOut, step: 0, question, sample: 0 }];
            let prompt = Prompt { tokens: Chars.prompt_ids(&[Message::user(*set)])?.into(), keys };
            let sampling = Sampling::plain(11, 20, Chars.stop().to_vec());
            let made = student.generate(&[prompt], &sampling, &mut |so_far| progress.sampling(so_far))?;
            let (tokens, response) = (made[0][0].tokens.len() as u64, Chars.decode(&made[0][0].tokens));
            let metrics = EvalMetrics {
                set: set.to_string(),
                step: step.into(),
                questions: 1,
                samples: 1,
                response_tokens_mean: tokens as f64,
                ..EvalMetrics::default()
            };
            let (set, step, gold, verdict) = (set.to_string(), step.into(), "0".into(), "wrong".into());
            let answer = HeldOutRecord {
                set,
                step,
                question,
                sample: 0,
                gold,
                verdict,
                extracted: None,
                truncated: false,
                right: false,
                why_wrong: None,
                correct_any_end: false,
                changed: false,
                first_attempt_right: false,
                reflects: false,
                tokens,
                response,
            };
            Ok(HeldOutResult { metrics, answers: vec![answer] })
        };
        self.0.iter().enumerate().map(ask).collect()
    }
}
