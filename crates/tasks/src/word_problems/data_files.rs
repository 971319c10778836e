//! Files of training data.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::Value;

use super::documents::{base, pretraining, student, teacher};
use crate::TaskError;

/// Number of lines of each data set to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Documents both models are pretrained on.
    pub pretraining: usize,
    /// Conversations both are fine-tuned on next.
    pub base: usize,
    /// Conversations the student is fine-tuned on last.
    pub student: usize,
    /// Conversations the teacher is fine-tuned on last.
    pub teacher: usize,
}

/// Writes `pretraining.jsonl`, `base.jsonl`, `student.jsonl` and `teacher.jsonl` into `dir`, which is made if need be.
///
/// # Errors
/// A file that cannot be written.
pub fn write_data(seed: u64, counts: Counts, dir: &Path) -> Result<(), TaskError> {
    fs::create_dir_all(dir).map_err(|source| TaskError::io(dir, source))?;
    write_lines(&dir.join("pretraining.jsonl"), pretraining(seed, counts.pretraining))?;
    write_lines(&dir.join("base.jsonl"), base(seed, counts.base))?;
    write_lines(&dir.join("student.jsonl"), student(seed, counts.student))?;
    write_lines(&dir.join("teacher.jsonl"), teacher(seed, counts.teacher))
}

fn write_lines(path: &Path, rows: impl Iterator<Item = Value>) -> Result<(), TaskError> {
    let write = || {
        let mut file = BufWriter::new(fs::File::create(path)?);
        for row in rows {
            writeln!(file, "{row}")?;
        }
        file.flush()
    };
    write().map_err(|source| TaskError::io(path, source))
}
