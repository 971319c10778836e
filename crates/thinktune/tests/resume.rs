//! A run killed at any moment and started again ends in the same bytes as one that was never stopped.

mod common;

use std::io::Read;

use common::{THINKTUNING, TestFolder, files, word_problems};

/// Everything a run promises to be the same: all but the clock, the lock and the date of creation.
fn results(place: &TestFolder, run: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = files(&place.path(run));
    found.retain(|(name, _)| {
        !["timings.jsonl", "provenance.json", "run.lock", "config.toml"].contains(&name.as_str())
    });
    found
}

fn assert_same(place: &TestFolder, run: &str) {
    let (expected, found) = (results(place, "runs/whole"), results(place, run));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&expected), names(&found));
    for ((name, expected), (_, found)) in expected.iter().zip(&found) {
        assert!(expected == found, "{name} differs");
    }
    for part in ["metrics.jsonl", "final/model.safetensors", "checkpoints/step_000004/optimizer.safetensors"]
    {
        assert!(expected.iter().any(|(name, bytes)| name == part && !bytes.is_empty()), "{part} is missing");
    }
}

/// Takes about five seconds: thirteen runs, because each place of a kill needs one of its own and one to go on.
#[test]
fn killed_while_sampling_training_and_writing_checkpoints() {
    let place = TestFolder::new();
    place.write("tt.toml", &word_problems());
    place.ok(&["train", "tt.toml", "--set", "out=runs/whole"]);
    assert!(
        place.read("runs/whole/rollouts/step_000001.jsonl").contains("\"guided\":true"),
        "guidance is part of it"
    );
    for (i, stall) in ["sampling:1", "training:2", "checkpoint:2", "sampling:3", "training:4", "checkpoint:4"]
        .iter()
        .enumerate()
    {
        let out = format!("out=runs/killed-{i}");
        let args = ["train", "tt.toml", "--set", &out];
        place.start_until(&args, Some(stall), "stalled at").kill();
        let again = place.run(&args);
        assert_eq!(again.code, 0, "{stall}: {}", again.stderr);
        let resumed = i >= 3;
        assert_eq!(again.stderr.contains("going on after step 2"), resumed, "{stall}: {}", again.stderr);
        assert_same(&place, &format!("runs/killed-{i}"));
    }
}

#[test]
fn killed_again_and_again() {
    let place = TestFolder::new();
    place.write("tt.toml", &word_problems());
    place.ok(&["train", "tt.toml", "--set", "out=runs/whole"]);
    let args = ["train", "tt.toml", "--set", "out=runs/killed"];
    for stall in ["checkpoint:2", "training:3", "sampling:4", "checkpoint:4"] {
        place.start_until(&args, Some(stall), "stalled at").kill();
    }
    place.ok(&args);
    assert_same(&place, "runs/killed");
}

#[test]
fn a_finished_run_goes_on_for_more_steps() {
    let place = TestFolder::new();
    place.write("tt.toml", &word_problems());
    place.ok(&["train", "tt.toml", "--set", "out=runs/whole"]);
    let steps = |steps: &str, more: &[&str]| {
        let steps = format!("run.steps={steps}");
        let args = ["train", "tt.toml", "--set", "out=runs/raised", "--set", &steps];
        place.run(&[&args, more].concat())
    };
    assert_eq!(steps("2", &[]).code, 0);
    let raised = steps("4", &[]);
    assert_eq!(raised.code, 0, "{}", raised.stderr);
    assert!(raised.stderr.contains("going on after step 2"), "{}", raised.stderr);
    assert_same(&place, "runs/raised");

    let lowered = steps("3", &[]);
    assert!(lowered.code != 0 && lowered.stderr.contains("run.steps"), "{}", lowered.stderr);
    let cosine = ["--set", "optimizer.schedule=cosine", "--set", "out=runs/cosine"];
    assert_eq!(steps("2", &cosine).code, 0);
    let refused = steps("4", &cosine);
    assert!(
        refused.code == 2 && refused.stderr.contains("optimizer.schedule ends with the run"),
        "{}",
        refused.stderr
    );
}

