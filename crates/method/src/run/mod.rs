//! The run loop of every training method: step, log, evaluate, checkpoint; resume; stop when asked to.
//!
//! A method is a [`Run`]: what a step does, what is logged of it, and what a checkpoint holds beside the student.
//! [`drive`] does the rest, the same for all.

mod timed;

#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thinktune_policy::model_files::WrittenFile;
use thinktune_policy::{Generate, ModelError, Policy};
use thinktune_runlog::event::{HeldOutRecord, HeldOutResult, RolloutRecord};
use thinktune_runlog::{FileHash, Phase, PhaseTokens, RunFolder};

use crate::error::{EvaluateError, MethodError};
use crate::progress::{Control, Progress};
use timed::Timed;

/// A training method, as the run loop sees it.
pub trait Run {
    /// The line of a step in `metrics.jsonl`.
    type Metrics: Serialize;
    /// Type of the state that a checkpoint holds beside the student.
    type State: Serialize + DeserializeOwned;

    /// Steps of the run, and what is due after which.
    fn schedule(&self) -> Schedule;

    /// The model that learns, to be saved.
    fn student(&self) -> &dyn Policy;

    /// The model that learns, to be restored and evaluated.
    fn student_mut(&mut self) -> &mut dyn Policy;

    /// State that the next checkpoint holds beside the student.
    fn state(&self) -> &Self::State;

    /// Goes on from the state of a checkpoint.
    fn restore(&mut self, state: Self::State);

    /// Makes step `number`, from 1.
    ///
    /// # Errors
    /// A model that fails, a loss that is not finite.
    fn step(
        &mut self,
        number: u32,
        progress: &mut dyn Progress,
    ) -> Result<StepLog<Self::Metrics>, MethodError>;

    /// Says whether the run may go on after `step`, which is in the log and can be read.
    ///
    /// # Errors
    /// A run that has come to nothing.
    fn check(&self, step: u32) -> Result<(), MethodError> {
        let _ = step;
        Ok(())
    }

    /// A step in one line, for people.
    fn summary(metrics: &Self::Metrics) -> String;
}

/// Log entries of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepLog<M> {
    /// The line of `metrics.jsonl`.
    pub metrics: M,
    /// The lines of the step's rollout file; no file where there are none to keep.
    pub rollouts: Option<Vec<RolloutRecord>>,
    /// Tokens each phase worked on.
    pub tokens: PhaseTokens,
}

/// Steps of a run, and what is due after which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Training steps.
    pub steps: u32,
    /// Steps between checkpoints; the last step always gets one.
    pub checkpoint_every: u32,
    /// Steps between evaluations, which also take place before the first step and after the last.
    pub eval_every: Option<u32>,
}

impl Schedule {
    fn evaluation_is_due(&self, step: u32) -> bool {
        self.eval_every.is_some_and(|every| step.is_multiple_of(every) || step == self.steps)
    }
}

/// Evaluation of the student between two steps: what the program passes into the loop.
pub trait Evaluate {
    /// Asks `student`, which has reached `step`, the questions of every held-out set.
    ///
    /// # Errors
    /// Whatever stops the evaluation; it stops the run.
    fn evaluate(
        &mut self,
        student: &mut dyn Generate,
        step: u32,
        progress: &mut dyn Progress,
    ) -> Result<Vec<HeldOutResult>, EvaluateError>;
}

/// Writer of the files that make a checkpoint a model folder, tokenizer and configuration, for a step into a folder.
pub type SideFiles<'a> = &'a dyn Fn(u32, &Path) -> Result<(), ModelError>;

/// Parts of a run that the program supplies.
pub struct Hooks<'a> {
    /// Evaluation on held-out sets; none where there are no sets.
    pub evaluate: Option<&'a mut dyn Evaluate>,
    /// Files of a checkpoint beside weights and state.
    pub side_files: SideFiles<'a>,
    /// Shows the run.
    pub progress: &'a mut dyn Progress,
    /// Interrupts the run.
    pub control: &'a mut dyn Control,
}

/// End of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// All steps are done.
    Done {
        /// Number of steps.
        steps: u32,
    },
    /// The run was asked to stop; a checkpoint is written.
    Interrupted {
        /// The last step done.
        step: u32,
    },
}

