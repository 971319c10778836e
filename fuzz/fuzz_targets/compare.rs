//! Two answers, the first line and the rest: each is compared with the other and with itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use thinktune_tasks::grading::{AnswerKind, compare};

fuzz_target!(|text: &str| {
    let (gold, answer) = text.split_once('\n').unwrap_or((text, text));
    for kind in [AnswerKind::Math, AnswerKind::Gsm8k, AnswerKind::Aime] {
        let _ = compare(kind, gold, answer);
        let _ = compare(kind, answer, gold);
    }
    let _ = compare(AnswerKind::Choice { options: 10 }, gold, answer);
    let _ = compare(AnswerKind::YesNo, gold, answer);
});
