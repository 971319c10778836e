//! What will be done: the plan of a run, with every default filled in and every value judged.

use std::path::PathBuf;

use thinktune_method::help::prompts::PromptSet;
use thinktune_method::settings::{Ask, Checked, RlSettings, SftSettings};
use thinktune_model::{Device, Precision};
use thinktune_remote::RemoteSettings;
use thinktune_tasks::benchmarks::Benchmark;

use crate::config::{Config, Init, Method, Task};
use crate::model_source::ModelSource;

/// A run, checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The configuration with every default filled in: as written to the run folder, and enough to run again.
    pub config: Config,
    /// What is run.
    pub method: Method,
    /// Keys all random numbers.
    pub seed: u64,
    /// Run folder.
    pub out: PathBuf,
    /// The student.
    pub model: ModelSource,
    /// Whether its weights are loaded or drawn.
    pub init: Init,
    /// What it computes in, and teacher and reference with it.
    pub precision: Precision,
    /// The device that student, teacher and reference are on.
    pub device: Device,
    /// The date chat templates are told.
    pub date: String,
    /// Questions or examples.
    pub data: DataPlan,
    /// Settings of the method.
    pub job: Job,
    /// Checkpoints kept.
    pub keep_checkpoints: usize,
    /// What the user should know of how the configuration was read.
    pub notices: Vec<String>,
}

/// Where questions or examples come from.
#[derive(Debug, Clone)]
pub struct DataPlan {
    /// Which kind.
    pub task: Task,
    /// Their file.
    pub path: Option<PathBuf>,
    /// How many at most.
    pub limit: Option<usize>,
    /// How a question is put.
    pub ask: Ask,
}

/// Settings of the method.
#[derive(Debug, Clone)]
pub enum Job {
    /// ThinkTuning and GRPO.
    Rl(Box<RlPlan>),
    /// Supervised fine-tuning.
    Sft(Checked<SftSettings>),
}

/// ThinkTuning or GRPO.
#[derive(Debug, Clone)]
pub struct RlPlan {
    /// The step's settings.
    pub settings: Checked<RlSettings>,
    /// Who helps, and how it is asked; GRPO has nobody.
    pub help: Option<Help>,
    /// What the student is evaluated on as it learns.
    pub held_out: Vec<HeldOut>,
}

/// Who helps.
#[derive(Debug, Clone)]
pub struct Help {
    /// The teacher.
    pub teacher: Teacher,
    /// What the teacher is shown.
    pub prompts: PromptSet,
}

/// Where the teacher is.
#[derive(Debug, Clone)]
pub enum Teacher {
    /// In this process: the frozen initial student.
    Initial,
    /// In this process: another model.
    Model(ModelSource),
    /// Behind a server.
    Remote {
        /// Where, and how patiently it is asked.
        settings: RemoteSettings,
        /// The tokenizer that makes its prompts, where the server does not.
        tokenizer: Option<ModelSource>,
    },
}

impl Teacher {
    /// What must be on this machine: a model, or a tokenizer.
    pub fn place(&self) -> Option<&ModelSource> {
        match self {
            Self::Initial => None,
            Self::Model(place) => Some(place),
            Self::Remote { tokenizer, .. } => tokenizer.as_ref(),
        }
    }
}

impl std::fmt::Display for Teacher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Initial => f.write_str("the initial student"),
            Self::Model(place) => place.fmt(f),
            Self::Remote { settings, .. } => write!(f, "{} at {}", settings.model, settings.url),
        }
    }
}

/// A held-out set.
#[derive(Debug, Clone)]
pub struct HeldOut {
    /// The benchmark.
    pub benchmark: &'static Benchmark,
    /// Its file; none where it is generated.
    pub path: Option<PathBuf>,
    /// Questions, at most.
    pub limit: usize,
    /// Samples of each.
    pub samples: usize,
    /// Sampling temperature; 0 is greedy.
    pub temperature: f32,
    /// Longest answer, in tokens.
    pub max_tokens: usize,
}
