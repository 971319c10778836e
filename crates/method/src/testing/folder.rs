//! Run folders for tests.

use std::fs;
use std::path::Path;

use thinktune_runlog::{Provenance, RunFolder, RunIdentity};

/// Opens a run folder in `dir`.
pub fn run_folder(dir: &Path) -> RunFolder {
    let provenance = Provenance::now("test", "", Default::default());
    let identity = RunIdentity { config: "", free_keys: &[], provenance: &provenance };
    RunFolder::open(dir, &identity).expect("a run folder").folder
}

/// Every file of a run folder that two equal runs share, by name. Checkpoints an interruption added are left
/// out: the last one holds all that counts.
pub fn folder_bytes(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let latest = fs::read_to_string(dir.join("latest")).expect("a checkpoint");
    for part in [
        "metrics.jsonl",
        "evaluations.jsonl",
        "held_out",
        "rollouts",
        &format!("checkpoints/{}", latest.trim()),
    ] {
        collect(&dir.join(part), part, &mut files);
    }
    files
}

fn collect(path: &Path, name: &str, files: &mut Vec<(String, Vec<u8>)>) {
    if let Ok(entries) = fs::read_dir(path) {
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        for inner in names {
            collect(&path.join(&inner), &format!("{name}/{inner}"), files);
        }
    } else if path.exists() {
        files.push((name.into(), fs::read(path).expect("a file")));
    }
}
