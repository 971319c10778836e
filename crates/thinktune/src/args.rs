//! The command line.

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use thinktune_model::Device;
use thinktune_tasks::grading::AnswerKind;

use crate::config::Precision;

/// Post-train a small language model with ThinkTuning: a student learns to reflect from a teacher of its own size.
#[derive(Debug, Parser)]
#[command(name = "thinktune", version, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub common: Common,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Copy, Args)]
pub struct Common {
    /// Log more: -v for information, -vv for debugging. THINKTUNE_LOG overrides
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// No progress bar, no log lines but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Never use the network: models must be folders or already downloaded (also: HF_HUB_OFFLINE=1)
    #[arg(long, global = true)]
    pub offline: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch a small student learn to reflect: GRPO and ThinkTuning from the same start, in minutes, on a CPU
    Demo(DemoArgs),
    /// Train a model as a configuration file says
    Train(TrainArgs),
    /// Put benchmarks to a model: sampled answers, graded, in a table
    Eval(EvalArgs),
    /// Compare two evaluations of the same questions: accuracy, length, reflection
    Compare(CompareArgs),
    /// Sample completions from a model
    Generate(GenerateArgs),
    /// Print the log-prob of each id given those before it, and the likeliest alternatives
    Logprobs(LogprobsArgs),
    /// Grade answers: JSON lines in, JSON lines out
    Grade(GradeArgs),
    /// Measure how well teachers guide a student's attempts, by prompt set
    Guidance(GuidanceArgs),
    /// Serve a model to OpenAI's clients and to evaluation harnesses
    Serve(ServeArgs),
    /// Write the data and the model files from which the demo's models were made
    WordProblems(WordProblemsArgs),
    /// The earlier name of `word-problems`
    #[command(hide = true, disable_help_flag = true)]
    Homework {
        #[arg(hide = true, allow_hyphen_values = true, trailing_var_arg = true)]
        rest: Vec<String>,
    },
    /// Measure training steps, decoding and matrix products on this machine
    Bench(BenchArgs),
    /// Print every setting of a configuration file, with its default and meaning
    Settings(SettingsArgs),
}

/// `thinktune demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// A version of about 30 seconds: fewer steps, fewer held-out problems
    #[arg(long)]
    pub quick: bool,
    /// Replay the "unknown behaviour" experiment: a phrase the student never says earns a bonus
    #[arg(long)]
    pub catch_phrase: bool,
    /// Seed of every random number
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Device to compute on: auto, cpu, or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub device: Device,
    /// Folder for the two runs [default: runs/demo, or the next free runs/demo-2, runs/demo-3, ...]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Print the table as JSON
    #[arg(long)]
    pub json: bool,
}

/// `thinktune train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Configuration file (TOML); `thinktune settings` lists what it may hold
    pub config: PathBuf,
    /// Override a setting, e.g. --set optimizer.lr=1e-5; an empty value takes it back to its default; held_out.limit=16 is
    /// for every held-out set, held_out.1.limit=16 for the second
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Device to compute on, in place of model.device: auto, cpu, or cuda:N
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    pub device: Option<Device>,
    /// Print the resolved plan (first prompt, stop tokens, memory, updates) and stop
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: print every setting, not only those that differ from the defaults
    #[arg(long, requires = "dry_run")]
    pub all: bool,
    /// Print results as JSON
    #[arg(long)]
    pub json: bool,
}

