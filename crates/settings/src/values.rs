//! The values of a configuration by their dotted names.

use toml::{Table, Value};

use crate::error::SettingError;
use crate::kind::SettingValue;

/// A configuration: what was given, and, once sections have been read, the defaults that they took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(Table);

impl From<Table> for Values {
    fn from(table: Table) -> Self {
        Self(table)
    }
}

impl Values {
    /// The values as a table.
    pub fn table(&self) -> &Table {
        &self.0
    }

    /// The value at a dotted name.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let mut names = key.split('.');
        let first = self.0.get(names.next()?)?;
        names.try_fold(first, |value, name| value.as_table()?.get(name))
    }

    /// Sets a value, in place of anything that is in its way. In an array of sections it is set in every one, or, where a
    /// number follows the array's name, in that one, from 0: `held_out.limit`, `held_out.1.limit`. Returns whether
    /// there was a place for it: there is none beyond an array's end.
    pub fn set(&mut self, key: &str, value: Value) -> bool {
        let names: Vec<&str> = key.split('.').collect();
        names.split_last().is_some_and(|(last, sections)| set_in(&mut self.0, sections, last, value))
    }

    /// Sets a value where there is none.
    pub fn fill<T: SettingValue>(&mut self, key: &str, value: &T) {
        if self.get(key).is_none() {
            self.set(key, value.to_toml());
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let Some((section, name)) = key.rsplit_once('.') else { return self.0.remove(key) };
        let mut table = &mut self.0;
        for part in section.split('.') {
            table = table.get_mut(part)?.as_table_mut()?;
        }
        table.remove(name)
    }

    /// A value that may be absent. It is kept in the form of its type: 1 for a number becomes 1.0.
    ///
    /// # Errors
    /// A value of another type.
    pub fn optional<T: SettingValue>(&mut self, key: &str) -> Result<Option<T>, SettingError> {
        let Some(found) = self.get(key) else { return Ok(None) };
        let value = T::from_toml(found).ok_or_else(|| SettingError::new(key, found, T::kind()))?;
        self.set(key, value.to_toml());
        Ok(Some(value))
    }

    /// A value, or the default, which is written down.
    ///
    /// # Errors
    /// A value of another type.
    pub fn value_or<T: SettingValue>(
        &mut self,
        key: &str,
        default: impl FnOnce() -> T,
    ) -> Result<T, SettingError> {
        if let Some(value) = self.optional(key)? {
            return Ok(value);
        }
        let value = default();
        self.set(key, value.to_toml());
        Ok(value)
    }

    /// A value that must be there; the error of one that is not gives an example.
    ///
    /// # Errors
    /// A value of another type, or none.
    pub fn required<T: SettingValue>(&mut self, key: &str, example: &T) -> Result<T, SettingError> {
        let expected = || format!("{}, e.g. {}", T::kind(), example.to_toml());
        self.optional(key)?.ok_or_else(|| SettingError::new(key, "(not set)", expected()))
    }
}

fn set_in(table: &mut Table, sections: &[&str], last: &str, value: Value) -> bool {
    let Some((name, deeper)) = sections.split_first() else {
        table.insert(last.into(), value);
        return true;
    };
    let entry = table.entry(*name).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Array(elements) = &mut *entry
        && !elements.is_empty()
        && elements.iter().all(Value::is_table)
    {
        let index = deeper.first().and_then(|name| name.parse::<usize>().ok());
        let deeper = if index.is_some() { &deeper[1..] } else { deeper };
        let mut placed = false;
        for (at, element) in elements.iter_mut().enumerate() {
            if let Value::Table(inner) = element
                && index.is_none_or(|index| index == at)
            {
                placed |= set_in(inner, deeper, last, value.clone());
            }
        }
        return placed;
    }
    if !entry.is_table() {
        *entry = Value::Table(Table::new());
    }
    match entry {
        Value::Table(inner) => set_in(inner, deeper, last, value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_set_found_and_taken_out_by_dotted_names() {
        let mut values = Values::default();
        values.set("a.b.c", Value::Integer(1));
        values.set("a.d", Value::Integer(2));
        assert_eq!(values.get("a.b.c"), Some(&Value::Integer(1)));
        assert_eq!(values.get("a.b.x"), None);
        assert_eq!(values.remove("a.b.c"), Some(Value::Integer(1)));
        assert_eq!(values.remove("x.y"), None);
        assert_eq!(values.get("a.b.c"), None);
        values.set("a.d.e", Value::Integer(3));
        assert_eq!(values.get("a.d.e"), Some(&Value::Integer(3)), "a section in place of a value");
    }

    #[test]
    fn whole_numbers_are_kept_as_the_numbers_they_stand_for() {
        let mut values = Values::from("lr = 1\n".parse::<Table>().unwrap());
        assert_eq!(values.required("lr", &1.0f64).unwrap().to_bits(), 1.0f64.to_bits());
        assert_eq!(values.get("lr"), Some(&Value::Float(1.0)));
        assert_eq!(values.value_or("temperature", || 0.7f32).unwrap().to_bits(), 0.7f32.to_bits());
        assert_eq!(values.get("temperature").unwrap().to_string(), "0.7");
    }

    #[test]
    fn a_name_in_an_array_reaches_every_section() {
        let sets = "[[held_out]]\nlimit = 1\n[[held_out]]\nlimit = 2\n";
        let mut values = Values::from(sets.parse::<Table>().unwrap());
        values.set("held_out.samples", Value::Integer(4));
        assert!(values.set("held_out.1.limit", Value::Integer(9)));
        assert!(!values.set("held_out.2.limit", Value::Integer(9)), "there are two");
        let expected = "[[held_out]]\nlimit = 1\nsamples = 4\n[[held_out]]\nlimit = 9\nsamples = 4\n";
        assert_eq!(values, Values::from(expected.parse::<Table>().unwrap()));
    }
}
