//! A run folder under misfortune: killed, torn, damaged, full, shared, of another run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use thinktune_runlog::event::{PhaseTiming, SftMetrics, StepTimings};
use thinktune_runlog::{
    Checkpoint, FileHash, Opened, Provenance, RunError, RunFolder, RunIdentity, fingerprint,
    latest_checkpoint, read_sft_metrics, read_timings, rollout_steps, sha256_hex,
};

const CONFIG: &str = "seed = 1\nout = \"a\"\n\n[optimizer]\nlr = 1e-3\n";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct State {
    updates: u64,
}

fn open_with(dir: &Path, config: &str, inputs: &[(&str, &str)]) -> Result<Opened, RunError> {
    let inputs: BTreeMap<String, String> =
        inputs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let provenance = Provenance::now("0.0.0", config, inputs);
    RunFolder::open(dir, &RunIdentity { config, free_keys: &["out"], provenance: &provenance })
}

fn open(dir: &Path) -> Opened {
    open_with(dir, CONFIG, &[]).unwrap()
}

/// A run of `steps` steps with a checkpoint every `every`, going on from wherever the folder stands.
fn run(dir: &Path, steps: u64, every: u64, keep: usize) -> Vec<String> {
    let Opened { mut folder, notices } = open(dir);
    folder.keep_checkpoints(keep);
    let done = folder.resume_from().map_or(0, |checkpoint| {
        assert_eq!(checkpoint.state::<State>().unwrap(), State { updates: checkpoint.step * 4 });
        checkpoint.step
    });
    for step in done + 1..=steps {
        write_step(&mut folder, step);
        if step.is_multiple_of(every) || step == steps {
            save(&mut folder, step).unwrap();
        }
    }
    folder
        .write_final(steps, |dir| fs::write(dir.join("model.bin"), weights(steps)).map(|()| Vec::new()))
        .unwrap();
    notices
}

fn write_step(folder: &mut RunFolder, step: u64) {
    folder.write_rollouts(step, &[]).unwrap();
    let metrics = SftMetrics { step, loss: 1.0 / step as f64, grad_norm: f64::NAN, ..Default::default() };
    folder.append_metrics(&metrics).unwrap();
    let train = PhaseTiming::new(0.5, 10);
    folder.append_timings(&StepTimings { step, train, ..Default::default() }).unwrap();
}

fn save(folder: &mut RunFolder, step: u64) -> Result<Checkpoint, RunError> {
    folder.save_checkpoint(step, &State { updates: step * 4 }, |dir| {
        fs::create_dir(dir.join("optimizer"))?;
        fs::write(dir.join("optimizer/moments.bin"), [step as u8; 100])?;
        let bytes = weights(step);
        fs::write(dir.join("model.bin"), &bytes)?;
        Ok::<_, io::Error>(vec![FileHash {
            name: "model.bin".into(),
            bytes: 200,
            sha256: sha256_hex(&bytes),
        }])
    })
}

fn weights(step: u64) -> Vec<u8> {
    (0..200).map(|i| (i * step % 251) as u8).collect()
}

/// Every file but the lock and the provenance, with its bytes.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(root: &Path, dir: &Path, out: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                walk(root, &path, out);
            } else if name != "run.lock" && name != "provenance.json" {
                out.insert(path.strip_prefix(root).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(dir, dir, &mut out);
    out
}

fn uninterrupted() -> BTreeMap<PathBuf, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 7, 2, 2);
    snapshot(dir.path())
}

#[test]
fn a_finished_run_holds_what_the_documentation_lists() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), 7, 2, 2).is_empty());
    let files: Vec<String> =
        snapshot(dir.path()).into_keys().map(|path| path.display().to_string()).collect();
    for expected in ["config.toml", "metrics.jsonl", "timings.jsonl", "latest", "final/model.bin"] {
        assert!(files.iter().any(|file| file == expected), "{expected} not in {files:?}");
    }
    assert!(files.iter().any(|file| file == "checkpoints/step_000006/state.json"));
    assert!(!files.iter().any(|file| file.contains("step_000004/")), "two checkpoints are kept: {files:?}");
    assert_eq!(rollout_steps(dir.path()).unwrap(), (1..=7).collect::<Vec<_>>());
    assert_eq!(latest_checkpoint(dir.path()).unwrap().unwrap().step, 7);
    assert!(open(dir.path()).folder.finished().is_some());
}

