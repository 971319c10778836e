//! Replies on disk, one line each: what was asked (as a digest) and what came back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use thinktune_policy::{TeacherError, TeacherReply};
use thinktune_runlog::{JsonLog, RunError};

/// The replies of a run so far, and the file that gains each new one.
pub(crate) struct Cache {
    known: BTreeMap<String, Kept>,
    log: JsonLog,
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Line {
    request: String,
    reply: Kept,
}

/// A reply as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    Ended { text: String, tokens: usize },
    Truncated { text: String, tokens: usize },
    PromptTooLong,
}

impl Cache {
    /// Reads the replies that a file holds. Lines that cannot be read are passed over: they are asked for again.
    pub(crate) fn open(path: &Path) -> Result<Self, TeacherError> {
        let failed = |error| failure(path, error);
        let (log, lines) = JsonLog::resume_readable::<Line>(path.into()).map_err(failed)?;
        let known = lines.into_iter().map(|line| (line.request, line.reply)).collect();
        Ok(Self { known, log, path: path.into() })
    }

    /// The name of a request: a digest of where it goes and all it says.
    pub(crate) fn name(endpoint: &str, body: &Value) -> String {
        let digest = Sha256::digest(format!("{endpoint}\n{body}").as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<TeacherReply> {
        Some(match self.known.get(name)?.clone() {
            Kept::Ended { text, tokens } => TeacherReply::Ended { text, tokens },
            Kept::Truncated { text, tokens } => TeacherReply::Truncated { text, tokens },
            Kept::PromptTooLong => TeacherReply::PromptTooLong,
        })
    }

    /// Keeps a reply; none that is missing.
    pub(crate) fn put(&mut self, name: &str, reply: &TeacherReply) -> Result<(), TeacherError> {
        let reply = match reply.clone() {
            TeacherReply::Ended { text, tokens } => Kept::Ended { text, tokens },
            TeacherReply::Truncated { text, tokens } => Kept::Truncated { text, tokens },
            TeacherReply::PromptTooLong => Kept::PromptTooLong,
            TeacherReply::Missing(_) => return Ok(()),
        };
        let line = Line { request: name.to_owned(), reply };
        self.log.append(&line).map_err(|error| failure(&self.path, error))?;
        self.known.insert(line.request, line.reply);
        Ok(())
    }
}

fn failure(path: &Path, error: RunError) -> TeacherError {
    TeacherError::Cache { path: path.into(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use thinktune_policy::NoReply;

    #[test]
    fn replies_come_back_and_torn_lines_and_failures_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache.jsonl");
        let ended = TeacherReply::Ended { text: "a\n\"b\"".into(), tokens: 3 };
        let cut = TeacherReply::Truncated { text: "c".into(), tokens: 1 };
        {
            let mut cache = Cache::open(&path).unwrap();
            cache.put("1", &ended).unwrap();
            cache.put("2", &TeacherReply::Missing(NoReply::Busy)).unwrap();
            assert_eq!(cache.get("1"), Some(ended.clone()));
        }
        let mut torn = fs::read(&path).unwrap();
        torn.extend_from_slice(b"{\"request\":\"3\",\"rep");
        fs::write(&path, torn).unwrap();
        {
            let mut cache = Cache::open(&path).unwrap();
            assert_eq!((cache.get("2"), cache.get("3")), (None, None));
            cache.put("4", &cut).unwrap();
            cache.put("5", &TeacherReply::PromptTooLong).unwrap();
        }
        let cache = Cache::open(&path).unwrap();
        let found = ["1", "4", "5"].map(|name| cache.get(name));
        assert_eq!(found, [Some(ended), Some(cut), Some(TeacherReply::PromptTooLong)]);
    }

    #[test]
    fn a_cache_that_cannot_be_kept_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = Cache::open(dir.path()).err().unwrap();
        assert!(matches!(&error, TeacherError::Cache { path, .. } if path == dir.path()), "{error:?}");
        let message = error.to_string();
        let place = dir.path().display().to_string();
        assert!(message.contains(&format!("expected {place} to be a file")), "{message}");
        assert!(message.contains("start the same command again"), "{message}");
    }

    #[test]
    fn every_part_of_a_request_is_part_of_its_name() {
        let body = serde_json::json!({ "seed": 1 });
        let name = Cache::name("chat/completions", &body);
        assert_eq!(name.len(), 64);
        assert_ne!(name, Cache::name("completions", &body));
        assert_ne!(name, Cache::name("chat/completions", &serde_json::json!({ "seed": 2 })));
    }
}