/// Runs a method from the folder's last checkpoint until all steps are done or the control interrupts. Everything of
/// a step is logged before its checkpoint is written.
///
/// # Errors
/// What the method or the evaluation reports, a failing model or disk. What was written before stays.
pub fn drive<R: Run>(
    run: &mut R,
    folder: &mut RunFolder,
    hooks: &mut Hooks<'_>,
) -> Result<RunEnd, MethodError> {
    let schedule = run.schedule();
    let Schedule { steps, checkpoint_every, .. } = schedule;
    let done = load_checkpoint(run, folder)?;
    hooks.progress.begin(done, steps);
    let mut timed = Timed::new(&mut *hooks.progress);
    let evaluate = &mut hooks.evaluate;
    if done == 0 && schedule.evaluation_is_due(0) {
        evaluate_held_out(run.student_mut(), evaluate, 0, folder, &mut timed)?;
    }
    for number in done + 1..=steps {
        let StepLog { metrics, rollouts, mut tokens } = run.step(number, &mut timed)?;
        timed.phase(number, Phase::Write);
        if let Some(rollouts) = rollouts {
            folder.write_rollouts(number.into(), &rollouts)?;
        }
        folder.append_metrics(&metrics)?;
        if schedule.evaluation_is_due(number) {
            tokens.evaluate = evaluate_held_out(run.student_mut(), evaluate, number, folder, &mut timed)?;
        }
        folder.append_timings(&timed.end_step(number, tokens))?;
        timed.step(number, steps, &R::summary(&metrics));
        run.check(number)?;
        let (last, interrupted) = (number == steps, hooks.control.interrupted());
        if last || interrupted || number.is_multiple_of(checkpoint_every) {
            save_checkpoint(run, folder, hooks.side_files, number, &mut timed)?;
        }
        if interrupted && !last {
            return Ok(RunEnd::Interrupted { step: number });
        }
    }
    Ok(RunEnd::Done { steps })
}

/// Asks the held-out questions and logs metrics and answers; returns how many tokens were sampled.
fn evaluate_held_out(
    student: &mut dyn Policy,
    evaluate: &mut Option<&mut dyn Evaluate>,
    step: u32,
    folder: &mut RunFolder,
    progress: &mut dyn Progress,
) -> Result<u64, MethodError> {
    let Some(evaluate) = evaluate else { return Ok(0) };
    progress.phase(step, Phase::Evaluate);
    let found = evaluate
        .evaluate(student, step, progress)
        .map_err(|source| MethodError::Evaluation { step, source })?;
    for result in &found {
        folder.append_evaluation(&result.metrics)?;
        progress.evaluated(&result.metrics);
    }
    let answers: Vec<HeldOutRecord> = found.into_iter().flat_map(|result| result.answers).collect();
    folder.write_held_out(step.into(), &answers)?;
    Ok(answers.iter().map(|answer| answer.tokens).sum())
}

/// Restores student and state from the checkpoint the folder goes on from; returns the steps done.
fn load_checkpoint<R: Run>(run: &mut R, folder: &RunFolder) -> Result<u32, MethodError> {
    let Some(checkpoint) = folder.resume_from() else { return Ok(0) };
    run.student_mut().load_state(&checkpoint.dir)?;
    run.restore(checkpoint.state()?);
    Ok(checkpoint.step as u32)
}

/// Writes the checkpoint after `step`.
fn save_checkpoint<R: Run>(
    run: &R,
    folder: &mut RunFolder,
    side_files: SideFiles<'_>,
    step: u32,
    progress: &mut dyn Progress,
) -> Result<(), MethodError> {
    let checkpoint = folder.save_checkpoint(step.into(), run.state(), |dir| {
        let known = run.student().save_state(dir)?;
        side_files(step, dir)?;
        Ok::<_, ModelError>(known.into_iter().map(file_hash).collect())
    })?;
    progress.checkpoint(&checkpoint);
    Ok(())
}

/// A file whose checksum the model knows, as the run folder takes it.
pub fn file_hash(file: WrittenFile) -> FileHash {
    let WrittenFile { name, bytes, sha256 } = file;
    FileHash { name, bytes, sha256 }
}
