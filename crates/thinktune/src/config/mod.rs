//! The configuration as the user typed it: a TOML file and overrides, every key optional, nothing judged yet but its name.
//! [`plan`](crate::plan) turns it into settings. Each section is defined once, in [`sections`] or by a method;
//! reference, schema and record are made from the definitions.

use std::path::Path;

use thinktune_method::settings::Values;
use toml::{Table, Value};

mod error;
mod keys;
mod reference;
mod schema;
pub mod sections;

pub use error::ConfigError;
pub use reference::{element_of, reference};
pub use schema::schema;
pub use sections::{
    DEFAULT_DATE, DataSettings, HeldOutSettings, Init, KeepSettings, Method, ModelSettings, Precision, Task,
    TeacherSettings, TopSettings,
};

/// A whole configuration, by dotted names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config(pub Values);

impl Config {
    /// Reads a file and applies `key.path=value` overrides. The run folder defaults to the file's name.
    ///
    /// # Errors
    /// A file that is not TOML, an unknown key.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: shown.clone(), source })?;
        let mut config = Self::parse(&text, overrides).map_err(|error| match error {
            ConfigError::Syntax { message, .. } => ConfigError::Syntax { path: shown, message },
            other => other,
        })?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        config.0.fill("out", &format!("runs/{stem}"));
        Ok(config)
    }

    /// Reads a configuration's text and applies overrides.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: "configuration".into(),
            message: error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
        })?;
        let mut values = Values::from(table);
        for assignment in overrides {
            keys::apply(&mut values, assignment)?;
        }
        expand_gamma(&mut values);
        keys::check(&values)?;
        Ok(Self(values))
    }

    /// The configuration as TOML, in the order of the reference. Once it is resolved, it is enough to run again,
    /// whatever defaults become later.
    pub fn to_toml(&self) -> String {
        reference::to_toml(&self.0, true)
    }

    /// The part of the configuration that differs from the defaults, as TOML.
    pub fn changed_to_toml(&self) -> String {
        reference::to_toml(&self.0, false)
    }
}

/// `gamma = 0.25` is short for a constant schedule.
fn expand_gamma(values: &mut Values) {
    if let Some(gamma @ (Value::Integer(_) | Value::Float(_))) = values.get("guidance.gamma").cloned() {
        values.set("guidance.gamma.shape", "constant".into());
        values.set("guidance.gamma.start", gamma.clone());
        values.set("guidance.gamma.end", gamma);
    }
}
