//! Training data of a run, loaded: questions and a teacher, or examples to imitate; and the run itself.

use std::path::{Path, PathBuf};

use thinktune_eval::HeldOutSet;
use thinktune_method::act::questions::Questions;
use thinktune_method::help::examples::TeacherPrompts;
use thinktune_method::help::prompts::PromptSet;
use thinktune_method::help::teacher::{LocalTeacher, sampling_of};
use thinktune_method::rl::RlRun;
use thinktune_method::run::{Evaluate, Hooks, Run, RunEnd, drive};
use thinktune_method::settings::{RlSettings, SettingError};
use thinktune_method::sft::examples::{self, Sequence};
use thinktune_method::sft::{SftPlan, SftRun};
use thinktune_method::step::Models;
use thinktune_model::memory::Budget;
use thinktune_model::{Dtype, FrozenModel, LocalModel, ModelSpec};
use thinktune_policy::{ModelError, Score, Teacher, TeacherRequest, Tokenizer};
use thinktune_remote::{Prompts, RemoteTeacher};
use thinktune_runlog::RunFolder;
use thinktune_runlog::event::RunTotals;
use thinktune_tasks::word_problems::{self, Split};
use thinktune_tasks::{Question, load_gsm8k};
use thinktune_text::ChatTokenizer;

use crate::config::Task;
use crate::fault_point::FaultPoint;
use crate::held_out::{self, HeldOutSets};
use crate::help_check::HelpCheck;
use crate::interrupt::CtrlC;
use crate::plan::{self, DataPlan, Help, Job, Plan, RlPlan};
use crate::progress::Progress;
use crate::student::Student;

/// Replies of a teacher behind a server, in the run folder.
const TEACHER_CACHE: &str = "teacher_replies.jsonl";

/// End of a training.
pub struct Trained {
    /// How it ended.
    pub end: RunEnd,
    /// Counts over the whole run; none with sft.
    pub totals: Option<RunTotals>,
}

/// Data of a run, loaded.
pub enum TrainingData {
    /// ThinkTuning and GRPO.
    Rl {
        /// Questions to learn from, with their prompts.
        questions: Questions,
        /// The folder of the teacher's model, where it is another than the initial student, or of its tokenizer.
        teacher: Option<PathBuf>,
        /// Held-out sets that the student is evaluated on.
        held_out: Vec<HeldOutSet>,
    },
    /// Supervised fine-tuning.
    Sft(Vec<Sequence>),
}

impl TrainingData {
    /// Loads questions or examples, and finds the teacher.
    ///
    /// # Errors
    /// Data that is missing, empty or bad; a teacher that cannot be had.
    pub fn load(plan: &Plan, student: &Student, offline: bool) -> anyhow::Result<Self> {
        match &plan.job {
            Job::Sft(_) => Ok(Self::Sft(sequences(&plan.data, plan.seed, &student.tokenizer)?)),
            Job::Rl(rl) => {
                let place = rl.help.as_ref().and_then(|help| help.teacher.place());
                let teacher = place.map(|place| place.fetch(offline)).transpose()?;
                let questions = questions(&plan.data, plan.seed)?;
                let questions = Questions::new(questions, &rl.settings, &student.tokenizer)?;
                check_context(&questions, &rl.settings, student)?;
                if let Some(help) = &rl.help {
                    let check = HelpCheck { plan, settings: &rl.settings, help, questions: &questions };
                    check.run(&student.tokenizer, Some(student.spec.context), teacher.as_deref())?;
                }
                let held_out =
                    rl.held_out.iter().map(|set| held_out::load(set, plan)).collect::<anyhow::Result<_>>()?;
                Ok(Self::Rl { questions, teacher, held_out })
            }
        }
    }

    /// The teacher's folder, where it is another model.
    pub fn teacher_dir(&self) -> Option<&Path> {
        match self {
            Self::Rl { teacher, .. } => teacher.as_deref(),
            Self::Sft(_) => None,
        }
    }

    /// The shape of the teacher, where it is another model in this process.
    ///
    /// # Errors
    /// A folder without a readable `config.json`.
    pub fn other_teacher(&self, plan: &Plan) -> Result<Option<ModelSpec>, ModelError> {
        let dir = plan.other_teacher().and_then(|_| self.teacher_dir());
        dir.map(ModelSpec::from_dir).transpose()
    }

