//! `thinktune settings`: the reference of the configuration file.

use crate::config::REFERENCE;

/// Prints every setting.
pub fn run() -> anyhow::Result<()> {
    super::print(REFERENCE.trim_end())
}
