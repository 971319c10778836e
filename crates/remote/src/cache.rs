//! Replies on disk, one line each: what was asked (as a digest) and what came back.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use thinktune_method::help::teacher::Reply;

/// The replies of a run so far, and the file that gains each new one.
pub(crate) struct Cache {
    known: BTreeMap<String, Kept>,
    file: File,
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
    /// Reads what there is. Lines that a killed process left torn are passed over.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let lines = bytes.split(|byte| *byte == b'\n');
        let known = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        let known = known.map(|line| (line.request, line.reply)).collect();
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        if bytes.last().is_some_and(|last| *last != b'\n') {
            file.write_all(b"\n")?;
        }
        Ok(Self { known, file })
    }

    /// What names a request: a digest of where it goes and all it says.
    pub(crate) fn name(endpoint: &str, body: &Value) -> String {
        let digest = Sha256::digest(format!("{endpoint}\n{body}").as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Reply> {
        Some(match self.known.get(name)?.clone() {
            Kept::Ended { text, tokens } => Reply::Ended { text, tokens },
            Kept::Truncated { text, tokens } => Reply::Truncated { text, tokens },
            Kept::PromptTooLong => Reply::PromptTooLong,
        })
    }

    /// Keeps a reply; none that is missing.
    pub(crate) fn put(&mut self, name: &str, reply: &Reply) -> io::Result<()> {
        let reply = match reply.clone() {
            Reply::Ended { text, tokens } => Kept::Ended { text, tokens },
            Reply::Truncated { text, tokens } => Kept::Truncated { text, tokens },
            Reply::PromptTooLong => Kept::PromptTooLong,
            Reply::Missing(_) => return Ok(()),
        };
        let line = Line { request: name.to_owned(), reply };
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        // in one call, so that a killed process leaves a whole line or a torn last one
        self.file.write_all(text.as_bytes())?;
        self.known.insert(line.request, line.reply);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thinktune_method::help::teacher::NoReply;

    #[test]
    fn replies_come_back_and_torn_lines_and_failures_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache.jsonl");
        let ended = Reply::Ended { text: "a\n\"b\"".into(), tokens: 3 };
        let cut = Reply::Truncated { text: "c".into(), tokens: 1 };
        {
            let mut cache = Cache::open(&path).unwrap();
            cache.put("1", &ended).unwrap();
            cache.put("2", &Reply::Missing(NoReply::Busy)).unwrap();
            assert_eq!(cache.get("1"), Some(ended.clone()));
        }
        let mut torn = fs::read(&path).unwrap();
        torn.extend_from_slice(b"{\"request\":\"3\",\"rep");
        fs::write(&path, torn).unwrap();
        {
            let mut cache = Cache::open(&path).unwrap();
            assert_eq!((cache.get("2"), cache.get("3")), (None, None));
            cache.put("4", &cut).unwrap();
            cache.put("5", &Reply::PromptTooLong).unwrap();
        }
        let cache = Cache::open(&path).unwrap();
        let found = ["1", "4", "5"].map(|name| cache.get(name));
        assert_eq!(found, [Some(ended), Some(cut), Some(Reply::PromptTooLong)]);
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