#[test]
fn steps_after_the_checkpoint_are_done_again_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut folder, .. } = open(dir.path());
    folder.keep_checkpoints(2);
    for step in 1..=5 {
        write_step(&mut folder, step);
        if step.is_multiple_of(2) {
            save(&mut folder, step).unwrap();
        }
    }
    drop(folder);
    // What a kill in the middle of everything leaves behind.
    fs::create_dir(dir.path().join("checkpoints/.step_000006.tmp")).unwrap();
    fs::write(dir.path().join("checkpoints/.step_000006.tmp/model.bin"), "half").unwrap();
    fs::write(dir.path().join("rollouts/.step_000006.jsonl.tmp"), "half").unwrap();
    fs::write(dir.path().join(".latest.tmp"), "half").unwrap();
    let mut log = fs::read(dir.path().join("metrics.jsonl")).unwrap();
    log.extend_from_slice(b"{\"step\":6,\"lo");
    fs::write(dir.path().join("metrics.jsonl"), log).unwrap();

    drop(open(dir.path()));
    assert_eq!(rollout_steps(dir.path()).unwrap(), [1, 2, 3, 4], "nothing of later steps is left");
    assert_eq!(read_sft_metrics(dir.path()).unwrap().records.len(), 4);
    assert_eq!(read_timings(dir.path()).unwrap().records.len(), 4);
    assert_eq!(fs::read_dir(dir.path().join("checkpoints")).unwrap().count(), 2, "no leftovers");
    assert!(run(dir.path(), 7, 2, 2).is_empty());
    assert_eq!(snapshot(dir.path()), uninterrupted());
}

#[test]
fn a_run_killed_before_its_first_checkpoint_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path());
    write_step(&mut opened.folder, 1);
    drop(opened);
    run(dir.path(), 7, 2, 2);
    assert_eq!(snapshot(dir.path()), uninterrupted());
}

#[test]
fn a_wrong_checksum_falls_back_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 7, 2, 2);
    fs::remove_dir_all(dir.path().join("final")).unwrap();
    let moments = dir.path().join("checkpoints/step_000007/optimizer/moments.bin");
    fs::write(&moments, [9u8; 100]).unwrap();

    let notices = run(dir.path(), 7, 2, 2);
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("step_000007 is damaged"), "{notices:?}");
    assert!(notices[0].contains("moments.bin: checksum mismatch"), "{notices:?}");
    assert!(notices[0].ends_with("going on from step 6 instead"), "{notices:?}");
    assert!(dir.path().join("checkpoints/step_000007.damaged").is_dir(), "nothing is thrown away");
    fs::remove_dir_all(dir.path().join("checkpoints/step_000007.damaged")).unwrap();
    assert_eq!(snapshot(dir.path()), uninterrupted());
}

#[test]
fn damaged_checkpoints_only_is_an_error_not_a_new_beginning() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 2, 2, 1);
    fs::remove_file(dir.path().join("checkpoints/step_000002/model.bin")).unwrap();
    let error = open_with(dir.path(), CONFIG, &[]).unwrap_err().to_string();
    assert!(error.contains("no intact checkpoint among step_000002 is damaged"), "{error}");
    assert_eq!(read_sft_metrics(dir.path()).unwrap().records.len(), 2, "nothing was removed");
}

#[test]
fn another_configuration_is_refused_by_key_and_free_keys_may_change() {
    let dir = tempfile::tempdir().unwrap();
    write_step(&mut open(dir.path()).folder, 1);
    let other = CONFIG.replace("1e-3", "2e-3").replace("seed = 1\n", "");
    let error = open_with(dir.path(), &other, &[]).unwrap_err().to_string();
    assert!(error.contains("`optimizer.lr` is 0.001 there and 0.002 now"), "{error}");
    assert!(error.contains("`seed` is 1 there and unset now"), "{error}");
    drop(open_with(dir.path(), &CONFIG.replace("\"a\"", "\"b\""), &[]).unwrap());
}

#[test]
fn other_inputs_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_with(dir.path(), CONFIG, &[("model", "0000")]).unwrap());
    let mut opened = open_with(dir.path(), CONFIG, &[("model", "aaaa")]).unwrap();
    write_step(&mut opened.folder, 1);
    drop(opened);
    let error = open_with(dir.path(), CONFIG, &[("model", "bbbb")]).unwrap_err().to_string();
    assert!(error.contains("was begun with other model (sha256 aaaa then, bbbb now)"), "{error}");
}

