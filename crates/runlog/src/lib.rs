//! Files that a run writes and reads: resolved configuration, metrics, rollouts, checkpoints, provenance.
//!
//! ```text
//! RUN/
//!   config.toml                resolved configuration; a folder of another configuration is refused
//!   provenance.json            version, hashes, date: the facts about where the run came from
//!   metrics.jsonl              one line per step                    (event::StepMetrics or SftMetrics)
//!   evaluations.jsonl          one line per held-out set evaluated  (event::EvalMetrics)
//!   timings.jsonl              wall clock, one line per step        (event::StepTimings)
//!   rollouts/step_000001.jsonl one line per response of the step    (event::RolloutRecord)
//!   held_out/step_000010.jsonl one line per held-out answer         (event::HeldOutRecord)
//!   checkpoints/step_000010/   weights, optimizer, state.json, MANIFEST.json with checksums
//!   latest                     name of the newest complete checkpoint
//!   totals.json                counts over the whole run            (event::RunTotals)
//!   final/                     the finished model in Hugging Face layout
//!   run.lock                   held by the process that writes
//! ```
//!
//! Logs only grow; everything else is written beside, synced, then renamed. Whatever moment a process dies,
//! [`RunFolder::open`] finds the newest checkpoint whose checksums hold and takes the logs back to exactly
//! that step, so that the steps done again write the same bytes again.

pub mod event;

mod checkpoint;
mod clock;
mod error;
mod files;
mod folder;
mod jsonl;
mod layout;
mod provenance;
mod read;
mod resume;

pub use checkpoint::{Checkpoint, FileHash};
pub use clock::{Phase, PhaseTokens, StepClock};
pub use error::RunError;
pub use files::write_atomic;
pub use folder::{FolderLock, Opened, RunFolder};
pub use jsonl::{JsonLines, JsonLog, RECORD_VERSION};
pub use layout::RunIdentity;
pub use provenance::{Provenance, fingerprint, sha256_hex};
pub use read::{
    checkpoints, latest_checkpoint, read_config, read_evaluations, read_held_out, read_metrics,
    read_provenance, read_rollouts, read_sft_metrics, read_timings, read_totals, rollout_steps,
};