/// `thinktune eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Model folder, run folder, or org/name on the Hugging Face hub
    pub model: String,
    /// Benchmarks, separated by commas; an unknown one gets the list, `all` is all
    #[arg(long, value_delimiter = ',', required = true, value_name = "NAME,...")]
    pub benchmarks: Vec<String>,
    /// Ways of prompting, separated by commas: zero-shot, self-verify, self-correct, s1, or `all`
    #[arg(long, value_delimiter = ',', default_value = "zero-shot", value_name = "NAME,...")]
    pub methods: Vec<String>,
    /// Samples of each question
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub samples: u32,
    /// Divides the logits; 0 is greedy [default: 0 with one sample, else 1]
    #[arg(long, allow_negative_numbers = true)]
    pub temperature: Option<f32>,
    /// Only the first N questions of each benchmark
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Longest answer of a turn, in tokens [default: 1024; word problems 96]
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<usize>,
    /// Tokens that s1 makes the model think for [default: twice the longest answer, 2048]
    #[arg(long, value_name = "N")]
    pub budget: Option<usize>,
    /// Folder of benchmark data, as DIR/gsm8k/test.jsonl (also .parquet, .csv, .json) or DIR/openai/gsm8k/...
    /// [default: $THINKTUNE_DATA, else the Hugging Face hub]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Folder for the answers and tables; an evaluation there is gone on with
    /// [default: eval/ in a run folder, else runs/eval-NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seed of every random number
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// System message [default: the one a run was trained with, else none]
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Text after each question [default: the one a run was trained with, on benchmarks that ask as its task does, else
    /// the benchmark's]
    #[arg(long, value_name = "TEXT")]
    pub suffix: Option<String>,
    /// Ask as the benchmarks do, whatever prompt a run was trained with
    #[arg(long, conflicts_with_all = ["system", "suffix"])]
    pub benchmark_prompt: bool,
    /// The date chat templates are told [default: the run's, else 2025-01-01]
    #[arg(long)]
    pub date: Option<String>,
    /// Device to compute on: auto, cpu, or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub device: Device,
    /// Precision of the computation
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Lay the paper's accuracies beside ours
    #[arg(long, conflicts_with = "json")]
    pub paper: bool,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

/// `thinktune compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Folder of an evaluation, or a run folder that holds one
    #[arg(value_name = "RUN_A")]
    pub a: PathBuf,
    /// The one compared with it, of the same questions
    #[arg(value_name = "RUN_B")]
    pub b: PathBuf,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Compare even where the settings differ: samples, temperature, limits, precision, prompt, data
    #[arg(long)]
    pub force: bool,
    /// Print the comparison as JSON
    #[arg(long)]
    pub json: bool,
}

/// `thinktune generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Model folder, run folder, or org/name on the Hugging Face hub
    pub model: String,
    /// Text to continue, as it is
    #[arg(long, required_unless_present = "chat", conflicts_with = "chat")]
    pub prompt: Option<String>,
    /// A user's message, put through the model's chat template
    #[arg(long)]
    pub chat: Option<String>,
    /// Completions to sample
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub samples: u32,
    /// Device to compute on: auto, cpu, or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub device: Device,
    /// Operands of matrix products
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Divides the logits; 0 is greedy
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub temperature: f32,
    /// Keep the K most likely tokens
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Keep the smallest set of likeliest tokens whose mass reaches P
    #[arg(long, default_value_t = 1.0, value_name = "P", allow_negative_numbers = true)]
    pub top_p: f32,
    /// Drop tokens less likely than P times the likeliest
    #[arg(long, default_value_t = 0.0, value_name = "P", allow_negative_numbers = true)]
    pub min_p: f32,
    /// Longest completion, in tokens
    #[arg(long, default_value_t = 256)]
    pub max_tokens: usize,
    /// Seed of every random number
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The date chat templates are told
    #[arg(long, default_value = crate::config::DEFAULT_DATE)]
    pub date: String,
    /// Print one JSON object with text, tokens and log-probs of every completion
    #[arg(long)]
    pub json: bool,
}

/// `thinktune logprobs`.
#[derive(Debug, Args)]
pub struct LogprobsArgs {
    /// Model folder, run folder, or org/name on the Hugging Face hub
    pub model: String,
    /// Token ids, separated by commas
    #[arg(long, value_delimiter = ',', required = true, value_name = "ID,ID,...")]
    pub ids: Vec<u32>,
    /// Device to compute on: auto, cpu, or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub device: Device,
    /// Operands of matrix products
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Print {"ids": [..], "logprobs": [null, ..], "top": [..]}
    #[arg(long)]
    pub json: bool,
}

