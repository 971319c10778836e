//! A whole response, graded by every kind against golds of several shapes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use thinktune_tasks::grading::{AnswerKind, grade};

/// One gold answer of each shape.
const GOLDS: [&str; 8] = [
    "5",
    r"3\sqrt{13}",
    r"\frac{x+1}{2}",
    "(3,4]",
    r"\{1\pm\sqrt{5},-2\}",
    r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
    "y = 2x + 3",
    r"\text{even}",
];

fuzz_target!(|response: &str| {
    for gold in GOLDS {
        let _ = grade(AnswerKind::Math, gold, response);
    }
    for kind in [
        AnswerKind::Boxed,
        AnswerKind::Gsm8k,
        AnswerKind::Aime,
        AnswerKind::Choice { options: 5 },
        AnswerKind::YesNo,
    ] {
        let _ = grade(kind, "5", response);
    }
});
