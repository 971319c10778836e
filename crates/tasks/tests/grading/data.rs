//! Where the data is, and its gold answers.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The golds of MATH-500.
pub fn math500_golds() -> Option<Vec<String>> {
    rows("math500/test.jsonl").map(|rows| rows.iter().map(|row| text(row, "answer")).collect())
}

/// The golds of GSM8K, test and training.
pub fn gsm8k_golds() -> Option<Vec<String>> {
    let mut rows = rows("gsm8k/test.jsonl")?;
    rows.extend(self::rows("gsm8k/train.jsonl")?);
    let gold = |row: &Value| text(row, "answer").rsplit_once("####").unwrap().1.trim().to_string();
    Some(rows.iter().map(gold).collect())
}

/// The rows of a file of the data folder; says so where it is absent.
pub fn rows(file: &str) -> Option<Vec<Value>> {
    let data = std::env::var_os("THINKTUNE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = data.join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no {}; set THINKTUNE_DATA to the folder that holds it", path.display());
        return None;
    };
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap().to_string()
}
