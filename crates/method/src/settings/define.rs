//! The definition of settings: one line of [`section!`](crate::section) gives a setting its name, type, default,
//! range and meaning. The struct, the reader, the check, the reference and the schema are made from that line.

use std::fmt;

use super::{Range, SettingError, Values};

/// A setting as it was defined.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Dotted name.
    pub key: String,
    /// Its meaning, one line of text each.
    pub doc: Vec<String>,
    /// Its type.
    pub kind: Kind,
    /// The numbers it may hold.
    pub range: Range,
    /// Its default.
    pub default: DefaultValue,
}

/// What holds where a setting is not given.
#[derive(Debug, Clone, PartialEq)]
pub enum DefaultValue {
    /// This value.
    Value(toml::Value),
    /// Nothing; or a value that depends on other settings. With an example.
    None(toml::Value),
    /// It must be given. With an example.
    Required(toml::Value),
}

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

/// A group of settings, defined by [`section!`](crate::section).
pub trait Section: Sized {
    /// Its heading in the configuration file; empty for the top of the file.
    const NAME: &'static str;
    /// Its meaning.
    const DOC: &'static str;

    /// Its settings, in the order of definition.
    fn settings() -> Vec<Setting>;

    /// Reads it, and writes the defaults that it takes into `values`.
    ///
    /// # Errors
    /// A value of another type; a required one that is not given.
    fn read(values: &mut Values) -> Result<Self, SettingError>;

    /// Judges each number by its range.
    ///
    /// # Errors
    /// The first number outside its range.
    fn check_ranges(&self) -> Result<(), SettingError>;
}

/// The dotted name of a setting.
pub fn dotted(section: &str, name: &str) -> String {
    if section.is_empty() { name.into() } else { format!("{section}.{name}") }
}

/// Fails where a number of `value` is outside `range`.
///
/// # Errors
/// Key, value, and the range in words.
pub fn check_range<T: SettingValue>(key: &str, value: &T, range: Range) -> Result<(), SettingError> {
    let numbers = value.numbers();
    if numbers.iter().all(|&number| range.contains(number)) {
        return Ok(());
    }
    let shown: Vec<String> = numbers.iter().map(f64::to_string).collect();
    Err(if let [one] = &shown[..] {
        SettingError::new(key, one, range)
    } else {
        SettingError::new(
            key,
            format!("[{}]", shown.join(", ")),
            format!("{} numbers {range}", words(shown.len())),
        )
    })
}

fn words(count: usize) -> String {
    if count == 2 { "two".into() } else { count.to_string() }
}

/// The lines of a doc comment.
pub fn doc_lines(doc: &str) -> Vec<String> {
    doc.trim_end().lines().map(|line| line.strip_prefix(' ').unwrap_or(line).to_string()).collect()
}

