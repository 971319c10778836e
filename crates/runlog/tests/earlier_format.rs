//! Run folders of version 0.1.0 (records without a version) are read, and not continued.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thinktune_runlog::{
    Provenance, RunError, RunFolder, RunIdentity, latest_checkpoint, read_config, read_evaluations,
    read_metrics, read_provenance, read_rollouts, read_sft_metrics, read_timings, rollout_steps,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../thinktune/tests/fixtures/run_before").join(name)
}

#[test]
fn every_log_of_an_earlier_run_is_read() {
    let run = fixture("stopped");
    let metrics = read_metrics(&run).unwrap().records;
    assert_eq!(metrics.iter().map(|line| (line.step, line.responses)).collect::<Vec<_>>(), [(1, 6), (2, 6)]);
    assert!(metrics[0].kl.is_nan() && metrics[0].reward_mean > 0.0);
    let evaluations = read_evaluations(&run).unwrap().records;
    assert_eq!(
        evaluations.iter().map(|line| (&*line.set, line.step)).collect::<Vec<_>>(),
        [("gsm8k", 0), ("gsm8k", 2)]
    );
    assert!(read_timings(&run).unwrap().records[1].train.seconds > 0.0);
    assert_eq!(rollout_steps(&run).unwrap(), [1, 2]);
    assert_eq!(read_rollouts(&run, 2).unwrap().records.len(), 6);
    let update = &read_sft_metrics(&fixture("sft")).unwrap().records[0];
    assert!(update.loss > 5.0 && update.documents == 6);
}

#[test]
fn guided_responses_of_an_earlier_run_are_read() {
    let rows = read_rollouts(&fixture("guided"), 1).unwrap().records;
    let guided = rows.iter().find(|row| row.guided).unwrap();
    assert!(guided.guidance.as_ref().unwrap().opinion.is_some());
    assert_eq!(guided.logprobs.as_ref().unwrap().len(), guided.tokens.len());
    assert_eq!(guided.authors.iter().map(|run| run.tokens).sum::<usize>(), guided.tokens.len());
}

#[test]
fn a_checkpoint_of_an_earlier_run_is_intact() {
    let checkpoint = latest_checkpoint(&fixture("stopped")).unwrap().unwrap();
    assert_eq!(checkpoint.step, 2);
    checkpoint.verify().unwrap();
}

#[test]
fn an_earlier_run_is_not_continued() {
    let copy = tempfile::tempdir().unwrap();
    copy_tree(&fixture("stopped"), copy.path());
    let config = read_config(copy.path()).unwrap();
    let inputs: BTreeMap<String, String> = read_provenance(copy.path()).unwrap().inputs;
    let provenance = Provenance::now("0.9.9", &config, inputs);
    let identity = RunIdentity { config: &config, free_keys: &[], provenance: &provenance };
    let error = RunFolder::open(copy.path(), &identity).unwrap_err();
    assert!(matches!(error, RunError::OtherVersion { .. }), "{error}");
    let sentence = error.to_string();
    for word in
        ["was begun by thinktune 0.1.0", "thinktune 0.9.9 reads but does not continue", "finish the run with"]
    {
        assert!(sentence.contains(word), "{sentence}");
    }
    assert_eq!(read_metrics(copy.path()).unwrap().records.len(), 2, "nothing was taken away");
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
