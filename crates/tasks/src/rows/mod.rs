//! Data files row by row, whatever their format: JSON lines, a JSON array, CSV with a header, Parquet.

mod parquet;

use std::path::Path;

use serde_json::{Map, Value};

use crate::TaskError;

/// One row of a data file: named values, lists and nested rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(Map<String, Value>);

impl Row {
    /// Reads an object written as JSON.
    ///
    /// # Errors
    /// What was found instead.
    pub fn from_json(text: &str) -> Result<Self, String> {
        Self::from_value(serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?)
    }

    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            other => Err(format!("{} where an object was expected", shortened(&other))),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// The field is missing, or something else.
    pub fn text(&self, name: &str) -> Result<&str, String> {
        match self.field(name)? {
            Value::String(text) => Ok(text),
            other => Err(format!("field `{name}` is {}, expected a string", shortened(other))),
        }
    }

    /// A text under whichever of the names the file uses.
    ///
    /// # Errors
    /// As [`Row::text`].
    pub fn text_under(&self, names: &[&str]) -> Result<&str, String> {
        let name = names.iter().find(|name| self.0.contains_key(**name));
        match name {
            Some(name) => self.text(name),
            None => Err(format!("lacks field `{}`", names.join("` or `"))),
        }
    }

    /// A yes or no, as JSON or spelt out.
    ///
    /// # Errors
    /// The field is missing, or something else.
    pub fn yes_no(&self, name: &str) -> Result<bool, String> {
        match self.field(name)? {
            Value::Bool(value) => Ok(*value),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            other => Err(format!("field `{name}` is {}, expected true or false", shortened(other))),
        }
    }

    /// A list of texts.
    ///
    /// # Errors
    /// The field is missing, or something else.
    pub fn texts(&self, name: &str) -> Result<Vec<&str>, String> {
        let wrong =
            |found: &Value| format!("field `{name}` is {}, expected a list of strings", shortened(found));
        let field = self.field(name)?;
        let items = field.as_array().ok_or_else(|| wrong(field))?;
        items.iter().map(|item| item.as_str().ok_or_else(|| wrong(field))).collect()
    }

    /// A row within this one.
    ///
    /// # Errors
    /// The field is missing, or something else.
    pub fn row(&self, name: &str) -> Result<Self, String> {
        Self::from_value(self.field(name)?.clone()).map_err(|found| format!("field `{name}`: {found}"))
    }

    fn field(&self, name: &str) -> Result<&Value, String> {
        self.0.get(name).ok_or_else(|| format!("lacks field `{name}`"))
    }
}

/// A value as an error shows it.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Makes something of each row of a file: the format follows from the name's ending, `.json`, `.csv` or `.parquet`;
/// anything else is read as JSON lines. `make` also gets the row's index.
///
/// # Errors
/// A file that cannot be read, is of another format or has no rows; a row that `make` refuses, named by its number.
pub fn read<T>(
    path: &Path,
    mut make: impl FnMut(&Row, u32) -> Result<T, String>,
) -> Result<Vec<T>, TaskError> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let mut made = Vec::new();
    let mut take = |line: usize, row: Result<Row, String>| {
        let item = row.and_then(|row| make(&row, made.len() as u32));
        let bad = |message| TaskError::BadLine { path: path.into(), line, message };
        made.push(item.map_err(bad)?);
        Ok(())
    };
    match ending.as_str() {
        "json" => json(path, &text(path)?, &mut take)?,
        "csv" => csv(path, &text(path)?, &mut take)?,
        "parquet" => parquet::rows(path, &mut take)?,
        _ => json_lines(&text(path)?, &mut take)?,
    }
    if made.is_empty() { Err(TaskError::Empty { path: path.into() }) } else { Ok(made) }
}

/// Gets each row, or what is wrong with it, with its line (from 1).
type Take<'a> = dyn FnMut(usize, Result<Row, String>) -> Result<(), TaskError> + 'a;

/// The text of a file, without the byte order mark that Windows' editor writes.
fn text(path: &Path) -> Result<String, TaskError> {
    let text = std::fs::read_to_string(path).map_err(|source| TaskError::io(path, source))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Blank lines are skipped.
fn json_lines(text: &str, take: &mut Take<'_>) -> Result<(), TaskError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (number, line) in lines {
        take(number + 1, Row::from_json(line))?;
    }
    Ok(())
}

