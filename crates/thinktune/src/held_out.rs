//! The held-out sets of a run, loaded, and their evaluation between two steps.

use thinktune_eval::held_out::{HeldOutSet, evaluate};
use thinktune_eval::{EvalError, Subject};
use thinktune_method::error::EvaluateError;
use thinktune_method::progress::Progress;
use thinktune_method::run::Evaluate;
use thinktune_policy::{Generate, Tokenizer};
use thinktune_runlog::event::HeldOutResult;
use thinktune_tasks::benchmarks::{self, Benchmark, Source};

use crate::plan::{HeldOut, Plan};

/// A held-out set with its questions, put as the benchmark puts them.
///
/// # Errors
/// The file cannot be read, or a line of it is bad.
pub fn load(set: &HeldOut, plan: &Plan) -> anyhow::Result<HeldOutSet> {
    let HeldOut { benchmark, limit, samples, temperature, max_tokens, .. } = *set;
    let mut questions = match (&benchmark.source, &set.path) {
        (Source::Generated(generate), _) => generate(plan.seed, limit),
        (Source::Rows { .. }, Some(path)) => benchmark.load(path, plan.seed)?,
        (Source::Rows { .. }, None) => Vec::new(),
    };
    questions.truncate(limit);
    Ok(HeldOutSet {
        name: benchmark.name.into(),
        questions,
        system: plan.data.ask.system.clone(),
        suffix: suffix_of(benchmark, plan.data.task.name(), &plan.data.ask.suffix).into(),
        samples: samples as u32,
        temperature,
        answer_tokens: max_tokens,
        phrase: None,
        seed: plan.seed,
    })
}

/// The text after each question of a benchmark, for a model that was trained on a task with a suffix: that suffix, where
/// the benchmark asks as the task's own does. A benchmark that asks for something else (a letter, yes or no) keeps its own.
pub fn suffix_of<'a>(benchmark: &Benchmark, task: &str, trained: &'a str) -> &'a str {
    let task = benchmarks::renamed(task).unwrap_or(task);
    let own = benchmarks::by_name(task).map(|known| known.suffix);
    if own == Some(benchmark.suffix) { trained } else { benchmark.suffix }
}

/// The sets of a run, and what the student is asked them with.
pub struct HeldOutSets<'a> {
    /// The sets, in the order of the configuration.
    pub sets: Vec<HeldOutSet>,
    /// The student's tokenizer.
    pub tokenizer: &'a dyn Tokenizer,
    /// Tokens the student can hold.
    pub context: usize,
}

impl Evaluate for HeldOutSets<'_> {
    fn evaluate(
        &mut self,
        student: &mut dyn Generate,
        step: u32,
        progress: &mut dyn Progress,
    ) -> Result<Vec<HeldOutResult>, EvaluateError> {
        let mut subject = Subject { model: student, tokenizer: self.tokenizer, context: self.context };
        let mut asked = |set| evaluate(&mut subject, set, step, &mut |so_far| progress.sampling(so_far));
        Ok(self.sets.iter().map(&mut asked).collect::<Result<Vec<_>, EvalError>>()?)
    }
}
