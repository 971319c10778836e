//! Settings defined once: a line of [`section!`] gives a setting its name, type, default, range and meaning; parser,
//! checks, reference, hints and schema are made from it.

mod define;
mod error;
mod kind;
mod range;
mod values;

pub use define::{DefaultValue, Section, Setting, doc_lines, dotted};
pub use error::SettingError;
pub use kind::{Kind, SettingValue};
pub use range::{Range, above, above_up_to, any, at_least, between, check_range, from_below, within};
pub use toml::Value as TomlValue;
pub use values::Values;
