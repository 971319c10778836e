//! The word problems and the data made of them are the same bytes in every version of the program and of its
//! dependencies: the committed student and teacher were trained on them, and held-out accuracies are compared on them.

use serde_json::Value;
use sha2::{Digest, Sha256};
use thinktune_tasks::word_problems::{Split, base, pretraining, questions, student, teacher};

/// SHA-256 of lines.
fn hash(lines: impl Iterator<Item = String>) -> String {
    let mut hasher = Sha256::new();
    lines.for_each(|line| hasher.update(format!("{line}\n")));
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn problems(split: Split) -> String {
    hash(questions(1, split, 1000).iter().map(|question| serde_json::to_string(question).unwrap()))
}

fn documents(rows: impl Iterator<Item = Value>) -> String {
    hash(rows.map(|row| row.to_string()))
}

#[test]
fn the_first_thousand_problems_never_change() {
    assert_eq!(problems(Split::Train), "997582bb8c8da8cbd38968b711cc8995efbeebc70c76e96a93ba70a7072cb525");
    assert_eq!(problems(Split::HeldOut), "547ebdb3e85b6c89174b598b432d08d4594fa42ac05f6cfc5c97e3e64fe38c22");
}

#[test]
fn the_first_thousand_documents_never_change() {
    assert_eq!(
        documents(pretraining(1, 1000)),
        "642c8dd2c1ed308c6e4958ca6c2d7893d70e1f75ea59076c54d1bebe06112d95"
    );
    assert_eq!(documents(base(1, 1000)), "f5b5824dad318b090e7ef196d64bda0ac8558f5071fc1428039dc212106222f0");
    assert_eq!(
        documents(student(1, 1000)),
        "c3ee27d0f815e8de2c37f2cc2af5b73c074b910ebfb1a47e45b55ec5e06c5fac"
    );
    assert_eq!(
        documents(teacher(1, 1000)),
        "c29f395df05a908ee28ca6ff46e80e5d89cc4d6b8f88ada1cb353869ae62385d"
    );
}
