//! `thinktune demo`: GRPO and ThinkTuning from the same student, side by side. Everything it needs is in the
//! program; it uses no network.

mod embedded;
mod folder;
mod table;

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use thinktune_eval::Subject;
use thinktune_eval::held_out::{HeldOutSet, evaluate};
use thinktune_model::FrozenModel;
use thinktune_policy::GenerateProgress;
use thinktune_runlog::event::{HeldOutRecord, HeldOutResult};
use thinktune_tasks::Question;
use thinktune_tasks::word_problems::{self, Split};

use crate::args::{Common, DemoArgs};
use crate::commands::print;
use crate::config::Config;
use crate::failure::Interrupted;
use crate::interrupt;
use crate::plan::{self, Job, Plan};
use crate::session::{self, Options};
use crate::student::Student;
use folder::DemoFolder;
use table::{Column, Guidance, Sample, Table};

/// The recipe; GRPO is the same with nobody guided.
const RECIPE: &str = include_str!("../../../../../configs/word-problems/thinktuning.toml");
/// The recipe of `--catch-phrase`.
const CATCH_PHRASE: &str = include_str!("../../../../../configs/word-problems/thinktuning-catch-phrase.toml");
/// Settings that `--quick` changes.
const QUICK: [&str; 2] = ["run.steps=20", "run.checkpoint_every=20"];
/// Held-out problems asked, in full and in the quick version.
const HELD_OUT: (usize, usize) = (1024, 256);

/// Trains both and prints the table.
pub fn run(args: &DemoArgs, common: Common) -> anyhow::Result<()> {
    interrupt::install()?;
    let folder = DemoFolder::choose(args)?;
    if let Some(table) = folder.finished_table()? {
        eprintln!("note: {} was finished before; another --out runs it again", folder.dir().display());
        return show(&table, &folder, args.json);
    }
    let table = Demo { args, common, folder: &folder }.run()?;
    folder.finish(&table)?;
    show(&table, &folder, args.json)
}

fn show(table: &Table, folder: &DemoFolder, as_json: bool) -> anyhow::Result<()> {
    let dir = folder.dir().display();
    if as_json {
        return print(&serde_json::to_string(table)?);
    }
    print(&format!("{}\nruns   {dir}/grpo\n       {dir}/thinktuning", table.to_text()))
}

struct Demo<'a> {
    args: &'a DemoArgs,
    common: Common,
    folder: &'a DemoFolder,
}

impl Demo<'_> {
    fn run(&self) -> anyhow::Result<Table> {
        embedded::write(&self.folder.models())?;
        let (grpo, thinktuning) = (self.plan("grpo")?, self.plan("thinktuning")?);
        let Job::Rl(rl) = &thinktuning.job else {
            unreachable!("the demo's configurations train with rewards")
        };
        let settings = &rl.settings;
        let count = if self.args.quick { HELD_OUT.1 } else { HELD_OUT.0 };
        let set = HeldOutSet {
            name: String::new(),
            questions: word_problems::questions(self.args.seed, Split::HeldOut, count),
            system: settings.ask.system.clone(),
            suffix: settings.ask.suffix.clone(),
            samples: 1,
            temperature: settings.rollout.temperature,
            answer_tokens: settings.rollout.max_response_tokens,
            phrase: Some(word_problems::CATCH_PHRASE.into()),
            seed: self.args.seed,
        };
        let before = self
            .ask_held_out("before", &self.folder.models().join("student"), &set, &thinktuning, 0)?
            .metrics;
        let steps = settings.run.steps;
        let model = self.train(&grpo)?;
        let after_grpo = self.ask_held_out("GRPO", &model, &set, &grpo, steps)?.metrics;
        let model = self.train(&thinktuning)?;
        let after = self.ask_held_out("ThinkTuning", &model, &set, &thinktuning, steps)?;
        let responses = settings.rollout.questions_per_step * settings.rollout.group_size;
        Ok(Table {
            seed: self.args.seed,
            quick: self.args.quick,
            catch_phrase: self.args.catch_phrase,
            samples_per_run: u64::from(steps) * responses as u64,
            columns: vec![
                Column { name: "before".into(), held_out: before },
                Column { name: "GRPO".into(), held_out: after_grpo },
                Column { name: "ThinkTuning".into(), held_out: after.metrics },
            ],
            guidance: Guidance::of_run(&thinktuning.out)?,
            samples: samples(&after.answers, &set.questions),
        })
    }

    fn plan(&self, method: &str) -> anyhow::Result<Plan> {
        let recipe = if self.args.catch_phrase { CATCH_PHRASE } else { RECIPE };
        let models = self.folder.models();
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        let mut overrides = vec![
            format!("method={method}"),
            format!("seed={}", self.args.seed),
            format!("out={}", quoted(&self.folder.dir().join(method))),
            format!("model.device={}", self.args.device),
            format!("model.path={}", quoted(&models.join("student"))),
            format!("guidance.teacher={}", quoted(&models.join("teacher"))),
        ];
        if self.args.quick {
            overrides.extend(QUICK.map(String::from));
        }
        let mut plan = plan::resolve(Config::parse(recipe, &overrides)?)?;
        // That nobody is guided is what the demo's GRPO run is for.
        plan.notices.clear();
        Ok(plan)
    }

    fn train(&self, plan: &Plan) -> anyhow::Result<std::path::PathBuf> {
        let label = if plan.method.name() == "grpo" { "GRPO       " } else { "ThinkTuning" };
        let options = Options { label, quiet: self.common.quiet, offline: true };
        Ok(session::train(plan, &options)?.model)
    }

    /// A model's answers to the held-out questions.
    fn ask_held_out(
        &self,
        name: &str,
        dir: &Path,
        set: &HeldOutSet,
        plan: &Plan,
        step: u32,
    ) -> anyhow::Result<HeldOutResult> {
        let student = Student::open(dir, &plan.date)?;
        let total = set.questions.len() as u64;
        let bar = if self.common.quiet { ProgressBar::hidden() } else { ProgressBar::new(total) };
        if let Ok(style) = ProgressStyle::with_template("held-out, {msg} {bar:24} {pos}/{len}") {
            bar.set_style(style);
        }
        bar.set_message(name.to_string());
        let mut model = FrozenModel::load(dir, plan.device, plan.precision)?;
        let mut progress = |progress: GenerateProgress| bar.set_position(progress.finished as u64);
        let (tokenizer, context) = (&student.tokenizer, student.spec.context);
        let mut subject = Subject { model: &mut model, tokenizer, context };
        let evaluation = evaluate(&mut subject, set, step, &mut progress);
        bar.finish_and_clear();
        if interrupt::requested() {
            return Err(Interrupted { step }.into());
        }
        Ok(evaluation?)
    }
}

/// Reflections to read: of each kind - a right answer kept, a wrong one mended, a wrong one not mended - the first.
fn samples(answers: &[HeldOutRecord], questions: &[Question]) -> Vec<Sample> {
    let kinds = [(true, true), (false, true), (false, false)];
    let sample = |(first, last): (bool, bool)| {
        let is = |a: &&HeldOutRecord| a.reflects && a.first_attempt_right == first && a.right == last;
        let found = answers.iter().find(is)?;
        let question = questions.iter().find(|question| question.index == found.question)?;
        Some(Sample {
            question: question.text.clone(),
            gold: question.gold.clone(),
            response: found.response.clone(),
            first_correct: first,
            correct: last,
        })
    };
    kinds.into_iter().filter_map(sample).collect()
}
