//! Parquet, as the hub stores data sets. Only what they need: texts, numbers, lists, nested rows.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Map, Value};

use super::{Row, Take};
use crate::TaskError;

/// Hands on every row; "lines" are row numbers.
pub(super) fn rows(path: &Path, take: &mut Take<'_>) -> Result<(), TaskError> {
    let bad = |message: String| TaskError::BadFile { path: path.into(), message };
    let file = File::open(path).map_err(|source| TaskError::io(path, source))?;
    // the reader of a damaged file may panic, deep inside, where it should fail
    let read = catch_unwind(AssertUnwindSafe(|| -> Result<Vec<Value>, String> {
        let reader = SerializedFileReader::new(file).map_err(|error| error.to_string())?;
        let rows = reader.get_row_iter(None).map_err(|error| error.to_string())?;
        rows.map(|row| Ok(object(row.map_err(|error| error.to_string())?.get_column_iter()))).collect()
    }));
    let rows = match read {
        Ok(Ok(rows)) => rows,
        Ok(Err(message)) => return Err(bad(format!("cannot be read as Parquet: {message}"))),
        Err(_) => return Err(bad("damaged: expected a Parquet file as the hub stores it".into())),
    };
    for (number, value) in rows.into_iter().enumerate() {
        take(number + 1, Row::from_value(value))?;
    }
    Ok(())
}

fn object<'a>(columns: impl Iterator<Item = (&'a String, &'a Field)>) -> Value {
    let fields: Map<String, Value> = columns.map(|(name, field)| (name.clone(), value(field))).collect();
    Value::Object(fields)
}

/// Types no benchmark uses become their printed form.
fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Str(text) => text.as_str().into(),
        Field::Byte(number) => (*number).into(),
        Field::Short(number) => (*number).into(),
        Field::Int(number) => (*number).into(),
        Field::Long(number) => (*number).into(),
        Field::Double(number) => (*number).into(),
        Field::Group(row) => object(row.get_column_iter()),
        Field::ListInternal(list) => Value::Array(list.elements().iter().map(value).collect()),
        other => other.to_string().into(),
    }
}