    /// Trains `model`, the student with its weights; models that are loaded beside it keep within `budget`.
    ///
    /// # Errors
    /// What the method reports.
    pub fn train(
        self,
        (plan, budget): (&Plan, Budget),
        student: &Student,
        model: &mut LocalModel,
        folder: &mut RunFolder,
        progress: &mut Progress,
    ) -> anyhow::Result<Trained> {
        match (self, &plan.job) {
            (Self::Sft(sequences), Job::Sft(settings)) => {
                let sft_plan = SftPlan::new(sequences, settings, progress)?;
                let mut run = SftRun::new(model, sft_plan, settings);
                let end = drive_here(&mut run, student, None, folder, progress)?;
                Ok(Trained { end, totals: None })
            }
            (Self::Rl { questions, teacher, held_out }, Job::Rl(rl)) => {
                let run = RlJob { plan, budget, rl, student, teacher };
                run.train(&questions, held_out, model, folder, progress)
            }
            _ => unreachable!("`load` follows the plan's job"),
        }
    }
}

/// Drives a run with this program's checkpoint files, progress and Ctrl-C.
fn drive_here<R: Run>(
    run: &mut R,
    student: &Student,
    evaluate: Option<&mut dyn Evaluate>,
    folder: &mut RunFolder,
    progress: &mut Progress,
) -> anyhow::Result<RunEnd> {
    let fault_point = FaultPoint::from_env();
    let side_files = |step: u32, dir: &Path| -> Result<(), ModelError> {
        student.copy_side_files(dir, Dtype::F32)?;
        fault_point.reach("checkpoint", step.into());
        Ok(())
    };
    let evaluate = evaluate.map(|hook| hook as &mut dyn Evaluate);
    let mut hooks = Hooks { evaluate, side_files: &side_files, progress, control: &mut CtrlC };
    Ok(drive(run, folder, &mut hooks)?)
}

struct RlJob<'a> {
    plan: &'a Plan,
    budget: Budget,
    rl: &'a RlPlan,
    student: &'a Student,
    teacher: Option<PathBuf>,
}

impl RlJob<'_> {
    fn train(
        self,
        questions: &Questions,
        held_out: Vec<HeldOutSet>,
        model: &mut LocalModel,
        folder: &mut RunFolder,
        progress: &mut Progress,
    ) -> anyhow::Result<Trained> {
        let (settings, student) = (&self.rl.settings, self.student);
        let mut reference = if settings.loss.beta > 0.0 { Some(model.frozen()?) } else { None };
        let mut remote = self.remote()?;
        let mut helper = if remote.is_some() { None } else { self.helper(model)? };
        let (mut teacher_model, tokenizer) = match &mut helper {
            Some((model, tokenizer)) => (Some(model), tokenizer.as_ref().unwrap_or(&student.tokenizer)),
            None => (None, &student.tokenizer),
        };
        let mut local = match (&mut teacher_model, &self.rl.help) {
            (Some(model), Some(help)) => {
                let settings = within_context(settings, model.spec().context);
                let prompts = teacher_prompts(&help.prompts, &settings);
                Some(LocalTeacher::new(*model, tokenizer, prompts, sampling_of(&settings)))
            }
            _ => None,
        };
        let local = local.as_mut().map(|teacher| teacher as &mut dyn Teacher);
        let models = Models {
            student: model,
            tokenizer: &student.tokenizer,
            teacher: remote.as_mut().map(|teacher| teacher as &mut dyn Teacher).or(local),
            reference: reference.as_mut().map(|reference| reference as &mut dyn Score),
        };
        let mut run = RlRun::new(models, questions, settings)?;
        let mut sets =
            HeldOutSets { sets: held_out, tokenizer: &student.tokenizer, context: student.spec.context };
        let evaluate = (!sets.sets.is_empty()).then_some(&mut sets as &mut dyn Evaluate);
        let end = drive_here(&mut run, student, evaluate, folder, progress)?;
        Ok(Trained { end, totals: Some(run.totals().clone()) })
    }

    /// The teacher behind a server, if it is there; its replies are kept in the run folder.
    fn remote(&self) -> anyhow::Result<Option<RemoteTeacher>> {
        let Some(Help { teacher: plan::Teacher::Remote { settings, .. }, prompts }) = &self.rl.help else {
            return Ok(None);
        };
        let tokenizer = match self.teacher.as_deref() {
            Some(dir) => Some(Box::new(ChatTokenizer::load(dir, &self.plan.date)?) as Box<dyn Tokenizer>),
            None => None,
        };
        let key = settings.key()?;
        let cache = self.plan.out.join(TEACHER_CACHE);
        let shown = teacher_prompts(prompts, &self.rl.settings);
        if tokenizer.is_none() && !shown.prefill().is_empty() {
            eprintln!(
                "note: the teacher begins its replies itself, without {:?}: only prompts made here can hold it \
                 (guidance.teacher.api = \"completions\" with guidance.teacher.tokenizer)",
                shown.prefill()
            );
        }
        let prompts = Prompts {
            prefill: shown.prefill().into(),
            checks_first: shown.set.check,
            messages: Box::new(move |request: &TeacherRequest| shown.messages(request)),
            tokenizer,
        };
        let sampling = sampling_of(&self.rl.settings);
        Ok(Some(RemoteTeacher::new(settings.clone(), key, prompts, sampling, &cache)?))
    }

    /// The teacher's model, and its tokenizer where it is not the student's. The same files share their weights.
    fn helper(
        &self,
        student: &mut LocalModel,
    ) -> anyhow::Result<Option<(FrozenModel, Option<ChatTokenizer>)>> {
        if self.rl.help.is_none() {
            return Ok(None);
        }
        let Some(dir) = self.teacher.as_deref().filter(|dir| !same_folder(dir, &self.student.dir)) else {
            return Ok(Some((student.frozen()?, None)));
        };
        let teacher = Student::open(dir, &self.plan.date)?;
        let model = FrozenModel::load(dir, self.plan.device, self.plan.precision)?.with_budget(self.budget);
        Ok(Some((model, Some(teacher.tokenizer))))
    }
}

