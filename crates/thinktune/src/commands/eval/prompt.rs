//! The prompt of an evaluation: the one a run was trained with, the benchmark's own, or the user's.

use std::path::Path;

use anyhow::Context as _;
use thinktune_method::settings::Values;
use thinktune_tasks::benchmarks::Benchmark;
use toml::{Table, Value};

use crate::args::EvalArgs;
use crate::config::DEFAULT_DATE;
use crate::held_out::suffix_of;

/// The way questions are put.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptSettings {
    /// System message, if any.
    pub system: Option<String>,
    /// The date chat templates are told.
    pub date: String,
    /// What the user is told of it, where it is a run's.
    pub notice: Option<String>,
    /// The suffix given by the user.
    suffix: Option<String>,
    /// Task and suffix of the run.
    trained: Option<(String, String)>,
}

/// The configuration in a run's folder. Its other settings are not judged: an earlier version may have written them.
fn read(path: &Path) -> anyhow::Result<Values> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let table: Table =
        text.parse().with_context(|| format!("{}: expected a run's settings", path.display()))?;
    Ok(Values::from(table))
}

impl PromptSettings {
    /// Settles the prompt: what the user gives comes first, then what the run in the folder was trained with.
    ///
    /// # Errors
    /// The configuration in a run's folder cannot be read.
    pub fn settle(args: &EvalArgs) -> anyhow::Result<Self> {
        let (system, suffix) = (args.system.clone(), args.suffix.clone());
        let path = Path::new(&args.model).join("config.toml");
        let date = |run: Option<String>| {
            let default = || run.unwrap_or_else(|| DEFAULT_DATE.to_string());
            args.date.clone().unwrap_or_else(default)
        };
        if args.benchmark_prompt || !path.exists() {
            return Ok(Self { system, date: date(None), notice: None, suffix, trained: None });
        }
        let config = read(&path)?;
        let text = |key: &str| config.get(key).and_then(Value::as_str).map(str::to_string);
        let trained = text("data.task").zip(text("data.prompt_suffix"));
        let run_date = text("model.date");
        let mut told = Vec::new();
        let run_system = text("data.system").filter(|_| system.is_none());
        told.extend(run_system.as_ref().map(|system| format!("system message {system:?}")));
        let trained = trained.filter(|_| suffix.is_none());
        told.extend(trained.as_ref().map(|(_, suffix)| format!("suffix {suffix:?}")));
        told.extend(run_date.as_ref().filter(|_| args.date.is_none()).map(|date| format!("date {date}")));
        let notice = (!told.is_empty()).then(|| {
            format!(
                "asks as the run was trained, by {}: {}; --benchmark-prompt asks as the benchmarks do",
                path.display(),
                told.join(", ")
            )
        });
        Ok(Self { system: system.or(run_system), date: date(run_date), notice, suffix, trained })
    }

    /// The text after each question of a benchmark.
    pub fn suffix(&self, benchmark: &Benchmark) -> String {
        match (&self.suffix, &self.trained) {
            (Some(suffix), _) => suffix.clone(),
            (None, Some((task, suffix))) => suffix_of(benchmark, task, suffix).into(),
            (None, None) => benchmark.suffix.into(),
        }
    }
}
