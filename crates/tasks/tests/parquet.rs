//! The hub's Parquet files, as pyarrow writes them (`fixtures/parquet/make.py`).

use std::path::{Path, PathBuf};

use thinktune_tasks::benchmarks::by_name;
use thinktune_tasks::{AnswerKind, Question};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/parquet/{name}.parquet"))
}

fn load(benchmark: &str, file: &str) -> Vec<Question> {
    by_name(benchmark).unwrap().load(&fixture(file), 1).unwrap()
}

#[test]
fn texts() {
    for file in ["gsm8k", "gsm8k_plain"] {
        let questions = load("gsm8k", file);
        assert_eq!(questions.len(), 2);
        assert_eq!(questions[0].solution.as_deref(), Some("3+4=7\n\\boxed{7}"));
        assert_eq!((questions[1].text.as_str(), questions[1].gold.as_str()), ("Wörter: 1,000 + 7?", "1,007"));
        assert_eq!(questions[1].index, 1);
    }
}

#[test]
fn lists_within_rows_and_lists_of_texts() {
    let arc = load("arc-challenge", "arc_challenge");
    assert_eq!(arc[0].text, "Which is a gas?\n\nA. ice\nB. air\nC. salt");
    assert_eq!((arc[0].gold.as_str(), arc[1].gold.as_str()), ("B", "B"));
    assert_eq!(arc[1].kind, AnswerKind::Choice { options: 2 });
    let mmlu_pro = load("mmlu-pro", "mmlu_pro");
    assert_eq!((mmlu_pro[0].gold.as_str(), mmlu_pro[1].gold.as_str()), ("B", "A"));
    assert!(mmlu_pro[1].text.ends_with("A. 6\nB. 7\nC. 8"));
}

#[test]
fn yes_and_no() {
    let golds: Vec<String> =
        load("strategyqa", "strategyqa").into_iter().map(|question| question.gold).collect();
    assert_eq!(golds, ["no", "yes"]);
}

#[test]
fn another_layout_and_a_damaged_file_are_errors_that_name_the_file() {
    let wrong = by_name("math500").unwrap().load(&fixture("gsm8k"), 1).unwrap_err().to_string();
    assert!(wrong.contains("gsm8k.parquet line 1: lacks field `problem`"), "{wrong}");
    let bytes = std::fs::read(fixture("arc_challenge")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.parquet");
    // cut anywhere, or with any byte changed: an error or other rows, never a crash
    for at in (0..bytes.len()).step_by(7) {
        std::fs::write(&path, &bytes[..at]).unwrap();
        let error = by_name("arc-challenge").unwrap().load(&path, 1).unwrap_err().to_string();
        assert!(error.contains("damaged.parquet"), "{error}");
        let mut changed = bytes.clone();
        changed[at] ^= 0x55;
        std::fs::write(&path, &changed).unwrap();
        let _ = by_name("arc-challenge").unwrap().load(&path, 1);
    }
}
