//! Logs of one JSON object per line: appended to by one process, read by any, torn at the end by a crash.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::RunError;

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
        let lines = JsonLines::read(&path)?;
        if lines.torn {
            let bytes = read_or_empty(&path)?;
            let complete = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            truncate(&path, complete as u64)?;
        }
        Ok((Self::open(path)?, lines.records))
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

/// A record as one line of JSON.
pub(crate) fn to_line(record: &impl Serialize, path: &Path) -> Result<Vec<u8>, RunError> {
    let mut line = serde_json::to_vec(record).map_err(|e| RunError::bad_file(path, e.to_string()))?;
    line.push(b'\n');
    Ok(line)
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
    #[derive(serde::Deserialize)]
    struct Stepped {
        step: u64,
    }
    let bytes = read_or_empty(path)?;
    let mut length = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let keep = line.ends_with(b"\n")
            && serde_json::from_slice::<Stepped>(line).is_ok_and(|record| record.step <= step);
        if !keep {
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
    /// Whether an incomplete line at the end was left out: the writer was killed, or is still writing.
    pub torn: bool,
}

impl<T: DeserializeOwned> JsonLines<T> {
    /// Reads a log; one that does not exist has no lines.
    ///
    /// # Errors
    /// A complete line that is not a `T`, named by its number.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let bytes = read_or_empty(path)?;
        let mut lines = Self { records: Vec::new(), torn: false };
        for (i, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if !line.ends_with(b"\n") {
                lines.torn = true;
                break;
            }
            let record = serde_json::from_slice(line)
                .map_err(|e| RunError::bad_file(path, format!("line {}: {e}", i + 1)))?;
            lines.records.push(record);
        }
        Ok(lines)
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
