//! Real data and its gold answers.

use serde_json::Value;
use thinktune_testing::real_data;

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

/// The rows of a file of the data folder; without it, the running test counts as skipped.
pub fn rows(file: &str) -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(real_data(file)?).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap().to_string()
}
