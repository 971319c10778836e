//! `thinktune grade`: the grader as a filter over JSON lines.

use std::io::{self, BufRead, Read, Write};

use anyhow::Context as _;
use serde_json::Value;
use thinktune_tasks::grading::{AnswerKind, grade};

use crate::args::GradeArgs;
use crate::failure::UsageError;

/// The longest line that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// The mark that Windows' editor writes at the start of a file.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Grades stdin onto stdout.
pub fn run(args: &GradeArgs) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = filter(args.task, io::stdin().lock(), &mut out);
    // what was graded before a bad line is kept
    match done.and_then(|()| out.flush().map_err(write_failed)) {
        Err(error) if is_closed_pipe(&error) => Ok(()),
        other => other,
    }
}

/// Grades line by line.
fn filter(task: AnswerKind, mut input: impl BufRead, out: &mut impl Write) -> anyhow::Result<()> {
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        input.by_ref().take(LONGEST).read_until(b'\n', &mut line).context("cannot read stdin")?;
        if line.is_empty() {
            break;
        }
        if number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let pair = parse(&line).map_err(|found| {
            let _ = out.flush();
            UsageError(format!(
                "line {number}: {found}; expected {{\"gold\": \"..\", \"answer\": \"..\"}} on each line"
            ))
        })?;
        let grading = grade(task, &pair.gold, &pair.answer);
        serde_json::to_writer(&mut *out, &grading).map_err(|error| write_failed(error.into()))?;
        out.write_all(b"\n").map_err(write_failed)?;
    }
    Ok(())
}

/// One line of the input.
struct Pair {
    gold: String,
    answer: String,
}

/// A line that cannot be graded.
#[derive(Debug, thiserror::Error)]
enum BadLine {
    #[error("longer than {} MiB", LONGEST >> 20)]
    TooLong,
    #[error("not JSON ({0})")]
    NotJson(#[from] serde_json::Error),
    #[error("field `{name}` is {found}")]
    BadField { name: &'static str, found: String },
    #[error("no field `{0}`")]
    NoField(&'static str),
}

/// Reads a line.
fn parse(line: &[u8]) -> Result<Pair, BadLine> {
    if line.len() as u64 == LONGEST {
        return Err(BadLine::TooLong);
    }
    let mut row: Value = serde_json::from_slice(line)?;
    let mut field = |name: &'static str| match row.get_mut(name).map(Value::take) {
        Some(Value::String(text)) => Ok(text),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(other) => Err(BadLine::BadField { name, found: shortened(&other.to_string()) }),
        None => Err(BadLine::NoField(name)),
    };
    Ok(Pair { gold: field("gold")?, answer: field("answer")? })
}

/// The beginning of a text that may be long.
fn shortened(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    if start.len() < text.len() { start + "..." } else { start }
}

fn write_failed(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("cannot write to stdout")
}

/// A reader that has gone away (`| head`) is no error.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<io::Error>(), Some(error) if error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graded(task: AnswerKind, input: &str) -> Result<String, String> {
        let mut out = Vec::new();
        filter(task, input.as_bytes(), &mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn one_line_each_in_order() {
        let input = "{\"gold\": \"9\", \"answer\": \"so \\\\boxed{9}\"}\n\n{\"gold\": 9, \"answer\": 8}\n{\"gold\":\"9\",\"answer\":\"\"}";
        let expected = "{\"verdict\":\"correct\",\"extracted\":\"9\",\"reason\":null}\n\
                        {\"verdict\":\"wrong\",\"extracted\":\"8\",\"reason\":null}\n\
                        {\"verdict\":\"unparseable\",\"extracted\":null,\"reason\":\"no answer found\"}\n";
        assert_eq!(graded(AnswerKind::Gsm8k, input).unwrap(), expected);
        assert_eq!(graded(AnswerKind::Math, "").unwrap(), "");
    }

    #[test]
    fn lines_of_windows_editor_are_read() {
        let input =
            "\u{feff}{\"gold\": \"9\", \"answer\": \"9\"}\r\n\r\n{\"gold\": \"9\", \"answer\": \"9\"}\r\n";
        assert_eq!(graded(AnswerKind::Gsm8k, input).unwrap().matches("correct").count(), 2);
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = "{\"gold\": \"9\", \"answer\": \"9\"}\n";
        for (bad, found) in [
            ("{", "line 2: not JSON"),
            ("[]", "line 2: no field `gold`"),
            ("{\"gold\": \"9\"}", "line 2: no field `answer`"),
            ("{\"gold\": null, \"answer\": \"9\"}", "line 2: field `gold` is null; expected {\"gold\": "),
        ] {
            let error = graded(AnswerKind::Math, &format!("{good}{bad}\n{good}")).unwrap_err();
            assert!(error.starts_with(found), "{error}");
        }
    }
}
