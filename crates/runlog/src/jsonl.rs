//! Logs of one JSON object per line: appended to by one process, read by any, torn at the end by a crash.
//!
//! Each line begins with its version, `"v":2`; lines without one are of version 1, which has the same fields.
//! A reader passes over fields that it does not know, and refuses a version later than its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::RunError;

/// Version of the lines that this program writes. It grows where a field changes its meaning or is removed, so that
/// an earlier program would read the line wrongly; a field that is added leaves it as it is.
pub const RECORD_VERSION: u32 = 2;

/// An append-only log.
#[derive(Debug)]
pub struct JsonLog {
    path: PathBuf,
    file: File,
}

impl JsonLog {
    /// Opens a log for appending, creating it where it does not exist.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: PathBuf) -> Result<Self, RunError> {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        match file {
            Ok(file) => Ok(Self { path, file }),
            Err(e) => Err(RunError::io("write", path, e)),
        }
    }

    /// Opens a log to go on with: its complete lines are read, and what a killed writer left of an incomplete one is
    /// cut off.
    ///
    /// # Errors
    /// The file cannot be opened, or a complete line is not a `T`.
    pub fn resume<T: DeserializeOwned>(path: PathBuf) -> Result<(Self, Vec<T>), RunError> {
        let records = JsonLines::read(&path)?.records;
        Ok((Self::resume_whole(&path)?, records))
    }

    /// Opens a log to go on with as [`resume`](Self::resume) does, and passes over complete lines that are not a `T`:
    /// for a log whose lines can be made again, such as a cache.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn resume_readable<T: DeserializeOwned>(path: PathBuf) -> Result<(Self, Vec<T>), RunError> {
        let log = Self::resume_whole(&path)?;
        let bytes = read_or_empty(&path)?;
        let lines = complete_lines(&bytes).0.split_inclusive(|&byte| byte == b'\n');
        Ok((log, lines.filter_map(|line| from_line(line).ok()).collect()))
    }

    /// Opens a log after cutting off an incomplete last line.
    fn resume_whole(path: &Path) -> Result<Self, RunError> {
        let bytes = read_or_empty(path)?;
        let (complete, torn) = complete_lines(&bytes);
        if torn {
            truncate(path, complete.len() as u64)?;
        }
        Self::open(path.into())
    }

    /// Appends one line in a single write.
    ///
    /// # Errors
    /// The line cannot be written.
    pub fn append(&mut self, record: &impl Serialize) -> Result<(), RunError> {
        let line = to_line(record, &self.path)?;
        self.file.write_all(&line).map_err(|e| RunError::io("write", &self.path, e))
    }

    /// Makes what was appended durable.
    ///
    /// # Errors
    /// The file cannot be synced.
    pub fn sync(&self) -> Result<(), RunError> {
        self.file.sync_data().map_err(|e| RunError::io("write", &self.path, e))
    }

    /// Bytes in the log.
    pub(crate) fn len(&self) -> Result<u64, RunError> {
        Ok(self.file.metadata().map_err(|e| RunError::io("read", &self.path, e))?.len())
    }
}

/// A record as one line of JSON, its version before its fields.
pub(crate) fn to_line(record: &impl Serialize, path: &Path) -> Result<Vec<u8>, RunError> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        v: u32,
        #[serde(flatten)]
        record: &'a T,
    }
    let line = Line { v: RECORD_VERSION, record };
    let mut line = serde_json::to_vec(&line).map_err(|e| RunError::bad_file(path, e.to_string()))?;
    line.push(b'\n');
    Ok(line)
}

/// The record of a line, of this version or the one before.
fn from_line<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Version {
        #[serde(default = "first")]
        v: u32,
    }
    fn first() -> u32 {
        1
    }
    let Version { v } = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    if v > RECORD_VERSION {
        return Err(format!(
            "a record of version {v}, and this program reads versions 1 to {RECORD_VERSION}; \
             use the thinktune that wrote it, or a later one"
        ));
    }
    serde_json::from_slice(line).map_err(|e| e.to_string())
}

/// The leading complete lines of a log, and whether an incomplete one follows them.
fn complete_lines(bytes: &[u8]) -> (&[u8], bool) {
    let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    (&bytes[..end], end < bytes.len())
}

/// Cuts a file back to its first `length` bytes, durably. A file that does not exist stays so.
pub(crate) fn truncate(path: &Path, length: u64) -> Result<(), RunError> {
    let file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(RunError::io("write", path, e)),
    };
    let cut = file.set_len(length).and_then(|()| file.sync_all());
    cut.map_err(|e| RunError::io("write", path, e))
}

