//! `thinktune eval`: benchmarks x ways of prompting on a model, every answer kept.

mod progress;
mod prompt;
mod sets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use thinktune_eval::ask::prompt as rendered;
use thinktune_eval::folder::{AskedAs, Identity};
use thinktune_eval::methods::{self, Method};
use thinktune_eval::run::run as evaluate;
use thinktune_eval::{BenchmarkSet, EvalFolder, EvalSettings, Subject, Summary, paper, table};
use thinktune_model::{FrozenModel, Precision};
use thinktune_policy::{Message, Tokenizer};
use thinktune_runlog::fingerprint;
use thinktune_tasks::benchmarks::{self, Benchmark};

use crate::args::{Common, EvalArgs};
use crate::commands::print;
use crate::failure::UsageError;
use crate::model_source::ModelSource;
use crate::student::{Student, is_model_file};
use progress::Progress;
use prompt::PromptSettings;
use sets::BenchmarkSets;

/// Answers asked for at a time.
const PORTION: usize = 128;

/// Evaluates and prints the table.
pub fn run(args: &EvalArgs, common: Common) -> anyhow::Result<()> {
    let benchmarks = benchmarks_named(&args.benchmarks)?;
    let methods = methods_named(&args.methods)?;
    check(args)?;
    let place = ModelSource::named(&args.model)?;
    let prompt = PromptSettings::settle(args)?;
    let sets = BenchmarkSets::load(&benchmarks, args, &prompt, common.offline)?;
    let dir = place.fetch(common.offline)?;
    let student = Student::open(&dir, &prompt.date)?;
    let settings = settings(args, &prompt);
    let identity = Identity {
        model: place.to_string(),
        model_sha256: fingerprint(&dir, is_model_file)?,
        settings: settings_as_text(args, &settings, &prompt),
        benchmarks: sets.checksums.clone(),
        asked: asked_as(&sets.sets, &settings, &student.tokenizer)?,
    };
    let out = args.out.clone().unwrap_or_else(|| default_out(&args.model));
    let folder = EvalFolder::open(&out, identity)?;
    if let Some(notice) = prompt.notice.filter(|_| !common.quiet) {
        eprintln!("{notice}");
    }
    let mut model = FrozenModel::load(&dir, args.device, args.precision.into())?;
    let context = student.spec.context;
    let mut subject = Subject { model: &mut model, tokenizer: &student.tokenizer, context };
    let answers = sets.sets.iter().map(|set| set.questions.len()).sum::<usize>();
    let total = answers * methods.len() * settings.samples as usize;
    let mut progress = Progress::new(total, common.quiet);
    let done = evaluate(&mut subject, &sets.sets, &methods, &settings, &folder, &mut progress);
    progress.finish();
    report(&done?, &folder, args)
}

/// Prints the table, and leaves it in the folder in every form.
fn report(summaries: &[Summary], folder: &EvalFolder, args: &EvalArgs) -> anyhow::Result<()> {
    let results = table::results(summaries);
    let json = json!({ "evaluation": folder.identity(), "results": summaries });
    let heading = format!("# {}\n\n", folder.identity().model);
    let beside = if args.paper {
        format!("\n## The paper, Llama-3.2-3B-Instruct\n\n{}\n", paper::beside_ours(summaries).to_markdown())
    } else {
        String::new()
    };
    folder.write("results.md", &format!("{heading}{}\n{beside}", results.to_markdown()))?;
    folder.write("results.csv", &table::results_csv(summaries))?;
    folder.write("results.json", &format!("{json:#}\n"))?;
    if args.json {
        return print(&json.to_string());
    }
    let mut text = results.to_text();
    if args.paper {
        text.push_str(&format!(
            "\n\nThe paper, Llama-3.2-3B-Instruct\n{}",
            paper::beside_ours(summaries).to_text()
        ));
    }
    print(&format!("{text}\n\nanswers  {}", folder.dir().display()))
}

fn benchmarks_named(names: &[String]) -> Result<Vec<&'static Benchmark>, UsageError> {
    if let Some((name, now)) = names.iter().find_map(|name| Some((name, benchmarks::renamed(name)?))) {
        return Err(UsageError(format!("--benchmarks {name}: its name is {now} now")));
    }
    let known: Vec<&str> = benchmarks::ALL.iter().map(|benchmark| benchmark.name).collect();
    let find = |name: &str| benchmarks::by_name(name);
    distinct("--benchmarks", names, &known, &find)
}

fn methods_named(names: &[String]) -> Result<Vec<&'static dyn Method>, UsageError> {
    let known: Vec<&str> = methods::ALL.iter().map(|method| method.name()).collect();
    distinct("--methods", names, &known, &methods::by_name)
}

