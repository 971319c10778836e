//! The training reward's way: the content of the last box, numbers compared as exact fractions, anything else as
//! text.

use super::{AnswerKind, Grade, grade};

/// Grades a response against the gold answer by the content of its last box.
///
/// ```
/// use thinktune_tasks::{Verdict, grade_boxed};
/// assert_eq!(grade_boxed(r"so \boxed{\$1,000}", "1000").verdict, Verdict::Correct);
/// assert_eq!(grade_boxed(r"\boxed{12}, no: \boxed{13}", "12").verdict, Verdict::Wrong);
/// assert_eq!(grade_boxed("twelve", "12").verdict, Verdict::Unparseable);
/// ```
pub fn grade_boxed(response: &str, gold: &str) -> Grade {
    grade(AnswerKind::Boxed, gold, response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;

    fn verdict(response: &str, gold: &str) -> Verdict {
        grade_boxed(response, gold).verdict
    }

    #[test]
    fn right_wrong_empty_malformed() {
        assert_eq!(verdict(r"It is \boxed{9}.", "9"), Verdict::Correct);
        assert_eq!(verdict(r"It is \boxed{8}.", "9"), Verdict::Wrong);
        assert_eq!(verdict(r"It is \boxed{}.", "9"), Verdict::Unparseable);
        assert_eq!(verdict(r"It is \boxed{9", "9"), Verdict::Unparseable);
        assert_eq!(verdict("It is 9.", "9"), Verdict::Unparseable);
        assert_eq!(verdict("", "9"), Verdict::Unparseable);
    }

    #[test]
    fn several_answers_do_not_hedge() {
        assert_eq!(verdict(r"\boxed{8} \boxed{9}", "9"), Verdict::Correct);
        assert_eq!(verdict(r"\boxed{9} \boxed{8}", "9"), Verdict::Wrong);
        assert_eq!(verdict(r"\boxed{8 or 9}", "9"), Verdict::Wrong);
        assert_eq!(verdict(r"\boxed{8, 9}", "9"), Verdict::Wrong);
        assert_eq!(verdict(r"\boxed{9} and \boxed{", "9"), Verdict::Unparseable);
    }

    #[test]
    fn unusual_digits_are_not_numbers() {
        assert_eq!(verdict(r"\boxed{９}", "9"), Verdict::Wrong);
        assert_eq!(verdict(r"\boxed{९}", "9"), Verdict::Wrong);
        assert_eq!(verdict("\\boxed{9\u{200b}}", "9"), Verdict::Wrong);
    }

    #[test]
    fn numbers_beyond_128_bits_are_compared_as_text() {
        let huge = "7".repeat(100_000);
        assert_eq!(verdict(&format!("\\boxed{{{huge}}}"), &huge), Verdict::Correct);
        assert_eq!(verdict(&format!("\\boxed{{{huge}8}}"), &huge), Verdict::Wrong);
        let (grouped, plain) = ("1,".to_string() + &["000"; 20].join(","), "1".to_string() + &"0".repeat(60));
        assert_eq!(verdict(&format!("\\boxed{{{grouped}}}"), &plain), Verdict::Correct);
    }

    #[test]
    fn words_are_compared_without_case_and_space() {
        assert_eq!(verdict(r"\boxed{No}", "no"), Verdict::Correct);
        assert_eq!(verdict(r"\boxed{yes}", "no"), Verdict::Wrong);
    }
}