/// A prompt set as a run shows it to its teacher.
pub fn teacher_prompts(set: &PromptSet, settings: &RlSettings) -> TeacherPrompts {
    TeacherPrompts { set: set.clone(), ask: settings.ask.clone(), seed: settings.seed }
}

/// A prompt and the longest response to it must fit the model: guided rows are trained on as one sequence.
fn check_context(
    questions: &Questions,
    settings: &RlSettings,
    student: &Student,
) -> Result<(), SettingError> {
    let longest = questions.all().iter().map(|asked| asked.prompt.len()).max().unwrap_or(0);
    let (context, response) = (student.spec.context, settings.rollout.max_response_tokens);
    if longest + response <= context {
        return Ok(());
    }
    let room = context.saturating_sub(longest);
    Err(SettingError {
        key: "rollout.max_response_tokens".into(),
        value: response.to_string(),
        expected: format!(
            "at most {room}: the model's context is {context} and the longest prompt {longest} tokens"
        ),
    })
}

/// The settings with the teacher's prompts held within its context.
fn within_context(settings: &RlSettings, context: usize) -> RlSettings {
    let mut settings = settings.clone();
    let guidance = &mut settings.guidance;
    let room = context.saturating_sub(guidance.max_teacher_tokens);
    guidance.max_teacher_prompt_tokens = guidance.max_teacher_prompt_tokens.min(room);
    settings
}

fn same_folder(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Questions of a plan.
///
/// # Errors
/// The file cannot be read, a line of it is bad, or it is empty.
pub fn questions(data: &DataPlan, seed: u64) -> anyhow::Result<Vec<Question>> {
    let mut questions = match (data.task, &data.path) {
        (Task::WordProblems, _) => {
            word_problems::questions(seed, Split::Train, data.limit.unwrap_or_default())
        }
        (_, Some(path)) => load_gsm8k(path)?,
        (_, None) => Vec::new(),
    };
    questions.truncate(data.limit.unwrap_or(usize::MAX));
    Ok(questions)
}

/// Examples of a plan, as tokens.
///
/// # Errors
/// As [`questions`].
pub fn sequences(data: &DataPlan, seed: u64, tokenizer: &ChatTokenizer) -> anyhow::Result<Vec<Sequence>> {
    match (data.task, &data.path) {
        (Task::Jsonl, Some(path)) => Ok(examples::read(path, tokenizer)?),
        _ => Ok(examples::from_questions(&questions(data, seed)?, &data.ask, tokenizer)?),
    }
}