#[test]
fn supervised_fine_tuning_resumes_exactly() {
    let place = TestFolder::new();
    let config = "method = \"sft\"\n[model]\npath = \"model\"\n[data]\ntask = \"gsm8k\"\npath = \"questions.jsonl\"\n\
                  [sft]\nbatch_size = 4\nepochs = 2\n[run]\ncheckpoint_every = 2\n[optimizer]\nlr = 1e-3\n\
                  schedule = \"cosine\"\n";
    place.write("sft.toml", config);
    place.ok(&["train", "sft.toml", "--set", "out=runs/whole"]);
    let args = ["train", "sft.toml", "--set", "out=runs/killed"];
    place.start_until(&args, Some("checkpoint:4"), "stalled at").kill();
    place.ok(&args);
    let same = |name: &str| {
        assert_eq!(place.read(&format!("runs/whole/{name}")), place.read(&format!("runs/killed/{name}")))
    };
    same("metrics.jsonl");
    same("final/MANIFEST.json");
}

#[test]
fn a_damaged_checkpoint_falls_back_says_so_and_ends_in_the_same_bytes() {
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    place.ok(&["train", "tt.toml", "--set", "out=runs/whole"]);
    let args = ["train", "tt.toml", "--set", "out=runs/damaged"];
    place.ok(&args);
    std::fs::remove_dir_all(place.path("runs/damaged/final")).unwrap();
    let weights = place.path("runs/damaged/checkpoints/step_000004/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let again = place.run(&args);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(
        again.stderr.contains("step_000004 is damaged") && again.stderr.contains("checksum mismatch"),
        "{}",
        again.stderr
    );
    assert!(again.stderr.contains("going on from step 2 instead"), "{}", again.stderr);
    std::fs::remove_dir_all(place.path("runs/damaged/checkpoints/step_000004.damaged")).unwrap();
    assert_same(&place, "runs/damaged");
}

#[test]
#[cfg(unix)]
fn ctrl_c_finishes_the_step_and_says_how_to_go_on() {
    let place = TestFolder::new();
    place.write(
        "tt.toml",
        &THINKTUNING
            .replace("steps = 4", "steps = 5000")
            .replace("checkpoint_every = 2", "checkpoint_every = 1000"),
    );
    let mut run = place.start_until(&["train", "tt.toml"], None, "step 1/");
    interrupt(run.child.id());
    let mut rest = String::new();
    run.stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(run.child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains("finishing this step, then writing a checkpoint"), "{rest}");
    assert!(
        rest.contains("interrupted after step") && rest.contains("the same command goes on from there"),
        "{rest}"
    );
    let checkpoints = std::fs::read_dir(place.path("runs/tt/checkpoints")).unwrap().count();
    assert_eq!(checkpoints, 1);
}

#[test]
#[cfg(unix)]
fn a_second_ctrl_c_stops_at_once() {
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    let mut run = place.start_until(&["train", "tt.toml"], Some("training:2"), "stalled at");
    interrupt(run.child.id());
    let mut seen = String::new();
    while !seen.contains("finishing this step") {
        std::io::BufRead::read_line(&mut run.stderr, &mut seen).unwrap();
    }
    interrupt(run.child.id());
    assert_eq!(run.child.wait().unwrap().code(), Some(130));
    place.ok(&["train", "tt.toml"]);
}

#[test]
fn two_processes_cannot_share_a_folder() {
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    let run = place.start_until(&["train", "tt.toml"], Some("sampling:1"), "stalled at");
    place.fails(&["train", "tt.toml"], 1, &["runs/tt is in use by another process"]);
    run.kill();
    place.ok(&["train", "tt.toml"]);
}

#[cfg(unix)]
fn interrupt(pid: u32) {
    let status = std::process::Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}