/// An array of objects; some files of this ending hold JSON lines.
fn json(path: &Path, text: &str, take: &mut Take<'_>) -> Result<(), TaskError> {
    if !text.trim_start().starts_with('[') {
        return json_lines(text, take);
    }
    let rows: Vec<Value> = serde_json::from_str(text).map_err(|error| TaskError::BadFile {
        path: path.into(),
        message: format!("not a JSON array: {error}"),
    })?;
    for (number, value) in rows.into_iter().enumerate() {
        take(number + 1, Row::from_value(value))?;
    }
    Ok(())
}

fn csv(path: &Path, text: &str, take: &mut Take<'_>) -> Result<(), TaskError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let bad = |error: csv::Error| TaskError::BadFile { path: path.into(), message: error.to_string() };
    let header = reader.headers().map_err(bad)?.clone();
    for record in reader.into_records() {
        let record = record.map_err(bad)?;
        let line = record.position().map_or(0, |position| position.line() as usize);
        let cells = record.iter().map(|cell| Value::String(cell.into()));
        take(line, Ok(Row(header.iter().map(str::to_owned).zip(cells).collect())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(name: &str, content: &str) -> Result<Vec<(String, u32)>, TaskError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        read(&path, |row, index| Ok((row.text("a")?.to_string(), index)))
    }

    #[test]
    fn the_same_rows_in_every_text_format() {
        let expected = [("x, \"y\"\nz".to_string(), 0), ("é".to_string(), 1)];
        for (name, content) in [
            ("t.jsonl", "{\"a\":\"x, \\\"y\\\"\\nz\",\"b\":1}\n\n{\"a\":\"é\"}"),
            ("t.json", "[{\"a\":\"x, \\\"y\\\"\\nz\"},{\"a\":\"é\"}]"),
            ("t.json", "{\"a\":\"x, \\\"y\\\"\\nz\"}\n{\"a\":\"é\"}\n"),
            ("t.jsonl", "\u{feff}{\"a\":\"x, \\\"y\\\"\\nz\"}\r\n\r\n{\"a\":\"é\"}\r\n"),
            ("t.json", "\u{feff}[{\"a\":\"x, \\\"y\\\"\\nz\"},\r\n{\"a\":\"é\"}]\r\n"),
            ("t.csv", "\u{feff}a,b\r\n\"x, \"\"y\"\"\nz\",1\r\né,2\r\n"),
        ] {
            assert_eq!(texts(name, content).unwrap(), expected, "{name}: {content}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (name, content, expected) in [
            ("t.jsonl", "{\"a\":\"x\"}\n{", "t.jsonl line 2: not JSON"),
            ("t.jsonl", "{\"a\":\"x\"}\n[1]", "line 2: [1] where an object was expected"),
            ("t.json", "[{\"a\":1}]", "line 1: field `a` is 1, expected a string"),
            ("t.json", "[{", "not a JSON array"),
            ("t.csv", "a,b\n1,2\n1,2,3\n", "t.csv"),
            ("t.csv", "b\n\"l\nl\"\n", "line 2: lacks field `a`"),
            ("t.txt", "x", "t.txt line 1: not JSON"),
            ("t.jsonl", "\n \n", "no problem in it"),
            ("t.csv", "a,b\n", "no problem in it"),
            ("t.parquet", "PAR1", "t.parquet"),
        ] {
            let error = texts(name, content).unwrap_err().to_string();
            assert!(error.contains(expected), "{name} {content:?}: {error}");
        }
    }

    #[test]
    fn fields_are_read_as_what_they_are() {
        let row =
            Row::from_json(r#"{"t":"x","y":true,"n":"False","l":["a","b"],"r":{"t":"in"},"m":[1]}"#).unwrap();
        assert_eq!(row.text_under(&["T", "t"]), Ok("x"));
        assert_eq!((row.yes_no("y"), row.yes_no("n")), (Ok(true), Ok(false)));
        assert_eq!(row.texts("l").unwrap(), ["a", "b"]);
        assert_eq!(row.row("r").unwrap().text("t"), Ok("in"));
        assert!(row.texts("m").unwrap_err().contains("expected a list of strings"));
        assert!(row.yes_no("t").unwrap_err().contains("expected true or false"));
        assert!(row.text_under(&["p", "q"]).unwrap_err().contains("lacks field `p` or `q`"));
        assert!(row.row("l").unwrap_err().contains("expected"));
        let long = Row::from_json(&format!("{{\"t\":[\"{}\"]}}", "é".repeat(500))).unwrap();
        assert!(long.text("t").unwrap_err().len() < 250);
    }
}
