//! The plan of a run, with every default filled in and every value judged.

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
    /// The method.
    pub method: Method,
    /// Keys all random numbers.
    pub seed: u64,
    /// Run folder.
    pub out: PathBuf,
    /// The student.
    pub model: ModelSource,
    /// The origin of its weights.
    pub init: Init,
    /// The precision of student, teacher and reference.
    pub precision: Precision,
    /// The device that student, teacher and reference are on.
    pub device: Device,
    /// Bytes of memory that the run may use, where the configuration says so.
    pub memory: Option<u64>,
    /// The date chat templates are told.
    pub date: String,
    /// Questions or examples.
    pub data: DataPlan,
    /// Settings of the method.
    pub job: Job,
    /// Checkpoints kept.
    pub keep_checkpoints: usize,
    /// Remarks to the user on how the configuration was read.
    pub notices: Vec<String>,
}

/// The source of questions or examples.
#[derive(Debug, Clone)]
pub struct DataPlan {
    /// Their kind.
    pub task: Task,
    /// Their file.
    pub path: Option<PathBuf>,
    /// Their number at most.
    pub limit: Option<usize>,
    /// The form in which a question is put.
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
    /// The teacher and its prompts; none with GRPO.
    pub help: Option<Help>,
    /// Sets that the student is evaluated on as it learns.
    pub held_out: Vec<HeldOut>,
}

/// A teacher and its prompts.
#[derive(Debug, Clone)]
pub struct Help {
    /// The teacher.
    pub teacher: Teacher,
    /// The few-shot prompts of the teacher.
    pub prompts: PromptSet,
}

/// The place of the teacher.
#[derive(Debug, Clone)]
pub enum Teacher {
    /// In this process: the frozen initial student.
    Initial,
    /// In this process: another model.
    Model(ModelSource),
    /// Behind a server.
    Remote {
        /// Address, time limits and retries.
        settings: RemoteSettings,
        /// The tokenizer that makes its prompts, where the server does not.
        tokenizer: Option<ModelSource>,
    },
}

impl Plan {
    /// The teacher in this process that is another model than the initial student.
    pub fn other_teacher(&self) -> Option<&ModelSource> {
        match &self.job {
            Job::Rl(rl) => match &rl.help {
                Some(Help { teacher: Teacher::Model(place), .. }) => Some(place),
                _ => None,
            },
            Job::Sft(_) => None,
        }
    }
}

impl Teacher {
    /// The model or tokenizer that must be on this machine.
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
