//! The student's attempts, sampled once and kept: one at each question, in a shuffled order, until enough have ended
//! by themselves.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thinktune_method::act::questions::permutation;
use thinktune_method::reward::outcome::Outcome;
use thinktune_method::rollout::Attempt;
use thinktune_method::settings::Ask;
use thinktune_model::FrozenModel;
use thinktune_policy::{Finish, Generate, Prompt, SampleKey, Sampling, Stream, Tokenizer};
use thinktune_runlog::{JsonLog, fingerprint, sha256_hex, write_atomic};
use thinktune_tasks::Question;

use super::identity::model_sha256;
use super::ticker::Ticker;
use crate::args::GuidanceArgs;
use crate::config::Task;
use crate::failure::UsageError;
use crate::plan::DataPlan;
use crate::student::Student;
use crate::work::questions;

const IDENTITY: &str = "attempts.json";
const LOG: &str = "attempts.jsonl";
/// Attempts sampled at a time.
const PORTION: usize = 32;
/// Attempts at most for each that is wanted: a student of which fewer end is cut off by its limit, not measured.
const MOST_PER_WANTED: usize = 8;

/// Attempts that ended by themselves.
pub struct Attempts {
    /// The attempts, in the order in which they were sampled.
    pub rows: Vec<Row>,
    /// A short name of everything that they depend on.
    pub identity: String,
}

/// One attempt.
pub struct Row {
    /// The question.
    pub question: Question,
    /// The attempt.
    pub attempt: Attempt,
    /// True where its final answer is right.
    pub is_right: bool,
}

/// A line of the log: an attempt, whether or not it ended by itself.
#[derive(Serialize, Deserialize)]
struct Record {
    question: u32,
    ended: bool,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    text: String,
}

impl Attempts {
    /// The attempts kept in the folder, and as many more as are wanted.
    ///
    /// # Errors
    /// The folder holds attempts sampled otherwise; too few of the attempts end.
    pub fn load_or_sample(
        args: &GuidanceArgs,
        student: &Student,
        ask: &Ask,
        out: &Path,
        quiet: bool,
    ) -> anyhow::Result<Self> {
        let (questions, data) = load_questions(args, ask)?;
        let identity = settle_identity(args, student, ask, data, out)?;
        let order = permutation(args.seed, 0, questions.len());
        let (mut log, mut records) = JsonLog::resume::<Record>(out.join(LOG))?;
        let mut sampler = None;
        let mut ticker = Ticker::new("attempts that ended", args.attempts, quiet);
        let ended = |records: &[Record]| records.iter().filter(|record| record.ended).count();
        // a portion that was begun is finished, so that the log of a killed process becomes that of one that was not
        let begun =
            |records: &[Record]| !records.len().is_multiple_of(PORTION) && records.len() < order.len();
        while ended(&records) < args.attempts || begun(&records) {
            // up to where a process that was not killed would have gone, so that the log is the same
            let to = (records.len() / PORTION + 1) * PORTION;
            let portion = &order[records.len()..order.len().min(to)];
            if portion.is_empty() || records.len() >= MOST_PER_WANTED * args.attempts {
                return Err(UsageError(too_few(ended(&records), records.len(), args)).into());
            }
            if sampler.is_none() {
                sampler = Some(FrozenModel::load(&student.dir, args.device, args.precision.into())?);
            }
            let Some(model) = sampler.as_mut() else { break };
            let drawn: Vec<&Question> = portion.iter().map(|&index| &questions[index]).collect();
            for record in sample(model, student, ask, args, &drawn)? {
                log.append(&record)?;
                records.push(record);
            }
            log.sync()?;
            ticker.tick(ended(&records));
        }
        let kept = records.into_iter().filter(|record| record.ended).take(args.attempts);
        let rows =
            kept.map(|record| row(record, &questions, args.seed, student)).collect::<Result<_, _>>()?;
        Ok(Self { rows, identity })
    }
}

fn too_few(ended: usize, sampled: usize, args: &GuidanceArgs) -> String {
    format!(
        "only {ended} of {sampled} attempts ended by themselves within {} tokens; expected {}: raise \
         --max-attempt-tokens, give more questions, or ask for fewer --attempts",
        args.max_attempt_tokens, args.attempts
    )
}

