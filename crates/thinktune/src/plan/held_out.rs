//! The held-out sets of a run.

use std::path::PathBuf;

use thinktune_tasks::benchmarks::{self, Benchmark, Source};

use super::{ensure, error, required};
use crate::config::{self, Config};

/// A held-out set.
#[derive(Debug, Clone)]
pub struct HeldOut {
    /// The benchmark.
    pub benchmark: &'static Benchmark,
    /// Its file; none where it is generated.
    pub path: Option<PathBuf>,
    /// Questions, at most.
    pub limit: usize,
    /// Samples of each.
    pub samples: usize,
    /// Sampling temperature; 0 is greedy.
    pub temperature: f32,
    /// Longest answer, in tokens.
    pub max_tokens: usize,
}

/// Fills in and checks the held-out sets. Those without `run.eval_every`, and the reverse, are errors: something
/// would be silently left undone.
///
/// # Errors
/// The first setting that cannot be used.
pub fn resolve(c: &mut Config, max_tokens: usize) -> anyhow::Result<Vec<HeldOut>> {
    let every = c.run.as_ref().and_then(|run| run.eval_every);
    let Some(sets) = &mut c.held_out else {
        let shown = every.unwrap_or_default();
        let expected = "nothing where there is no [[held_out]] set to evaluate on";
        ensure(every.is_none(), "run.eval_every", shown, expected)?;
        return Ok(Vec::new());
    };
    required(every, "run.eval_every", "the steps between evaluations on the held-out sets")?;
    ensure(!sets.is_empty(), "held_out", "[]", "at least one set")?;
    sets.iter_mut().enumerate().map(|(index, set)| resolve_set(set, index, max_tokens)).collect()
}

fn resolve_set(set: &mut config::HeldOut, index: usize, max_tokens: usize) -> anyhow::Result<HeldOut> {
    let key = |name: &str| format!("held_out[{index}].{name}");
    let known = benchmarks::ALL.map(|benchmark| benchmark.name).join(", ");
    let name = required(set.benchmark.clone(), &key("benchmark"), &known)?;
    let benchmark = benchmarks::by_name(&name).ok_or_else(|| {
        let known = benchmarks::renamed(&name).map_or(known, |now| format!("{now:?}, its name now"));
        error(&key("benchmark"), &name, known)
    })?;
    let path = match (&benchmark.source, &set.path) {
        (Source::Generated(_), None) => None,
        (Source::Generated(_), Some(path)) => {
            return Err(error(&key("path"), path, format!("nothing: {name} is generated")).into());
        }
        (Source::Rows { .. }, path) => {
            let path = required(path.clone(), &key("path"), "the file of the benchmark")?;
            ensure(PathBuf::from(&path).is_file(), &key("path"), format!("{path:?}"), "a file that exists")?;
            Some(PathBuf::from(path))
        }
    };
    let limit = *set.limit.get_or_insert(256);
    let samples = *set.samples.get_or_insert(1);
    let temperature = *set.temperature.get_or_insert(if samples > 1 { 1.0 } else { 0.0 });
    let max_tokens = *set.max_tokens.get_or_insert(max_tokens);
    for (field, value) in [("limit", limit), ("samples", samples), ("max_tokens", max_tokens)] {
        ensure(value > 0, &key(field), value, "at least 1")?;
    }
    let sane = temperature >= 0.0 && temperature.is_finite();
    ensure(sane, &key("temperature"), temperature, "0 (greedy) or a positive number")?;
    let varied = temperature > 0.0 || samples == 1;
    ensure(
        varied,
        &key("temperature"),
        temperature,
        "above 0: greedy samples of a question are all the same",
    )?;
    Ok(HeldOut { benchmark, path, limit, samples, temperature, max_tokens })
}
