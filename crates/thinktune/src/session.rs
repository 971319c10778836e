//! One training run from plan to finished model: loads what the plan names, opens the run folder, calls the
//! method, exports the result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thinktune_method::run::RunEnd;
use thinktune_model::{Dtype, LocalModel, ModelSpec, copy_config, copy_side_files, init_random};
use thinktune_policy::ModelError;
use thinktune_runlog::{Provenance, RunFolder, RunIdentity, fingerprint};
use thinktune_text::ChatTokenizer;

use crate::config::Init;
use crate::failure::Interrupted;
use crate::plan::{Job, Plan};
use crate::progress::Progress;
use crate::work::Work;

/// Settings that may change between two starts of a run: they do not change its results, or the checksum of
/// what they name is compared instead.
const FREE_KEYS: [&str; 10] = [
    "out",
    "model.path",
    "data.path",
    "run.checkpoint_every",
    "run.keep_checkpoints",
    "guidance.teacher.url",
    "guidance.teacher.key_env",
    "guidance.teacher.concurrency",
    "guidance.teacher.timeout_seconds",
    "guidance.teacher.retries",
];

/// How to run.
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
    /// Whether it had been finished before this start.
    pub already: bool,
}

/// A model's folder and what was read of it, its weights aside.
pub struct Student {
    /// The folder.
    pub dir: PathBuf,
    /// Shape.
    pub spec: ModelSpec,
    /// Tokenizer and chat template.
    pub codec: ChatTokenizer,
}

impl Student {
    /// Reads everything but the weights.
    ///
    /// # Errors
    /// A file that is missing or foreign; a tokenizer whose ids exceed the vocabulary.
    pub fn open(dir: &Path, date: &str) -> anyhow::Result<Self> {
        let spec = ModelSpec::from_dir(dir)?;
        let codec = ChatTokenizer::load(dir, date)?;
        codec.check_vocab(spec.vocab_size)?;
        Ok(Self { dir: dir.into(), spec, codec })
    }

    fn load(&self, plan: &Plan) -> anyhow::Result<LocalModel> {
        Ok(match plan.init {
            Init::Pretrained => LocalModel::load(&self.dir, plan.device, plan.precision)?,
            Init::Random => {
                let params = init_random(self.spec.clone(), plan.seed);
                LocalModel::new(params, plan.device, plan.precision)?
            }
        })
    }
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
    let work = Work::load(plan, &student, options.offline)?;
    let mut folder = open_folder(plan, &student, &work)?;
    if let Some(model) = folder.finished() {
        return Ok(Outcome { run: plan.out.clone(), model, already: true });
    }
    if let Some(checkpoint) = folder.resume_from() {
        eprintln!("note: going on after step {} of {}", checkpoint.step, plan.out.display());
    }
    let mut model = student.load(plan)?;
    let mut progress = Progress::new(options.label, plan, &student.dir, options.quiet);
    let end = work.run(plan, &student, &mut model, &mut folder, &mut progress);
    progress.finish();
    match end? {
        RunEnd::Interrupted { step } => Err(Interrupted { step }.into()),
        RunEnd::Done { steps } => {
            let dir = folder.write_final(steps.into(), |dir| export(&model, &student.dir, dir))?;
            Ok(Outcome { run: plan.out.clone(), model: dir, already: false })
        }
    }
}

fn open_folder(plan: &Plan, student: &Student, work: &Work) -> anyhow::Result<RunFolder> {
    let config = plan.config.to_toml();
    let mut inputs = BTreeMap::from([("model".to_string(), fingerprint(&student.dir, is_model_file)?)]);
    if let Some(path) = &plan.data.path {
        inputs.insert("data".into(), fingerprint(path, |_| true)?);
    }
    if let Job::Rl(rl) = &plan.job {
        for (index, set) in rl.held_out.iter().enumerate() {
            if let Some(path) = &set.path {
                inputs.insert(format!("held_out[{index}]"), fingerprint(path, |_| true)?);
            }
        }
    }
    if let Some(dir) = work.teacher_dir() {
        inputs.insert("teacher".into(), fingerprint(dir, is_model_file)?);
    }
    let provenance = Provenance::now(env!("CARGO_PKG_VERSION"), &config, inputs);
    let identity = RunIdentity { config: &config, free_keys: &FREE_KEYS, provenance: &provenance };
    let opened = RunFolder::open(&plan.out, &identity)?;
    for notice in &opened.notices {
        eprintln!("note: {notice}");
    }
    let mut folder = opened.folder;
    folder.keep_checkpoints(plan.keep_checkpoints);
    Ok(folder)
}

/// What a model folder is read for: weights, configuration, tokenizer, chat template.
pub fn is_model_file(name: &str) -> bool {
    !name.contains('/') && [".safetensors", ".json", ".jinja"].iter().any(|ending| name.ends_with(ending))
}

/// Weights in the precision the model came in, with its tokenizer and configuration.
fn export(model: &LocalModel, from: &Path, to: &Path) -> Result<(), ModelError> {
    let dtype = dtype_of(from);
    model.save_weights(to, dtype)?;
    copy_config(from, to, dtype)?;
    copy_side_files(from, to)
}

/// The precision `config.json` names; f32 where it names none.
fn dtype_of(dir: &Path) -> Dtype {
    let text = std::fs::read_to_string(dir.join("config.json")).unwrap_or_default();
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    let name = ["dtype", "torch_dtype"].iter().find_map(|key| config[*key].as_str());
    let known = [Dtype::Bf16, Dtype::F16].into_iter().find(|dtype| Some(dtype.torch_name()) == name);
    known.unwrap_or(Dtype::F32)
}