/// Bytes of the leading complete lines whose `step` is at most `step`.
pub(crate) fn length_through(path: &Path, step: u64) -> Result<u64, RunError> {
    #[derive(Deserialize)]
    struct Stepped {
        step: u64,
    }
    let bytes = read_or_empty(path)?;
    let mut length = 0;
    for line in complete_lines(&bytes).0.split_inclusive(|&byte| byte == b'\n') {
        if serde_json::from_slice::<Stepped>(line).map_or(true, |record| record.step > step) {
            break;
        }
        length += line.len() as u64;
    }
    Ok(length)
}

/// The lines of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonLines<T> {
    /// Complete lines.
    pub records: Vec<T>,
    /// True where an incomplete line at the end was left out: the writer was killed, or is still writing.
    pub torn: bool,
}

impl<T: DeserializeOwned> JsonLines<T> {
    /// Reads a log; one that does not exist has no lines.
    ///
    /// # Errors
    /// A complete line that is not a `T`, named by its number.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let bytes = read_or_empty(path)?;
        let (complete, torn) = complete_lines(&bytes);
        let mut records = Vec::new();
        for (i, line) in complete.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let record =
                from_line(line).map_err(|e| RunError::bad_file(path, format!("line {}: {e}", i + 1)))?;
            records.push(record);
        }
        Ok(Self { records, torn })
    }
}

fn read_or_empty(path: &Path) -> Result<Vec<u8>, RunError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(RunError::io("read", path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SftMetrics;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_one_sentence_with_the_path() {
        let mut log = JsonLog::open("/dev/full".into()).unwrap();
        let error = log.append(&SftMetrics::default()).unwrap_err().to_string();
        assert!(error.starts_with("cannot write /dev/full: the disk is full; free some space"), "{error}");
    }

    #[test]
    fn lines_begin_with_their_version_and_keep_their_fields() {
        let record = SftMetrics { step: 7, loss: 0.1, lr: f64::NAN, ..Default::default() };
        let line = String::from_utf8(to_line(&record, Path::new("log")).unwrap()).unwrap();
        let bare = serde_json::to_string(&record).unwrap();
        assert_eq!(line, format!("{{\"v\":2,{}\n", &bare[1..]));
        assert_eq!(from_line::<SftMetrics>(line.as_bytes()).unwrap().loss, 0.1);
        assert_eq!(from_line::<SftMetrics>(bare.as_bytes()).unwrap().step, 7, "version 1 has no version");
    }

    #[test]
    fn unknown_fields_are_passed_over_and_later_versions_refused() {
        let bare = serde_json::to_string(&SftMetrics { step: 7, ..Default::default() }).unwrap();
        let line = |v: u32| format!("{{\"v\":{v},\"new\":[1],{}", &bare[1..]);
        assert_eq!(from_line::<SftMetrics>(line(2).as_bytes()).unwrap().step, 7);
        let error = from_line::<SftMetrics>(line(3).as_bytes()).unwrap_err();
        assert!(
            error.starts_with("a record of version 3, and this program reads versions 1 to 2"),
            "{error}"
        );
    }

    #[test]
    fn a_log_of_replaceable_lines_skips_unreadable_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache.jsonl");
        std::fs::write(&path, "{\"step\":1}\n{\"ste\n{\"v\":9,\"step\":2}\n{\"step\":3}\n{\"st").unwrap();
        let (mut log, lines) = JsonLog::resume_readable::<serde_json::Value>(path.clone()).unwrap();
        assert_eq!(lines.iter().map(|line| &line["step"]).collect::<Vec<_>>(), [1, 3]);
        log.append(&serde_json::json!({"step": 4})).unwrap();
        let lines = JsonLog::resume_readable::<serde_json::Value>(path).unwrap().1;
        assert_eq!(lines.iter().map(|line| &line["step"]).collect::<Vec<_>>(), [1, 3, 4]);
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_a_bad_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        std::fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"st").unwrap();
        let lines = JsonLines::<serde_json::Value>::read(&path).unwrap();
        assert_eq!((lines.records.len(), lines.torn), (2, true));
        assert_eq!(length_through(&path, 1).unwrap(), 11);
        assert_eq!(length_through(&path, 9).unwrap(), 22);

        std::fs::write(&path, "{\"step\":1}\nnonsense\n").unwrap();
        let error = JsonLines::<serde_json::Value>::read(&path).unwrap_err().to_string();
        assert!(error.contains("log.jsonl: line 2:"), "{error}");
    }
}
