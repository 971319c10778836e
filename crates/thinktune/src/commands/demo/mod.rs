//! `thinktune demo`: GRPO and ThinkTuning from the same student, side by side. Everything it needs is in the
//! program; it uses no network.

mod embedded;
mod folder;
mod table;

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use thinktune_model::LocalModel;
use thinktune_runlog::event::EvalMetrics;
use thinktune_tasks::Question;
use thinktune_tasks::homework::{self, Split};

use crate::args::{Common, DemoArgs};
use crate::commands::print;
use crate::config::Config;
use crate::evaluate::{Answer, Exam};
use crate::failure::Interrupted;
use crate::plan::{self, Job, Plan};
use crate::session::{self, Options, Student};
use crate::interrupt;
use folder::DemoFolder;
use table::{Column, Guidance, Sample, Table};

const REASONING: &str = include_str!("../../../../../configs/demo.toml");
const CATCH_PHRASE: &str = include_str!("../../../../../configs/demo-catch-phrase.toml");
/// What `--quick` changes.
const QUICK: [&str; 3] = ["run.steps=12", "run.checkpoint_every=12", "guidance.gamma.steps=10"];
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
        let Job::Rl(rl) = &thinktuning.job else { unreachable!("the demo's configurations train with rewards") };
        let settings = &rl.settings;
        let count = if self.args.quick { HELD_OUT.1 } else { HELD_OUT.0 };
        let questions = homework::questions(self.args.seed, Split::HeldOut, count);
        let exam = Exam {
            questions: &questions,
            ask: &settings.ask,
            phrase: Some(homework::CATCH_PHRASE),
            seed: self.args.seed,
            max_tokens: settings.rollout.max_response_tokens,
        };
        let (before, _) = self.examine("before", &self.folder.models().join("student"), &exam, &thinktuning, 0)?;
        let steps = settings.run.steps.into();
        let model = self.train(&grpo)?;
        let (after_grpo, _) = self.examine("grpo", &model, &exam, &grpo, steps)?;
        let model = self.train(&thinktuning)?;
        let (after_tt, answers) = self.examine("thinktuning", &model, &exam, &thinktuning, steps)?;
        Ok(Table {
            seed: self.args.seed,
            quick: self.args.quick,
            catch_phrase: self.args.catch_phrase,
            samples_per_run: steps * (settings.rollout.questions_per_step * settings.rollout.group_size) as u64,
            columns: vec![
                Column { name: "before".into(), held_out: before },
                Column { name: "GRPO".into(), held_out: after_grpo },
                Column { name: "ThinkTuning".into(), held_out: after_tt },
            ],
            guidance: Guidance::of_run(&thinktuning.out)?,
            samples: samples(&answers, &questions),
        })
    }

    fn plan(&self, method: &str) -> anyhow::Result<Plan> {
        let text = if self.args.catch_phrase { CATCH_PHRASE } else { REASONING };
        let models = self.folder.models();
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        let mut overrides = vec![
            format!("method={method}"),
            format!("seed={}", self.args.seed),
            format!("out={}", quoted(&self.folder.dir().join(method))),
            format!("model.path={}", quoted(&models.join("student"))),
            format!("guidance.teacher={}", quoted(&models.join("teacher"))),
        ];
        if self.args.quick {
            overrides.extend(QUICK.map(String::from));
        }
        let mut plan = plan::resolve(Config::parse(text, &overrides)?)?;
        // That nobody is guided is what the demo's GRPO run is for.
        plan.notices.clear();
        Ok(plan)
    }

    fn train(&self, plan: &Plan) -> anyhow::Result<std::path::PathBuf> {
        let label = if plan.method.name() == "grpo" { "GRPO       " } else { "ThinkTuning" };
        let options = Options { label, quiet: self.common.quiet, offline: true };
        Ok(session::train(plan, &options)?.model)
    }

    fn examine(
        &self,
        name: &str,
        dir: &Path,
        exam: &Exam<'_>,
        plan: &Plan,
        step: u64,
    ) -> anyhow::Result<(EvalMetrics, Vec<Answer>)> {
        let student = Student::open(dir, &plan.date)?;
        let bar = if self.common.quiet { ProgressBar::hidden() } else { ProgressBar::new(exam.questions.len() as u64) };
        if let Ok(style) = ProgressStyle::with_template("held-out, {msg} {bar:24} {pos}/{len}") {
            bar.set_style(style);
        }
        bar.set_message(name.to_string());
        let mut model = LocalModel::load(dir)?;
        let answers =
            exam.sit(&mut model, &student.codec, &mut |progress| bar.set_position(progress.finished as u64));
        bar.finish_and_clear();
        if interrupt::requested() {
            return Err(Interrupted { step: u32::try_from(step).unwrap_or(u32::MAX) }.into());
        }
        let answers = answers?;
        Ok((exam.summarise(step, &answers), answers))
    }
}

/// Reflections to read: of each kind - a right answer kept, a wrong one mended, a wrong one not mended - the first.
fn samples(answers: &[Answer], questions: &[Question]) -> Vec<Sample> {
    let kinds = [(true, true), (false, true), (false, false)];
    let sample = |(first, last): (bool, bool)| {
        let found = answers.iter().find(|a| a.reflects && a.first_correct == first && a.correct == last)?;
        let question = &questions[found.question];
        Some(Sample {
            question: question.text.clone(),
            gold: question.gold.clone(),
            response: found.text.clone(),
            first_correct: first,
            correct: last,
        })
    };
    kinds.into_iter().filter_map(sample).collect()
}
