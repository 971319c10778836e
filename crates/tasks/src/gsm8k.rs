//! GSM8K: grade-school word problems, one JSON object per line with `question` and `answer`; the
//! answer is a worked solution whose last line is `#### N`.

use std::path::Path;

use crate::{AnswerKind, Question, TaskError, rows};

/// Reads a GSM8K file. The gold answer is what follows `####`; the solution is the text before it,
/// without the calculator marks `<<3+4=7>>`, followed by the gold answer in a box.
///
/// # Errors
/// A file that cannot be read, a line that is not JSON or lacks a field or `####` (file and line are
/// named), a file without problems. Blank lines are skipped.
pub fn load_gsm8k(path: impl AsRef<Path>) -> Result<Vec<Question>, TaskError> {
    rows::read(path.as_ref(), |row, index| question_of(row.text("question")?, row.text("answer")?, index))
}

/// One problem with its worked answer, or what is wrong with it.
pub(crate) fn question_of(text: &str, answer: &str, index: u32) -> Result<Question, String> {
    let (worked, gold) =
        answer.rsplit_once("####").ok_or("field `answer` has no `####` before the final answer")?;
    let gold = gold.trim();
    if gold.is_empty() {
        return Err("nothing follows `####` in field `answer`".into());
    }
    let solution = format!("{}\n\\boxed{{{gold}}}", without_marks(worked).trim());
    Ok(Question {
        index,
        text: text.to_string(),
        gold: gold.to_string(),
        solution: Some(solution),
        kind: AnswerKind::Gsm8k,
    })
}

/// Removes calculator marks `<<...>>`; an unclosed one stays.
fn without_marks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<<") {
        let Some((_, next)) = after.split_once(">>") else { break };
        out.push_str(before);
        rest = next;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{Verdict, grade_boxed};

    fn load(text: &str) -> Result<Vec<Question>, TaskError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load_gsm8k(file.path())
    }

    #[test]
    fn reads_questions_answers_and_solutions() {
        let line = r#"{"question":"How many?","answer":"He has 3+4=<<3+4=7>>7.\n#### 1,007"}"#;
        let questions = load(&format!("{line}\n\n{line}\n")).unwrap();
        assert_eq!(questions.len(), 2);
        assert_eq!((questions[1].index, questions[1].gold.as_str()), (1, "1,007"));
        assert_eq!(questions[0].solution.as_deref(), Some("He has 3+4=7.\n\\boxed{1,007}"));
    }

    #[test]
    fn errors_name_file_and_line() {
        for (line, expected) in [
            ("{", "line 2: not JSON"),
            (r#"{"question":"q"}"#, "line 2: lacks field `answer`"),
            (r#"{"question":3,"answer":"a"}"#, "line 2: field `question` is 3, expected a string"),
            (r#"{"question":"q","answer":"7"}"#, "line 2: field `answer` has no `####`"),
            (r#"{"question":"q","answer":"7\n#### "}"#, "line 2: nothing follows `####`"),
            ("[]", "line 2: [] where an object was expected"),
        ] {
            let error = load(&format!("{{\"question\":\"q\",\"answer\":\"#### 1\"}}\n{line}\n")).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert!(load("\n \n").unwrap_err().to_string().contains("no problem"));
        assert!(load_gsm8k("/nowhere/train.jsonl").unwrap_err().to_string().contains("/nowhere/train.jsonl"));
    }

    /// The real files, where they are at hand: every reference solution grades as correct.
    #[test]
    fn the_real_sets_load_and_grade() {
        let Some(folder) = thinktune_testing::real_data("gsm8k") else { return };
        for (file, count) in [("train.jsonl", 7473), ("test.jsonl", 1319)] {
            let questions = load_gsm8k(folder.join(file)).unwrap();
            assert_eq!(questions.len(), count);
            for question in &questions {
                let solution = question.solution.as_deref().unwrap();
                assert!(!solution.contains("<<"), "{solution}");
                assert_eq!(grade_boxed(solution, &question.gold).verdict, Verdict::Correct, "{question:?}");
            }
        }
    }
}
