//! A teacher's replies to the attempts, and the fate of each: asked for in portions, written as they come.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use thinktune_method::help::examples::TeacherPrompts;
use thinktune_method::help::feedback::Opinion;
use thinktune_method::help::guide::{Guide, request};
use thinktune_method::help::teacher::LocalTeacher;
use thinktune_method::reward::outcome::Outcome;
use thinktune_method::rollout::{Guided, Help};
use thinktune_model::FrozenModel;
use thinktune_policy::{Teacher, TeacherReply, TeacherRequest, TeacherSampling};
use thinktune_runlog::JsonLog;
use thinktune_runlog::event::Author;

use super::attempts::{Attempts, Row};
use super::identity::{model_sha256, short_hash};
use super::limits::{limits, teacher_sampling};
use super::ticker::Ticker;
use crate::args::GuidanceArgs;
use crate::student::Student;

/// Attempts asked about at a time: what a killed process loses at most.
const PORTION: usize = 16;

/// A line of the log: an attempt, the reply and its fate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Index of the question in its data set.
    pub question: u32,
    /// The reference answer.
    pub gold: String,
    /// The attempt.
    pub attempt: String,
    /// True where the attempt's final answer is right.
    pub attempt_right: bool,
    /// The teacher's reply; empty where it was not asked.
    pub reply: String,
    /// Tokens the teacher drew.
    pub reply_tokens: usize,
    /// `accepted`, or why the reply was not used.
    pub fate: String,
    /// The teacher's opinion, where the reply was accepted.
    pub opinion: Option<String>,
    /// True where the guided response ended with a right final answer, and, without guidance, where the attempt did.
    pub result_right: bool,
    /// Tokens of the guidance, in the student's vocabulary, where the reply was accepted.
    pub guidance_tokens: usize,
}

impl Record {
    /// Returns true where the reply was spliced in.
    pub fn is_accepted(&self) -> bool {
        self.opinion.is_some()
    }

    /// Returns true where the opinion agrees with the grader.
    pub fn is_opinion_right(&self) -> bool {
        self.opinion.as_deref().is_some_and(|word| (word == Opinion::Correct.word()) == self.attempt_right)
    }
}

/// One teacher at work.
pub struct Measurement<'a> {
    args: &'a GuidanceArgs,
    student: &'a Student,
    teacher: Student,
    teacher_sha256: String,
    /// Loaded once there is something to ask.
    model: Option<FrozenModel>,
    sampling: TeacherSampling,
    out: PathBuf,
    quiet: bool,
}

impl<'a> Measurement<'a> {
    /// Reads the teacher's folder, its weights aside.
    ///
    /// # Errors
    /// A file that is missing or foreign.
    pub fn new(
        args: &'a GuidanceArgs,
        student: &'a Student,
        dir: &Path,
        out: &Path,
        quiet: bool,
    ) -> anyhow::Result<Self> {
        let teacher = Student::open(dir, &args.date)?;
        let mut sampling = teacher_sampling(args);
        let room = teacher.spec.context.saturating_sub(sampling.max_tokens);
        sampling.max_prompt_tokens = sampling.max_prompt_tokens.min(room);
        let teacher_sha256 = model_sha256(dir)?;
        Ok(Self { args, student, teacher, teacher_sha256, model: None, sampling, out: out.into(), quiet })
    }

    /// The replies to all attempts, those of an earlier start included.
    ///
    /// # Errors
    /// The teacher fails, or the log cannot be written.
    pub fn records(&mut self, attempts: &Attempts, prompts: TeacherPrompts) -> anyhow::Result<Vec<Record>> {
        let name =
            Path::new(&prompts.set.name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (mut log, mut records) = JsonLog::resume::<Record>(self.path(&name, attempts, &prompts)?)?;
        let mut ticker = Ticker::new(&name, attempts.rows.len(), self.quiet);
        let left = attempts.rows.get(records.len()..).unwrap_or_default();
        for rows in left.chunks(PORTION) {
            for record in self.portion(rows, &prompts)? {
                log.append(&record)?;
                records.push(record);
            }
            log.sync()?;
            ticker.tick(records.len());
        }
        records.truncate(attempts.rows.len());
        Ok(records)
    }

    /// The file of the replies, named after everything that they depend on.
    fn path(&self, name: &str, attempts: &Attempts, prompts: &TeacherPrompts) -> anyhow::Result<PathBuf> {
        let identity = json!({
            "attempts": attempts.identity,
            "teacher": self.teacher_sha256,
            "prompts": prompts.set.sha256,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_tokens": self.sampling.max_tokens,
            "max_prompt_tokens": self.sampling.max_prompt_tokens,
            "feedback_tokens": self.args.max_feedback_tokens,
            "response_tokens": self.args.max_response_tokens,
        });
        let teacher = self.teacher.dir.file_name().unwrap_or_default().to_string_lossy();
        Ok(self.out.join(format!("replies-{teacher}-{name}-{}.jsonl", short_hash(&identity.to_string()))))
    }

    fn portion(&mut self, rows: &[Row], prompts: &TeacherPrompts) -> anyhow::Result<Vec<Record>> {
        let Self { args, student, teacher, model, sampling, .. } = self;
        let loaded = match model.take() {
            Some(model) => model,
            None => FrozenModel::load(&teacher.dir, args.device, args.precision.into())?,
        };
        let model = model.insert(loaded);
        let requests: Vec<TeacherRequest> =
            rows.iter().map(|row| request(&row.question, &row.attempt)).collect();
        let mut asked = LocalTeacher::new(model, &teacher.tokenizer, prompts.clone(), sampling.clone());
        let guide =
            Guide { tokenizer: &student.tokenizer, limits: limits(args), checks_first: asked.checks_first() };
        let replies = asked.replies(&requests, &mut |_| ())?;
        Ok(rows.iter().zip(replies).map(|(row, reply)| record(row, reply, &guide)).collect())
    }
}

fn record(row: &Row, reply: TeacherReply, guide: &Guide<'_>) -> Record {
    let reply_tokens = reply.tokens();
    let guided = guide.apply(&row.question, row.attempt.clone(), Some(reply));
    let ids = guided.ids();
    let text = guide.tokenizer.decode(&ids);
    let ended = guide.tokenizer.ended(&ids);
    let result = Outcome::of(row.question.kind, &text, ended, &row.question.gold);
    let guidance_tokens = guided.tokens.iter().filter(|token| token.author == Author::Teacher).count();
    let Guided { attempt, help, .. } = guided;
    let (reply, fate, opinion) = match help {
        Help::NotChosen => (String::new(), "not_asked".into(), None),
        Help::Rejected { reply, reason } => (reply, reason.to_string(), None),
        Help::Given { reply, feedback } => (reply, "accepted".into(), Some(feedback.opinion.word().into())),
    };
    Record {
        question: row.question.index,
        gold: row.question.gold.clone(),
        attempt: attempt.text,
        attempt_right: row.is_right,
        reply,
        reply_tokens,
        fate,
        opinion,
        result_right: result.is_right(),
        guidance_tokens,
    }
}
