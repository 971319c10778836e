//! The definition of settings: one line of [`section!`](crate::section) gives a setting its name, type, default,
//! range and meaning. The struct, the reader, the check, the reference and the schema are made from that line.

use crate::error::SettingError;
use crate::kind::Kind;
use crate::range::Range;
use crate::values::Values;

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

/// The state of a setting that is not given.
#[derive(Debug, Clone, PartialEq)]
pub enum DefaultValue {
    /// This value.
    Value(toml::Value),
    /// Nothing; or a value that depends on other settings. With an example.
    None(toml::Value),
    /// It must be given. With an example.
    Required(toml::Value),
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

        impl $crate::Section for $name {
            const NAME: &'static str = $section;
            const DOC: &'static str = concat!($($about, "\n"),+);

            fn settings() -> Vec<$crate::Setting> {
                let mut settings = Vec::new();
                $(
                    let key = $crate::dotted($section, stringify!($field));
                    let doc = $crate::doc_lines(concat!($($doc, "\n"),+));
                    settings.extend($crate::section!(@setting key, doc, $mode($($arg)*)));
                )*
                settings
            }

            fn read(values: &mut $crate::Values) -> Result<Self, $crate::SettingError> {
                Ok(Self {
                    $($field: {
                        let key = $crate::dotted($section, stringify!($field));
                        $crate::section!(@read values, &key, $mode($($arg)*))
                    },)*
                })
            }

            fn check_ranges(&self) -> Result<(), $crate::SettingError> {
                $(
                    let key = $crate::dotted($section, stringify!($field));
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

    (@range) => { $crate::any() };
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
        None::<$crate::Setting>
    }};
    (@entry $key:ident, $doc:ident, $type:ty, $default:ident, $value:expr, $($range:expr)?) => {{
        let value: $type = $value.into();
        Some($crate::Setting {
            key: $key,
            doc: $doc,
            kind: <$type as $crate::SettingValue>::kind(),
            range: $crate::section!(@range $($range)?),
            default: $crate::DefaultValue::$default($crate::SettingValue::to_toml(&value)),
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
        <$type as $crate::Section>::read($values)?
    }};

    (@check $value:expr, $key:expr, section($type:ty)) => {{
        let _ = $key;
        $crate::Section::check_ranges($value)?
    }};
    (@check $value:expr, $key:expr, optional($type:ty => $example:expr $(, $range:expr)?)) => {
        if let Some(value) = $value {
            $crate::check_range::<$type>($key, value, $crate::section!(@range $($range)?))?;
        }
    };
    (@check $value:expr, $key:expr, value($type:ty = $default:expr $(, $range:expr)?)) => {
        $crate::check_range::<$type>($key, $value, $crate::section!(@range $($range)?))?
    };
    (@check $value:expr, $key:expr, required($type:ty => $default:expr $(, $range:expr)?)) => {
        $crate::check_range::<$type>($key, $value, $crate::section!(@range $($range)?))?
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

        impl $crate::SettingValue for $name {
            fn kind() -> $crate::Kind {
                $crate::Kind::Choice(Self::ALL.iter().map(|choice| choice.name().into()).collect())
            }

            fn from_toml(value: &$crate::TomlValue) -> Option<Self> {
                Self::ALL.iter().copied().find(|choice| value.as_str() == Some(choice.name()))
            }

            fn to_toml(&self) -> $crate::TomlValue {
                $crate::TomlValue::String(self.name().into())
            }
        }
    };
}