#[test]
fn a_folder_in_use_or_of_someone_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let held = open(dir.path());
    let error = open_with(dir.path(), CONFIG, &[]).unwrap_err();
    assert!(matches!(error, RunError::Locked(_)), "{error}");
    drop(held);
    drop(open(dir.path()));

    let foreign = tempfile::tempdir().unwrap();
    fs::write(foreign.path().join("thesis.tex"), "years of work").unwrap();
    let error = open_with(foreign.path(), CONFIG, &[]).unwrap_err().to_string();
    assert!(error.contains("is not empty and is not a run folder"), "{error}");
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_last_one_alone() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut folder, .. } = open(dir.path());
    folder.keep_checkpoints(1);
    write_step(&mut folder, 1);
    save(&mut folder, 1).unwrap();
    write_step(&mut folder, 2);
    let error = folder.save_checkpoint(2, &State { updates: 8 }, |dir| {
        fs::write(dir.join("model.bin"), "a part of it")?;
        Err::<Vec<FileHash>, _>(io::Error::from(io::ErrorKind::StorageFull))
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("step_000002 could not be written") && error.contains("is intact"), "{error}");
    assert!(!dir.path().join("checkpoints/.step_000002.tmp").exists(), "its space is given back");
    assert_eq!(latest_checkpoint(dir.path()).unwrap().unwrap().step, 1);
    latest_checkpoint(dir.path()).unwrap().unwrap().verify().unwrap();
    drop(folder);
    assert_eq!(open(dir.path()).folder.resume_from().unwrap().step, 1);
}

#[test]
fn fingerprints_see_names_and_contents() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "x").unwrap();
    let one = fingerprint(dir.path(), |name| name != "c").unwrap();
    fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
    let two = fingerprint(dir.path(), |name| name != "c").unwrap();
    fs::write(dir.path().join("b"), "y").unwrap();
    let three = fingerprint(dir.path(), |name| name != "c").unwrap();
    assert!(one != two && two != three);
    fs::write(dir.path().join("c"), "not wanted").unwrap();
    assert_eq!(fingerprint(dir.path(), |name| name != "c").unwrap(), three);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Metrics cut at any byte: the run goes on from the newest checkpoint whose lines are all there.
    #[test]
    fn metrics_torn_anywhere_recover(cut in 0.0f64..1.0) {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), 7, 2, 9);
        let expected = snapshot(dir.path());
        fs::remove_dir_all(dir.path().join("final")).unwrap();
        let path = dir.path().join("metrics.jsonl");
        let bytes = fs::read(&path).unwrap();
        let first = bytes.split_inclusive(|&b| b == b'\n').take(2).map(<[u8]>::len).sum::<usize>();
        let length = first + ((bytes.len() - first) as f64 * cut) as usize;
        fs::write(&path, &bytes[..length]).unwrap();

        let notices = run(dir.path(), 7, 2, 9);
        prop_assert!(length == bytes.len() || !notices.is_empty());
        for entry in fs::read_dir(dir.path().join("checkpoints")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some() {
                fs::remove_dir_all(path).unwrap();
            }
        }
        prop_assert_eq!(snapshot(dir.path()), expected);
    }

    /// Any file of the newest checkpoint cut at any byte: the one before takes over.
    #[test]
    fn a_checkpoint_torn_anywhere_falls_back(file in 0usize..4, cut in 0.0f64..1.0) {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), 7, 2, 2);
        fs::remove_dir_all(dir.path().join("final")).unwrap();
        let name = ["model.bin", "optimizer/moments.bin", "state.json", "MANIFEST.json"][file];
        let path = dir.path().join("checkpoints/step_000007").join(name);
        let bytes = fs::read(&path).unwrap();
        // The manifest's final newline alone is no loss.
        let length = ((bytes.len() - 1) as f64 * cut) as usize;
        fs::write(&path, &bytes[..length]).unwrap();

        let notices = run(dir.path(), 7, 2, 2);
        prop_assert_eq!(notices.len(), 1);
        fs::remove_dir_all(dir.path().join("checkpoints/step_000007.damaged")).unwrap();
        prop_assert_eq!(snapshot(dir.path()), uninterrupted());
    }
}

#[test]
fn metrics_lost_before_any_checkpoint_are_said_to_be_lost() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 4, 2, 1);
    fs::write(dir.path().join("metrics.jsonl"), "").unwrap();
    let Opened { folder, notices } = open(dir.path());
    assert_eq!(folder.resume_from().unwrap().step, 4);
    assert!(notices[0].contains("those lines stay lost"), "{notices:?}");
}
