//! Names of the files of a run folder, and the identity of the run in it.

use crate::Provenance;

pub(crate) const CONFIG: &str = "config.toml";
pub(crate) const PROVENANCE: &str = "provenance.json";
pub(crate) const METRICS: &str = "metrics.jsonl";
pub(crate) const EVALUATIONS: &str = "evaluations.jsonl";
pub(crate) const TIMINGS: &str = "timings.jsonl";
pub(crate) const ROLLOUTS: &str = "rollouts";
pub(crate) const HELD_OUT: &str = "held_out";
pub(crate) const CHECKPOINTS: &str = "checkpoints";
pub(crate) const TOTALS: &str = "totals.json";
pub(crate) const LATEST: &str = "latest";

/// Identity of a run: what a folder must agree with to be continued.
#[derive(Debug, Clone)]
pub struct RunIdentity<'a> {
    /// Resolved configuration, as TOML.
    pub config: &'a str,
    /// Dotted keys that may change between two starts: where the folder is, how often to save, ...
    pub free_keys: &'a [&'a str],
    /// Where the run comes from; the inputs' hashes must agree.
    pub provenance: &'a Provenance,
}
