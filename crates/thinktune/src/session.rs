//! One training run from plan to finished model: loads what the plan names, opens the run folder, calls the
//! method, exports the result.

use std::collections::BTreeMap;
use std::path::PathBuf;

use thinktune_method::run::RunEnd;
use thinktune_runlog::event::RunTotals;
use thinktune_runlog::{Provenance, RunFolder, RunIdentity, fingerprint, read_totals};

use crate::failure::Interrupted;
use crate::memory;
use crate::plan::{Job, Plan};
use crate::progress::Progress;
use crate::raise;
use crate::student::{Student, is_model_file};
use crate::work::{Trained, TrainingData};

/// Settings that may change between two starts of a run: they do not change its results, or the checksum of
/// what they name is compared instead.
const FREE_KEYS: [&str; 11] = [
    "out",
    "model.path",
    "model.memory_gib",
    "data.path",
    "run.checkpoint_every",
    "run.keep_checkpoints",
    "guidance.teacher.url",
    "guidance.teacher.key_env",
    "guidance.teacher.concurrency",
    "guidance.teacher.timeout_seconds",
    "guidance.teacher.retries",
];

/// Options of a run.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Begins the progress bar.
    pub label: &'a str,
    /// No progress.
    pub quiet: bool,
    /// No network.
    pub offline: bool,
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its folder.
    pub run: PathBuf,
    /// The finished model.
    pub model: PathBuf,
    /// True where it had been finished before this start.
    pub already: bool,
    /// Counts over the whole run; none with sft, and of a run that an earlier program finished.
    pub totals: Option<RunTotals>,
}

/// Trains to the end, or from the newest checkpoint of an interrupted run to the end.
///
/// # Errors
/// Anything that cannot be loaded, run or written; [`Interrupted`] where Ctrl-C stopped it.
pub fn train(plan: &Plan, options: &Options<'_>) -> anyhow::Result<Outcome> {
    for notice in &plan.notices {
        eprintln!("note: {notice}");
    }
    let student = Student::open(&plan.model.fetch(options.offline)?, &plan.date)?;
    if student.tokenizer.end_of_turn_is_guessed() {
        let end = student.tokenizer.decode_raw(&[student.tokenizer.end_of_turn()]);
        eprintln!(
            "note: the chat template writes no token after the model's words; {end} is taken for the end of its turn"
        );
    }
    let data = TrainingData::load(plan, &student, options.offline)?;
    let teacher = data.other_teacher(plan)?;
    let memory = memory::settle(plan, &student.spec, teacher.as_ref())?;
    let raised = raise::is_raised(plan)?;
    let mut folder = open_folder((plan, raised), &student, &data)?;
    if let Some(done) = folder.finished().filter(|done| !raised || done.step >= steps(plan)) {
        let totals = read_totals(&plan.out)?;
        return Ok(Outcome { run: plan.out.clone(), model: done.dir, already: true, totals });
    }
    if let Some(checkpoint) = folder.resume_from() {
        eprintln!("note: going on after step {} of {}", checkpoint.step, plan.out.display());
    }
    let mut model = student.load(plan)?.with_budget(memory.budget);
    let mut progress = Progress::new(options.label, options.quiet);
    let trained = data.train((plan, memory.budget), &student, &mut model, &mut folder, &mut progress);
    progress.finish();
    let Trained { end, totals } = trained?;
    match end {
        RunEnd::Interrupted { step } => Err(Interrupted { step }.into()),
        RunEnd::Done { steps } => {
            if let Some(totals) = &totals {
                folder.write_totals(totals)?;
            }
            let dir = folder.write_final(steps.into(), |dir| student.export(&model, dir))?;
            Ok(Outcome { run: plan.out.clone(), model: dir, already: false, totals })
        }
    }
}

/// Steps that the plan asks for; 0 where its data say how many.
fn steps(plan: &Plan) -> u64 {
    match &plan.job {
        Job::Rl(rl) => rl.settings.run.steps.into(),
        Job::Sft(_) => 0,
    }
}

/// Opens the run folder; `raised` where it may have been begun with fewer steps.
fn open_folder(
    (plan, raised): (&Plan, bool),
    student: &Student,
    data: &TrainingData,
) -> anyhow::Result<RunFolder> {
    let config = plan.config.to_toml();
    let mut inputs = BTreeMap::from([("model".to_string(), fingerprint(&student.dir, is_model_file)?)]);
    if let Some(path) = &plan.data.path {
        inputs.insert("data".into(), fingerprint(path, |_| true)?);
    }
    if let Job::Rl(rl) = &plan.job {
        if let Some(help) = &rl.help {
            inputs.insert("prompts".into(), help.prompts.sha256.clone());
        }
        for (index, set) in rl.held_out.iter().enumerate() {
            if let Some(path) = &set.path {
                inputs.insert(format!("held_out[{index}]"), fingerprint(path, |_| true)?);
            }
        }
    }
    if let Some(dir) = data.teacher_dir() {
        inputs.insert("teacher".into(), fingerprint(dir, is_model_file)?);
    }
    let provenance = Provenance::now(env!("CARGO_PKG_VERSION"), &config, inputs);
    let free_keys: Vec<&str> = FREE_KEYS.into_iter().chain(raised.then_some("run.steps")).collect();
    let identity = RunIdentity { config: &config, free_keys: &free_keys, provenance: &provenance };
    let opened = RunFolder::open(&plan.out, &identity)?;
    for notice in &opened.notices {
        eprintln!("note: {notice}");
    }
    let mut folder = opened.folder;
    folder.keep_checkpoints(plan.keep_checkpoints);
    Ok(folder)
}
