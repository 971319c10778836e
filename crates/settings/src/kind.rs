//! The types that settings have.

use std::fmt;

/// The type of a setting.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A whole number, 0 or more.
    Integer,
    /// A number.
    Number,
    /// Two numbers.
    Pair,
    /// A text.
    Text,
    /// True or false.
    Boolean,
    /// One of these names.
    Choice(Vec<String>),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer => f.write_str("a whole number, 0 or more"),
            Self::Number => f.write_str("a number"),
            Self::Pair => f.write_str("two numbers in brackets"),
            Self::Text => f.write_str("text in quotes"),
            Self::Boolean => f.write_str("true or false"),
            Self::Choice(names) => {
                write!(
                    f,
                    "one of {}",
                    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                )
            }
        }
    }
}

/// A type that settings have.
pub trait SettingValue: Sized {
    /// The type as the reference and the schema name it.
    fn kind() -> Kind;

    /// Reads a value of a configuration, where it is of this type.
    fn from_toml(value: &toml::Value) -> Option<Self>;

    /// The value as a configuration has it.
    fn to_toml(&self) -> toml::Value;

    /// The numbers that the range judges.
    fn numbers(&self) -> Vec<f64> {
        Vec::new()
    }
}

macro_rules! integers {
    ($($name:ty),*) => {$(
        impl SettingValue for $name {
            fn kind() -> Kind {
                Kind::Integer
            }

            fn from_toml(value: &toml::Value) -> Option<Self> {
                value.as_integer().and_then(|number| number.try_into().ok())
            }

            fn to_toml(&self) -> toml::Value {
                toml::Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
            }

            fn numbers(&self) -> Vec<f64> {
                vec![*self as f64]
            }
        }
    )*};
}

integers!(u32, u64, usize);

/// TOML writes 1 for 1.0.
fn number(value: &toml::Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

impl SettingValue for f64 {
    fn kind() -> Kind {
        Kind::Number
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        number(value)
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Float(*self)
    }

    fn numbers(&self) -> Vec<f64> {
        vec![*self]
    }
}

impl SettingValue for f32 {
    fn kind() -> Kind {
        Kind::Number
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        number(value).map(|number| number as f32)
    }

    /// The shortest digits that mean this number, as in the file: 0.7, not 0.699999988079071.
    fn to_toml(&self) -> toml::Value {
        toml::Value::Float(self.to_string().parse().unwrap_or_else(|_| f64::from(*self)))
    }

    fn numbers(&self) -> Vec<f64> {
        vec![f64::from(*self)]
    }
}

impl SettingValue for [f64; 2] {
    fn kind() -> Kind {
        Kind::Pair
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        let numbers: Vec<f64> = value.as_array()?.iter().map(number).collect::<Option<_>>()?;
        numbers.try_into().ok()
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Array(self.map(toml::Value::Float).into())
    }

    fn numbers(&self) -> Vec<f64> {
        self.to_vec()
    }
}

impl SettingValue for bool {
    fn kind() -> Kind {
        Kind::Boolean
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_bool()
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Boolean(*self)
    }
}

impl SettingValue for String {
    fn kind() -> Kind {
        Kind::Text
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_str().map(String::from)
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.clone())
    }
}