/// `thinktune grade`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads lines {\"gold\": \"..\", \"answer\": \"..\"} from stdin, where the answer is a whole response or an answer \
by itself, and writes one line {\"verdict\": \"..\", \"extracted\": .., \"reason\": ..} for each, in the same order. \
Verdicts: correct, wrong, unparseable, over_budget."
)]
pub struct GradeArgs {
    /// Rules by which answers are found and compared: math, gsm8k, aime, choice, choice:N (of N options), yes-no, boxed
    #[arg(long, value_name = "NAME", default_value = "math")]
    pub task: AnswerKind,
    /// Accepted for uniformity: the output is JSON lines in any case
    #[arg(long)]
    pub json: bool,
}

/// `thinktune guidance`.
#[derive(Debug, Args)]
pub struct GuidanceArgs {
    /// The student: model folder, run folder, or org/name on the Hugging Face hub
    pub model: String,
    /// A teacher, named as the student is; may be repeated [default: the student]
    #[arg(long, value_name = "MODEL")]
    pub teacher: Vec<String>,
    /// Few-shot prompts of the teacher: a built-in name or a file; may be repeated
    #[arg(long, value_name = "NAME_OR_FILE", default_value = "reasoning")]
    pub prompts: Vec<String>,
    /// Questions as GSM8K has them: JSON lines with "question" and "answer" [default: generated word problems]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Attempts to ask about; only attempts that end by themselves count
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = count)]
    pub attempts: usize,
    /// System message of the student's prompt
    #[arg(long)]
    pub system: Option<String>,
    /// Appended to the question [default: as in training]
    #[arg(long, value_name = "TEXT")]
    pub prompt_suffix: Option<String>,
    /// The student's sampling temperature
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub temperature: f32,
    /// Longest attempt, in tokens
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = count)]
    pub max_attempt_tokens: usize,
    /// Longest response, guidance included (rollout.max_response_tokens)
    #[arg(long, value_name = "N", default_value_t = 640, value_parser = count)]
    pub max_response_tokens: usize,
    /// Longest guidance, in the student's tokens (guidance.max_feedback_tokens)
    #[arg(long, value_name = "N", default_value_t = 240, value_parser = count)]
    pub max_feedback_tokens: usize,
    /// Longest prompt of the teacher, in tokens
    #[arg(long, value_name = "N", default_value_t = 2560, value_parser = count)]
    pub max_teacher_prompt_tokens: usize,
    /// Longest reply of the teacher, in tokens
    #[arg(long, value_name = "N", default_value_t = 320, value_parser = count)]
    pub max_teacher_tokens: usize,
    /// The teacher's sampling temperature; 0 is greedy
    #[arg(long, default_value_t = 0.7, allow_negative_numbers = true)]
    pub teacher_temperature: f32,
    /// The teacher draws from the smallest set of likeliest tokens whose mass reaches P
    #[arg(long, value_name = "P", default_value_t = 1.0, allow_negative_numbers = true)]
    pub teacher_top_p: f32,
    /// Folder for attempts, replies and tables; a measurement there is gone on with [default: runs/guidance]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seed of every random number
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The date chat templates are told
    #[arg(long, default_value = crate::config::DEFAULT_DATE)]
    pub date: String,
    /// Device to compute on: auto, cpu, or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub device: Device,
    /// Operands of matrix products
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

