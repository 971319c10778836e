//! `thinktune guidance`: how well a teacher guides a student's attempts with a prompt set. The attempts are sampled
//! once; each teacher reacts to all of them with each prompt set, through the code that a training step runs.

mod attempts;
mod identity;
mod limits;
mod replies;
mod summary;
mod ticker;

use std::path::{Path, PathBuf};

use serde_json::json;
use thinktune_eval::table::Table;
use thinktune_method::help::examples::TeacherPrompts;
use thinktune_method::help::prompts::PromptSet;
use thinktune_method::settings::Ask;
use thinktune_runlog::{FolderLock, write_atomic};

use crate::args::{Common, GuidanceArgs};
use crate::commands::print;
use crate::failure::UsageError;
use crate::model_source::ModelSource;
use crate::plan::BOXED_SUFFIX;
use crate::student::Student;
use attempts::Attempts;
use replies::Measurement;
use summary::Summary;

/// Measures and prints the table.
pub fn run(args: &GuidanceArgs, common: Common) -> anyhow::Result<()> {
    check(args)?;
    let sets = args.prompts.iter().map(|name| load_set(name)).collect::<Result<Vec<_>, _>>()?;
    let student_dir = ModelSource::named(&args.model)?.fetch(common.offline)?;
    let teachers = teachers(args, common, &student_dir)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs/guidance"));
    std::fs::create_dir_all(&out)
        .map_err(|error| UsageError(format!("--out {}: cannot be created: {error}", out.display())))?;
    let _lock = FolderLock::take(&out)?;
    let student = Student::open(&student_dir, &args.date)?;
    let ask = ask(args);
    let attempts = Attempts::load_or_sample(args, &student, &ask, &out, common.quiet)?;
    let mut summaries = Vec::new();
    for (teacher, dir) in &teachers {
        let mut measurement = Measurement::new(args, &student, dir, &out, common.quiet)?;
        for set in &sets {
            let prompts = TeacherPrompts { set: set.clone(), ask: ask.clone(), seed: args.seed };
            let records = measurement.records(&attempts, prompts)?;
            summaries.push(Summary::of(teacher, set, &records));
        }
    }
    report(&summaries, &attempts, &out, args.json)
}

/// Prints the table, and leaves it in the folder.
fn report(summaries: &[Summary], attempts: &Attempts, out: &Path, as_json: bool) -> anyhow::Result<()> {
    let table: Table = summary::table(summaries);
    let reasons = summary::reasons(summaries);
    let right = attempts.rows.iter().filter(|row| row.is_right).count();
    let heading = format!("{} attempts, {right} of them right", attempts.rows.len());
    let json = json!({ "attempts": attempts.rows.len(), "right": right, "results": summaries });
    let markdown = format!("{heading}\n\n{}\n\n{}\n", table.to_markdown(), reasons.to_markdown());
    write_atomic(&out.join("results.md"), markdown.as_bytes())?;
    write_atomic(&out.join("results.json"), format!("{json:#}\n").as_bytes())?;
    if as_json {
        return print(&json.to_string());
    }
    print(&format!("{heading}\n\n{}\n\n{}\n\nreplies  {}", table.to_text(), reasons.to_text(), out.display()))
}

fn check(args: &GuidanceArgs) -> Result<(), UsageError> {
    let wrong = |flag: &str, value: String, expected: &str| {
        Err(UsageError(format!("--{flag} {value}: expected {expected}")))
    };
    if !(args.temperature > 0.0 && args.temperature.is_finite()) {
        return wrong("temperature", args.temperature.to_string(), "a positive number");
    }
    if !(args.teacher_temperature >= 0.0 && args.teacher_temperature.is_finite()) {
        return wrong("teacher-temperature", args.teacher_temperature.to_string(), "0 or a positive number");
    }
    if !(args.teacher_top_p > 0.0 && args.teacher_top_p <= 1.0) {
        return wrong("teacher-top-p", args.teacher_top_p.to_string(), "above 0 and at most 1");
    }
    match &args.data {
        Some(path) if !path.is_file() => wrong("data", path.display().to_string(), "a file that exists"),
        _ => Ok(()),
    }
}

fn load_set(name: &str) -> Result<PromptSet, UsageError> {
    PromptSet::load(name)
        .map_err(|found| UsageError(format!("--prompts {name}: expected a prompt set ({found})")))
}

/// The teachers by the names they were given, each with its folder: the student where none is given.
fn teachers(args: &GuidanceArgs, common: Common, student: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    if args.teacher.is_empty() {
        return Ok(vec![(args.model.clone(), student.into())]);
    }
    let fetch = |name: &String| Ok((name.clone(), ModelSource::named(name)?.fetch(common.offline)?));
    args.teacher.iter().map(fetch).collect()
}

fn ask(args: &GuidanceArgs) -> Ask {
    let default = if args.data.is_some() { BOXED_SUFFIX } else { "" };
    let suffix = args.prompt_suffix.clone().unwrap_or_else(|| default.into());
    Ask { system: args.system.clone(), suffix }
}