/// Items that the names stand for, each once; `all` stands for all.
fn distinct<T>(
    flag: &str,
    names: &[String],
    known: &[&str],
    find: &dyn Fn(&str) -> Option<T>,
) -> Result<Vec<T>, UsageError> {
    let mut wanted: Vec<&str> = Vec::new();
    for name in names {
        let expanded = if name == "all" { known.to_vec() } else { vec![name.as_str()] };
        wanted.extend(expanded);
    }
    let mut found = Vec::new();
    for (index, name) in wanted.iter().enumerate() {
        let list = known.join(", ");
        let item = find(name).ok_or_else(|| UsageError(format!("{flag} {name:?}: expected all, {list}")))?;
        if !wanted[..index].contains(name) {
            found.push(item);
        }
    }
    Ok(found)
}

fn check(args: &EvalArgs) -> Result<(), UsageError> {
    let temperature = temperature(args);
    let wrong = |text: String| Err(UsageError(text));
    if !(temperature >= 0.0 && temperature.is_finite()) {
        return wrong(format!("--temperature {temperature}: expected 0 or a positive number"));
    }
    if temperature == 0.0 && args.samples > 1 {
        let samples = args.samples;
        return wrong(format!(
            "--samples {samples} at --temperature 0: all samples would be the same answer"
        ));
    }
    for (flag, value) in
        [("--max-tokens", args.max_tokens), ("--budget", args.budget), ("--limit", args.limit)]
    {
        if value == Some(0) {
            return wrong(format!("{flag} 0: expected at least 1"));
        }
    }
    Ok(())
}

/// Greedy where there is one sample of each question.
fn temperature(args: &EvalArgs) -> f32 {
    args.temperature.unwrap_or(if args.samples > 1 { 1.0 } else { 0.0 })
}

fn settings(args: &EvalArgs, prompt: &PromptSettings) -> EvalSettings {
    EvalSettings {
        samples: args.samples,
        temperature: temperature(args),
        seed: args.seed,
        answer_tokens: args.max_tokens,
        budget_tokens: args.budget,
        system: prompt.system.clone(),
        portion: PORTION,
    }
}

/// The settings of the whole evaluation, as the folder keeps them.
fn settings_as_text(
    args: &EvalArgs,
    settings: &EvalSettings,
    prompt: &PromptSettings,
) -> BTreeMap<String, String> {
    let or_default = |value: Option<usize>| value.map_or("default".into(), |value| value.to_string());
    let precision = match Precision::from(args.precision) {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
    };
    BTreeMap::from([
        ("samples".to_string(), settings.samples.to_string()),
        ("temperature".to_string(), settings.temperature.to_string()),
        ("seed".to_string(), settings.seed.to_string()),
        ("max_tokens".to_string(), or_default(settings.answer_tokens)),
        ("budget".to_string(), or_default(settings.budget_tokens)),
        ("date".to_string(), prompt.date.clone()),
        ("precision".to_string(), precision.into()),
    ])
}

/// The way each benchmark is asked, and the limits of its answers.
fn asked_as(
    sets: &[BenchmarkSet],
    settings: &EvalSettings,
    tokenizer: &dyn Tokenizer,
) -> anyhow::Result<BTreeMap<String, AskedAs>> {
    let rendered = tokenizer.decode_raw(&rendered(tokenizer, &[Message::user("{question}")])?);
    let system = settings.system.as_deref().unwrap_or(AskedAs::NONE);
    let asked = |set: &BenchmarkSet| {
        let (answer_tokens, budget_tokens) = settings.limits(set.benchmark);
        AskedAs(BTreeMap::from([
            (AskedAs::SYSTEM.to_string(), system.to_string()),
            (AskedAs::SUFFIX.to_string(), set.suffix.clone()),
            (AskedAs::TEMPLATE.to_string(), rendered.clone()),
            (AskedAs::ANSWER_TOKENS.to_string(), answer_tokens.to_string()),
            (AskedAs::BUDGET_TOKENS.to_string(), budget_tokens.to_string()),
        ]))
    };
    Ok(sets.iter().map(|set| (set.benchmark.name.to_string(), asked(set))).collect())
}

/// Within the folder of a run; for any other model, below `runs/`.
fn default_out(model: &str) -> PathBuf {
    let path = Path::new(model);
    if path.join("config.toml").exists() {
        return path.join("eval");
    }
    let name = model.trim_end_matches('/').rsplit('/').next().unwrap_or("model").replace('@', "-");
    PathBuf::from("runs").join(format!("eval-{name}"))
}