fn load_questions(args: &GuidanceArgs, ask: &Ask) -> anyhow::Result<(Vec<Question>, String)> {
    let (task, limit) = match &args.data {
        Some(_) => (Task::Gsm8k, None),
        None => (Task::WordProblems, Some(MOST_PER_WANTED * args.attempts)),
    };
    let data = DataPlan { task, path: args.data.clone(), limit, ask: ask.clone() };
    let checksum = match &args.data {
        Some(path) => fingerprint(path, |_| true)?,
        None => format!("word problems of seed {}", args.seed),
    };
    Ok((questions(&data, args.seed)?, checksum))
}

/// Writes down what the attempts depend on, or compares it with what is written.
fn settle_identity(
    args: &GuidanceArgs,
    student: &Student,
    ask: &Ask,
    data: String,
    out: &Path,
) -> anyhow::Result<String> {
    let wanted = BTreeMap::from([
        ("model", model_sha256(&student.dir)?),
        ("data", data),
        ("system", ask.system.clone().unwrap_or_default()),
        ("prompt-suffix", ask.suffix.clone()),
        ("temperature", args.temperature.to_string()),
        ("max-attempt-tokens", args.max_attempt_tokens.to_string()),
        ("seed", args.seed.to_string()),
        ("date", args.date.clone()),
        ("precision", args.precision.name().into()),
    ]);
    let text = format!("{}\n", serde_json::to_string_pretty(&wanted)?);
    let path = out.join(IDENTITY);
    if path.exists() {
        let bad = |error: String| {
            UsageError(format!("{}: {error}; expected what `thinktune guidance` wrote", path.display()))
        };
        let found = std::fs::read_to_string(&path).map_err(|error| bad(error.to_string()))?;
        let found: BTreeMap<String, String> =
            serde_json::from_str(&found).map_err(|error| bad(error.to_string()))?;
        let differs = |(key, wanted): (&&str, &String)| {
            let found = found.get(*key).map_or("(nothing)", String::as_str);
            (found != wanted).then(|| format!("{key}: there {found:?}, here {wanted:?}"))
        };
        let differences: Vec<String> = wanted.iter().filter_map(differs).collect();
        if !differences.is_empty() {
            return Err(UsageError(format!(
                "{} holds attempts sampled otherwise ({}); name another folder by --out, or the same settings",
                out.display(),
                differences.join("; ")
            ))
            .into());
        }
    } else {
        write_atomic(&path, text.as_bytes())?;
    }
    Ok(sha256_hex(text.as_bytes()))
}

fn sample(
    model: &mut FrozenModel,
    student: &Student,
    ask: &Ask,
    args: &GuidanceArgs,
    questions: &[&Question],
) -> anyhow::Result<Vec<Record>> {
    let tokenizer = &student.tokenizer;
    let prompt = |question: &&Question| {
        let tokens = tokenizer.prompt_ids(&ask.messages(question))?;
        anyhow::Ok(Prompt { tokens: tokens.into(), keys: vec![key(question.index)] })
    };
    let prompts = questions.iter().map(prompt).collect::<anyhow::Result<Vec<_>>>()?;
    let plain = Sampling::plain(args.seed, args.max_attempt_tokens, tokenizer.stop().to_vec());
    let sampling = Sampling { temperature: args.temperature, ..plain };
    let completions = model.generate(&prompts, &sampling, &mut |_| ())?.into_iter().flatten();
    let record = |(question, completion): (&&Question, thinktune_policy::Completion)| Record {
        question: question.index,
        ended: Tokenizer::ended(tokenizer, &completion.tokens),
        text: tokenizer.decode(&completion.tokens),
        tokens: completion.tokens,
        logprobs: completion.logprobs,
    };
    Ok(questions.iter().zip(completions).map(record).collect())
}

/// The key of an attempt: that of the first sample of the first step.
fn key(question: u32) -> SampleKey {
    SampleKey { stream: Stream::Attempt, step: 1, question, sample: 0 }
}

fn row(record: Record, questions: &[Question], seed: u64, student: &Student) -> Result<Row, UsageError> {
    let question = questions.get(record.question as usize).ok_or_else(|| {
        let (found, known) = (record.question, questions.len());
        UsageError(format!(
            "{LOG} of seed {seed} names question {found}; expected one of the {known} in the data"
        ))
    })?;
    let Record { tokens, logprobs, text, .. } = record;
    let attempt = Attempt { key: key(question.index), tokens, logprobs, finish: Finish::Stop, text };
    let ended = attempt.ended(&student.tokenizer);
    let is_right = Outcome::of(question.kind, &attempt.text, ended, &question.gold).is_right();
    Ok(Row { question: question.clone(), attempt, is_right })
}
