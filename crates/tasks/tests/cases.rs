//! Answers on which other graders have failed in public, restated.

use serde_json::Value;
use thinktune_tasks::grading::{AnswerKind, grade};

#[test]
fn answers_other_graders_failed_on_are_graded() {
    let mut cases = 0;
    for line in include_str!("fixtures/grade.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| case[field].as_str().unwrap();
        let kind: AnswerKind = text("task").parse().unwrap();
        let found = grade(kind, text("gold"), text("answer"));
        assert_eq!(found.verdict.name(), text("want"), "{line}: {found:?}");
        cases += 1;
    }
    assert_eq!(cases, 11);
}
