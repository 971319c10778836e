//! Every section of a configuration: those of the program, defined here, and those of the methods, defined there.

use thinktune_method::settings::{
    ExampleSettings, GammaSchedule, GuidanceSettings, LossSettings, MiniBatchSettings, OptimizerSettings,
    RewardSettings, RolloutSettings, RunSettings, Section, Setting, at_least, doc_lines,
};
use thinktune_remote::RemoteSettings;
use thinktune_settings::{above, choices, section};

/// The date that chat templates are told by default.
pub const DEFAULT_DATE: &str = "2025-01-01";

section! {
    /// Every setting of `thinktune train`, with its default. A key that begins with `#` has no default value: it is
    /// off, or must be given, as its line says. Relative paths are read from the folder the command is run in.
    /// Any key can be overridden: --set loss.beta=0.01. An empty value takes a key back to its default: --set out=
    TopSettings = "" {
        /// Method: "thinktuning", "grpo" (the same step with nobody guided) or "sft". Must be given.
        method: required(Method => Method::ThinkTuning),
        /// Keys every random number of the run.
        seed: value(u64 = 0_u64),
        /// Run folder. Default: runs/ and the name of the configuration file.
        out: optional(String => "runs/name"),
    }
}

choices! {
    /// `method`.
    Method {
        /// The paper's method.
        ThinkTuning = "thinktuning",
        /// The same step with nobody guided.
        Grpo = "grpo",
        /// Supervised fine-tuning.
        Sft = "sft",
    }
}

section! {
    /// The student.
    ModelSettings = "model" {
        /// Folder in Hugging Face layout, or org/name or org/name@revision on the Hugging Face hub. Must be given.
        path: required(String => "models/student"),
        /// "pretrained" loads the weights; "random" draws them from the seed and needs only config.json and the
        /// tokenizer.
        init: value(Init = Init::Pretrained),
        /// Operands of matrix products: "f32", or "bf16" for half the memory traffic and twice the speed. Sums,
        /// parameters, gradients and the optimizer are f32 in both. Student, teacher and reference alike.
        precision: value(Precision = Precision::F32),
        /// Device to compute on: "auto" (the fastest that is there), "cpu", or "cuda:N", NVIDIA GPU number N. Student,
        /// teacher and reference alike. The run folder records the device that "auto" stood for.
        device: value(String = "auto"),
        /// Memory that the run may use, in GiB. Default: that of the machine, or what its cgroup allows. Results do not
        /// depend on it.
        memory_gib: optional(f64 => 24.0, above(0.0)),
        /// The date that chat templates print as today's, so that prompts do not change with the clock.
        date: value(String = DEFAULT_DATE),
    }
}

choices! {
    /// `model.init`.
    Init {
        /// Weights are loaded.
        Pretrained = "pretrained",
        /// Weights are drawn from the seed.
        Random = "random",
    }
}

choices! {
    /// `model.precision`, and `--precision`.
    #[derive(clap::ValueEnum)]
    Precision {
        /// Single precision throughout
        F32 = "f32",
        /// bfloat16 operands of matrix products, all else single precision
        Bf16 = "bf16",
    }
}

impl From<Precision> for thinktune_model::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

section! {
    /// Questions or examples.
    DataSettings = "data" {
        /// "gsm8k": lines of {"question", "answer"} with a last line "#### N"; "word-problems": generated word problems;
        /// "jsonl" (sft only): lines of {"text"}, {"prompt", "completion"} or {"messages"}. Must be given.
        task: required(Task => Task::Gsm8k),
        /// File of the questions or examples. Must be given except for word problems.
        path: optional(String => "data/gsm8k/train.jsonl"),
        /// Use only so many questions, the first ones. Default for word problems, where it is how many to generate: 10000.
        limit: optional(usize => 1000_usize, at_least(1.0)),
        /// System message put before every question.
        system: optional(String => "You are a careful student."),
        /// Appended to every question. Default: for gsm8k a request to reason step by step and box the final answer,
        /// else nothing.
        prompt_suffix: optional(String => " Reason step by step."),
    }
}

choices! {
    /// `data.task`.
    Task {
        /// Grade-school word problems from a file.
        Gsm8k = "gsm8k",
        /// Generated word problems.
        WordProblems = "word-problems",
        /// Examples to imitate.
        Jsonl = "jsonl",
    }
}

section! {
    /// The teacher's place.
    TeacherSettings = "guidance" {
        /// The teacher: "initial" (the frozen initial student), a folder or org/name as in model.path, or a model behind
        /// a server: a section [guidance.teacher], or a table: teacher = { url = "http://localhost:8000/v1", model =
        /// "name" }
        teacher: value(String = "initial"),
    }
}

section! {
    /// Retention of checkpoints.
    KeepSettings = "run" {
        /// Newest checkpoints kept.
        keep_checkpoints: value(usize = 2_usize, at_least(1.0)),
    }
}

section! {
    /// Sets that the student is evaluated on during training (run.eval_every), one section each. Methods thinktuning
    /// and grpo only.
    HeldOutSettings = "held_out" {
        /// A name that `thinktune eval` knows. Must be given.
        benchmark: required(String => "gsm8k"),
        /// File of the benchmark. Must be given except for word problems.
        path: optional(String => "data/gsm8k/test.jsonl"),
        /// Questions, the first ones.
        limit: value(usize = 256_usize, at_least(1.0)),
        /// Samples of each question.
        samples: value(usize = 1_usize, at_least(1.0)),
        /// Sampling temperature; 0 is greedy. Default: 0, with several samples 1.
        temperature: optional(f32 => 0.0_f32, at_least(0.0)),
        /// Longest answer, in tokens. Default: rollout.max_response_tokens.
        max_tokens: optional(usize => 1024_usize, at_least(1.0)),
    }
}

/// The form that a section takes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `[name]`.
    Table,
    /// `[name]`, in place of a value.
    Alternative,
    /// `[[name]]`, any number of times.
    List,
}

/// A heading of a configuration file and what stands below it.
#[derive(Debug, Clone)]
pub struct Heading {
    /// Dotted name; empty for the top of the file.
    pub name: &'static str,
    /// Its meaning.
    pub doc: Vec<String>,
    /// Its settings.
    pub settings: Vec<Setting>,
    /// Its form.
    pub form: Form,
}

impl Heading {
    fn of<S: Section>(form: Form) -> Self {
        Self { name: S::NAME, doc: doc_lines(S::DOC), settings: S::settings(), form }
    }

    fn and<S: Section>(mut self) -> Self {
        self.settings.extend(S::settings());
        self
    }
}

/// Every heading, in the order of a file.
pub fn headings() -> Vec<Heading> {
    use Form::{Alternative, List, Table};
    vec![
        Heading::of::<TopSettings>(Table),
        Heading::of::<ModelSettings>(Table),
        Heading::of::<DataSettings>(Table),
        Heading::of::<RolloutSettings>(Table),
        Heading::of::<GuidanceSettings>(Table).and::<TeacherSettings>(),
        Heading::of::<GammaSchedule>(Table),
        Heading::of::<RemoteSettings>(Alternative),
        Heading::of::<RewardSettings>(Table),
        Heading::of::<LossSettings>(Table),
        Heading::of::<OptimizerSettings>(Table).and::<MiniBatchSettings>(),
        Heading::of::<RunSettings>(Table).and::<KeepSettings>(),
        Heading::of::<HeldOutSettings>(List),
        Heading::of::<ExampleSettings>(Table),
    ]
}