/// Defines a section: a struct, and its [`Section`].
///
/// A setting is one of
/// * `name: value(Type = default, range)`
/// * `name: optional(Type => example, range)`: an `Option`, without a default or with one that depends on others;
/// * `name: required(Type => example, range)`
/// * `name: section(Type)`: a section within this one.
///
/// The range may be left out: any finite number.
#[macro_export]
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident = $section:literal {
            $($(#[doc = $doc:literal])+ $field:ident: $mode:ident($($arg:tt)*)),* $(,)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $crate::section!(@type $mode($($arg)*)),)*
        }

        impl $crate::settings::Section for $name {
            const NAME: &'static str = $section;
            const DOC: &'static str = concat!($($about, "\n"),+);

            fn settings() -> Vec<$crate::settings::Setting> {
                let mut settings = Vec::new();
                $(
                    let key = $crate::settings::dotted($section, stringify!($field));
                    let doc = $crate::settings::doc_lines(concat!($($doc, "\n"),+));
                    settings.extend($crate::section!(@setting key, doc, $mode($($arg)*)));
                )*
                settings
            }

            fn read(values: &mut $crate::settings::Values) -> Result<Self, $crate::settings::SettingError> {
                Ok(Self {
                    $($field: {
                        let key = $crate::settings::dotted($section, stringify!($field));
                        $crate::section!(@read values, &key, $mode($($arg)*))
                    },)*
                })
            }

            fn check_ranges(&self) -> Result<(), $crate::settings::SettingError> {
                $(
                    let key = $crate::settings::dotted($section, stringify!($field));
                    $crate::section!(@check &self.$field, &key, $mode($($arg)*));
                )*
                Ok(())
            }
        }
    };

    (@type value($type:ty = $($rest:tt)*)) => { $type };
    (@type optional($type:ty => $($rest:tt)*)) => { Option<$type> };
    (@type required($type:ty => $($rest:tt)*)) => { $type };
    (@type section($type:ty)) => { $type };

    (@range) => { $crate::settings::any() };
    (@range $range:expr) => { $range };

    (@setting $key:ident, $doc:ident, value($type:ty = $value:expr $(, $range:expr)?)) => {
        $crate::section!(@entry $key, $doc, $type, Value, $value, $($range)?)
    };
    (@setting $key:ident, $doc:ident, optional($type:ty => $value:expr $(, $range:expr)?)) => {
        $crate::section!(@entry $key, $doc, $type, None, $value, $($range)?)
    };
    (@setting $key:ident, $doc:ident, required($type:ty => $value:expr $(, $range:expr)?)) => {
        $crate::section!(@entry $key, $doc, $type, Required, $value, $($range)?)
    };
    (@setting $key:ident, $doc:ident, section($type:ty)) => {{
        let _ = ($key, $doc);
        None::<$crate::settings::Setting>
    }};
    (@entry $key:ident, $doc:ident, $type:ty, $default:ident, $value:expr, $($range:expr)?) => {{
        let value: $type = $value.into();
        Some($crate::settings::Setting {
            key: $key,
            doc: $doc,
            kind: <$type as $crate::settings::SettingValue>::kind(),
            range: $crate::section!(@range $($range)?),
            default: $crate::settings::DefaultValue::$default($crate::settings::SettingValue::to_toml(&value)),
        })
    }};

    (@read $values:ident, $key:expr, value($type:ty = $value:expr $(, $range:expr)?)) => {
        $values.value_or::<$type>($key, || $value.into())?
    };
    (@read $values:ident, $key:expr, optional($type:ty => $($rest:tt)*)) => { $values.optional::<$type>($key)? };
    (@read $values:ident, $key:expr, required($type:ty => $example:expr $(, $range:expr)?)) => {
        $values.required::<$type>($key, &$example.into())?
    };
    (@read $values:ident, $key:expr, section($type:ty)) => {{
        let _ = $key;
        <$type as $crate::settings::Section>::read($values)?
    }};

    (@check $value:expr, $key:expr, section($type:ty)) => {{
        let _ = $key;
        $crate::settings::Section::check_ranges($value)?
    }};
    (@check $value:expr, $key:expr, optional($type:ty => $example:expr $(, $range:expr)?)) => {
        if let Some(value) = $value {
            $crate::settings::check_range::<$type>($key, value, $crate::section!(@range $($range)?))?;
        }
    };
    (@check $value:expr, $key:expr, value($type:ty = $default:expr $(, $range:expr)?)) => {
        $crate::settings::check_range::<$type>($key, $value, $crate::section!(@range $($range)?))?
    };
    (@check $value:expr, $key:expr, required($type:ty => $default:expr $(, $range:expr)?)) => {
        $crate::settings::check_range::<$type>($key, $value, $crate::section!(@range $($range)?))?
    };
}

/// Defines an enum whose variants have names in configurations.
#[macro_export]
macro_rules! choices {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[$about:meta])* $variant:ident = $text:literal),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$about])* $variant,)*
        }

        impl $name {
            /// Every choice.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in a configuration.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl $crate::settings::SettingValue for $name {
            fn kind() -> $crate::settings::Kind {
                $crate::settings::Kind::Choice(Self::ALL.iter().map(|choice| choice.name().into()).collect())
            }

            fn from_toml(value: &$crate::settings::TomlValue) -> Option<Self> {
                Self::ALL.iter().copied().find(|choice| value.as_str() == Some(choice.name()))
            }

            fn to_toml(&self) -> $crate::settings::TomlValue {
                $crate::settings::TomlValue::String(self.name().into())
            }
        }
    };
}
