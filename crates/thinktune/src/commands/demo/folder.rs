//! Folder of a demo: a fresh one, or that of the same demo interrupted before.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::table::Table;
use crate::args::DemoArgs;
use crate::failure::UsageError;

const KIND: &str = "demo.json";
const RESULT: &str = "result.json";

/// The folder of one demo: `models/`, `grpo/`, `thinktuning/`, and `result.json` once it is done.
#[derive(Debug)]
pub struct DemoFolder {
    dir: PathBuf,
}

/// Identity that two demos must share for one to go on where the other stopped.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Kind {
    version: String,
    seed: u64,
    quick: bool,
    catch_phrase: bool,
}

impl DemoFolder {
    /// The folder asked for; without one, that of the same demo where it was interrupted, else the next free
    /// number.
    ///
    /// # Errors
    /// The folder asked for holds something else.
    pub fn choose(args: &DemoArgs) -> anyhow::Result<Self> {
        let kind = Kind {
            version: env!("CARGO_PKG_VERSION").into(),
            seed: args.seed,
            quick: args.quick,
            catch_phrase: args.catch_phrase,
        };
        let Some(dir) = &args.out else {
            let folder = Self { dir: next_free(Path::new("runs"), &kind)? };
            folder.begin(&kind)?;
            return Ok(folder);
        };
        let folder = Self { dir: dir.clone() };
        if !is_free(dir) && kind_of(dir).as_ref() != Some(&kind) {
            let found =
                kind_of(dir).map_or("something else".into(), |found| format!("another demo ({found:?})"));
            return Err(UsageError(format!("--out {}: holds {found}; choose another", dir.display())).into());
        }
        folder.begin(&kind)?;
        Ok(folder)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Folder of the student and the teacher.
    pub fn models(&self) -> PathBuf {
        self.dir.join("models")
    }

    /// The table, where the demo is done.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn finished_table(&self) -> anyhow::Result<Option<Table>> {
        let path = self.dir.join(RESULT);
        let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
        let table = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Some(table))
    }

    /// Keeps the table.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(&self, table: &Table) -> anyhow::Result<()> {
        let path = self.dir.join(RESULT);
        fs::write(&path, serde_json::to_string_pretty(table)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn begin(&self, kind: &Kind) -> anyhow::Result<()> {
        fs::create_dir_all(&self.dir).with_context(|| format!("cannot create {}", self.dir.display()))?;
        let path = self.dir.join(KIND);
        fs::write(&path, serde_json::to_string(kind)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// `demo`, `demo-2`, `demo-3`, ...: the first that is free or holds the same demo unfinished.
fn next_free(parent: &Path, kind: &Kind) -> anyhow::Result<PathBuf> {
    let name = |number: u32| if number == 1 { "demo".into() } else { format!("demo-{number}") };
    let usable =
        |dir: &PathBuf| is_free(dir) || (kind_of(dir).as_ref() == Some(kind) && !dir.join(RESULT).exists());
    let found = (1..10_000).map(|number| parent.join(name(number))).find(usable);
    found.ok_or_else(|| UsageError("runs/ holds 9999 demos; give one a place with --out".into()).into())
}

fn is_free(dir: &Path) -> bool {
    fs::read_dir(dir).map_or(!dir.exists(), |mut entries| entries.next().is_none())
}

fn kind_of(dir: &Path) -> Option<Kind> {
    serde_json::from_str(&fs::read_to_string(dir.join(KIND)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_demo_is_continued_and_a_finished_one_left_alone() {
        let runs = tempfile::tempdir().unwrap();
        let kind = |seed| Kind { version: "1".into(), seed, quick: true, catch_phrase: false };
        let next = |seed| next_free(runs.path(), &kind(seed)).unwrap();
        let first = DemoFolder { dir: next(1) };
        assert!(first.dir.ends_with("demo"));
        first.begin(&kind(1)).unwrap();
        assert!(next(1).ends_with("demo"), "interrupted: goes on");
        assert!(next(2).ends_with("demo-2"), "another seed: another folder");
        fs::write(first.dir.join(RESULT), "{}").unwrap();
        assert!(next(1).ends_with("demo-2"), "finished: a fresh folder");
    }
}
