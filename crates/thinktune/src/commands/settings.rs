//! `thinktune settings`: the reference of the configuration file, or its JSON schema.

use crate::args::SettingsArgs;
use crate::config::{reference, schema};

/// Prints every setting.
pub fn run(args: &SettingsArgs) -> anyhow::Result<()> {
    if args.json_schema {
        return super::print(&format!("{:#}", schema()));
    }
    super::print(reference().trim_end())
}