/// `thinktune serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Model folder, run folder, or org/name on the Hugging Face hub
    pub model: String,
    /// Address to listen on; other machines can reach any but a loopback address
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    pub port: u16,
    /// Demand this key of every request; THINKTUNE_API_KEY holds one that no list of processes shows
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,
    /// The model's name in requests [default: the last part of MODEL]
    #[arg(long)]
    pub name: Option<String>,
    /// Device to compute on: auto, cpu, or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub device: Device,
    /// Operands of matrix products
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Answers running or waiting at most; who asks for more is told to come again (429)
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub max_samples: u32,
    /// Largest request, in MiB
    #[arg(long, default_value_t = 8, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub max_body: u32,
    /// Seconds that requests in flight have to end after Ctrl-C
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub grace: u32,
    /// Seed of every random number of requests that name none
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The date chat templates are told
    #[arg(long, default_value = crate::config::DEFAULT_DATE)]
    pub date: String,
    /// Print name and address as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `thinktune word-problems`.
#[derive(Debug, Args)]
pub struct WordProblemsArgs {
    /// Folder to write to; made if need be
    pub out: PathBuf,
    /// Seed of the generator
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Documents both models are pretrained on
    #[arg(long, default_value_t = 160_000)]
    pub pretraining: usize,
    /// Conversations both are fine-tuned on next
    #[arg(long, default_value_t = 51_200)]
    pub base: usize,
    /// Conversations the student is fine-tuned on last
    #[arg(long, default_value_t = 9_600)]
    pub student: usize,
    /// Conversations the teacher is fine-tuned on last
    #[arg(long, default_value_t = 12_000)]
    pub teacher: usize,
    /// Print the folders written as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `thinktune settings`.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// Print a JSON schema (draft 2020-12), by which editors complete and check configuration files
    #[arg(long, visible_alias = "json")]
    pub json_schema: bool,
}

/// `thinktune bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Model folder, run folder, or org/name on the Hugging Face hub [default: random weights of --shape]
    #[arg(long, conflicts_with = "shape")]
    pub model: Option<String>,
    /// Shape of a model of random weights; an unknown one gets the list
    #[arg(long, default_value = "28m")]
    pub shape: String,
    /// Questions as JSON lines with "question" and "answer", for --part step [default: prompts of random tokens]
    #[arg(long, requires = "model")]
    pub data: Option<PathBuf>,
    /// Part to measure
    #[arg(long, value_enum, default_value_t = BenchPart::Step)]
    pub part: BenchPart,
    /// Questions of a step
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub questions: u32,
    /// Samples of each question
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=65536))]
    pub samples: u32,
    /// Tokens of every completion
    #[arg(long, default_value_t = 64, value_parser = count)]
    pub new_tokens: usize,
    /// Always on in this measurement: no token ends a completion, so that all are of one length
    #[arg(long)]
    pub ignore_eos: bool,
    /// Tokens of every prompt of random tokens
    #[arg(long, default_value_t = 64, value_parser = count)]
    pub prompt_tokens: usize,
    /// Steps, or updates of --part train; the one of median length is reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub steps: u32,
    /// Prompts side by side in --part decode
    #[arg(long, value_delimiter = ',', default_value = "1,16,64", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batches: Vec<u32>,
    /// Device to compute on: auto, cpu, or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub device: Device,
    /// Operands of matrix products
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Seed of every random number
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `--part`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchPart {
    /// GRPO steps: sampling and training
    Step,
    /// Matrix products
    Gemm,
    /// Completing prompts side by side
    Decode,
    /// Updates on 8 sequences of 256 tokens
    Train,
}

impl BenchPart {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Gemm => "gemm",
            Self::Decode => "decode",
            Self::Train => "train",
        }
    }
}

/// A device that is there.
fn device(text: &str) -> Result<Device, Box<dyn Error + Send + Sync>> {
    let device: Device = text.parse()?;
    device.resolve()?;
    Ok(device)
}

/// Tokens at most that a measurement counts.
const MOST_TOKENS: usize = 1 << 24;

/// A text that is no number of tokens.
#[derive(Debug, thiserror::Error)]
#[error("expected a whole number from 1 to {MOST_TOKENS}")]
struct BadCount;

/// A number of tokens, from 1 to 16 million.
fn count(text: &str) -> Result<usize, BadCount> {
    text.parse().ok().filter(|number| (1..=MOST_TOKENS).contains(number)).ok_or(BadCount)
}
