//! The questions: from a folder of data, from the hub, or generated.

use std::collections::BTreeMap;
use std::path::PathBuf;

use thinktune_eval::BenchmarkSet;
use thinktune_runlog::{fingerprint, sha256_hex};
use thinktune_tasks::Question;
use thinktune_tasks::benchmarks::{Benchmark, GENERATED, Source};

use crate::args::EvalArgs;
use crate::failure::UsageError;

use super::prompt::PromptSettings;

/// Questions of the benchmarks asked for.
pub struct BenchmarkSets {
    /// In the order asked for.
    pub sets: Vec<BenchmarkSet>,
    /// SHA-256 of each benchmark's data, by its name.
    pub checksums: BTreeMap<String, String>,
}

/// Names the folder of data where no flag does.
pub const VARIABLE: &str = "THINKTUNE_DATA";

impl BenchmarkSets {
    /// Loads them.
    ///
    /// # Errors
    /// Data that are missing or bad.
    pub fn load(
        benchmarks: &[&'static Benchmark],
        args: &EvalArgs,
        prompt: &PromptSettings,
        offline: bool,
    ) -> anyhow::Result<Self> {
        let mut loaded = Self { sets: Vec::new(), checksums: BTreeMap::new() };
        for benchmark in benchmarks {
            let (mut questions, checksum) = questions(benchmark, args, offline)?;
            questions.truncate(args.limit.unwrap_or(usize::MAX));
            loaded.checksums.insert(benchmark.name.into(), checksum);
            let suffix = prompt.suffix(benchmark);
            loaded.sets.push(BenchmarkSet { benchmark, questions, suffix });
        }
        Ok(loaded)
    }
}

fn questions(
    benchmark: &Benchmark,
    args: &EvalArgs,
    offline: bool,
) -> anyhow::Result<(Vec<Question>, String)> {
    if let Source::Generated(generate) = &benchmark.source {
        // a longer list begins with the shorter one, so the seed is all there is to compare
        let questions = generate(args.seed, args.limit.unwrap_or(GENERATED));
        return Ok((questions, sha256_hex(format!("{} {}", benchmark.name, args.seed).as_bytes())));
    }
    let path = file(benchmark, args, offline)?;
    Ok((benchmark.load(&path, args.seed)?, fingerprint(&path, |_| true)?))
}

/// The file in the folder given, or the hub's.
fn file(benchmark: &Benchmark, args: &EvalArgs, offline: bool) -> anyhow::Result<PathBuf> {
    let given = args.data.clone().or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from));
    let Some(data) = given else {
        let Source::Rows { hub, .. } = benchmark.source else { unreachable!("the others are generated") };
        return Ok(thinktune_text::hub::dataset_file(hub.repo, hub.file, hub.revision, offline)?);
    };
    let files = benchmark.files(&data);
    files.iter().find(|file| file.is_file()).cloned().ok_or_else(|| {
        let shown = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        UsageError(format!("{}: found none of {shown}", benchmark.name)).into()
    })
}
