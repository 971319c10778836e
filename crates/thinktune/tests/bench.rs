//! `thinktune bench`: what it reports and what it refuses. How fast anything is, no test asks.

mod common;

use common::TestFolder;
use serde_json::Value;

const SMALL: [&str; 8] = ["--questions", "2", "--samples", "2", "--new-tokens", "5", "--steps", "2"];

fn bench(place: &TestFolder, args: &[&str]) -> Value {
    serde_json::from_str(&place.ok(&[&["bench", "--json"], args].concat())).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn positive(value: &Value, key: &str) {
    assert!(value[key].as_f64().is_some_and(|number| number > 0.0), "{key} of {value}");
}

#[test]
fn a_step_reports_its_phases_on_data_and_on_random_prompts() {
    let place = TestFolder::new();
    for data in [&["--model", "model", "--data", "questions.jsonl"][..], &["--model", "model"]] {
        let report = bench(&place, &[data, &SMALL].concat());
        assert_eq!(report["part"], "step");
        assert_eq!(report["completion_tokens_per_step"], 20);
        assert_eq!(report["steps_seconds"].as_array().unwrap().len(), 2);
        assert_eq!(report["precision"], "f32");
        for key in ["seconds_per_step", "completion_tokens_per_second", "measured_peak_gflops", "threads"] {
            positive(&report, key);
        }
        if cfg!(target_os = "linux") {
            positive(&report, "peak_rss_mib");
        }
        let phases = &report["phases"];
        assert_eq!(
            keys(phases),
            ["pack", "prefill", "decode", "train_forward", "train_backward", "update", "rest"]
        );
        let sum: f64 = phases.as_object().unwrap().values().map(|row| row["seconds"].as_f64().unwrap()).sum();
        assert!((sum - report["seconds_per_step"].as_f64().unwrap()).abs() < 1e-6, "{report}");
        for phase in ["train_forward", "train_backward"] {
            for key in ["tokens_per_second", "gflops", "share_of_peak"] {
                positive(&phases[phase], key);
            }
        }
    }
    let report = bench(&place, &[&["--model", "model", "--precision", "bf16"], &SMALL[..]].concat());
    assert_eq!(report["precision"], "bf16");
    let prompts = |report: &Value| report["settings"]["prompt_tokens"].clone();
    let report = bench(&place, &[&["--model", "model", "--prompt-tokens", "9"], &SMALL[..]].concat());
    assert_eq!(prompts(&report), serde_json::json!([9, 9]));
}

#[test]
fn every_part_reports_its_rows() {
    let place = TestFolder::new();
    let decode =
        bench(&place, &["--model", "model", "--part", "decode", "--batches", "1,3", "--new-tokens", "4"]);
    assert_eq!(keys(&decode["batches"]), ["1", "3"]);
    positive(&decode["tokens_per_second"], "3");
    positive(&decode, "memory_gigabytes_per_second");
    let train = bench(&place, &["--model", "model", "--part", "train", "--steps", "1"]);
    assert_eq!(keys(&train["phases"]), ["pack", "train_forward", "train_backward", "update", "all"]);
    positive(&train, "tokens_per_second");
    let gemm = bench(&place, &["--part", "gemm"]);
    assert!(gemm["products"].as_object().unwrap().values().all(|row| row["gflops"].as_f64() > Some(0.0)));
}

#[test]
fn the_table_says_what_was_measured() {
    let place = TestFolder::new();
    let text = place.ok(&[&["bench", "--model", "model"], &SMALL[..]].concat());
    for expected in [
        "GRPO step: 2 questions x 2 samples x 5 tokens, prompts of 64 random tokens",
        "train: backward",
        "seconds per step",
        "of this program's own kernel",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let place = TestFolder::new();
    let refused = |args: &[&str], words: &[&str]| {
        place.fails(&[&["bench"], args].concat(), 2, words);
    };
    refused(&["--shape", "gpt-9"], &["--shape \"gpt-9\"", "llama-3.2-1b", "28m"]);
    refused(&["--model", "nowhere"], &["model \"nowhere\": expected a folder that exists"]);
    refused(&["--new-tokens", "5000"], &["5064 tokens", "context is 4096", "--new-tokens"]);
    refused(&["--model", "model", "--data", "lost.jsonl"], &["--data lost.jsonl", "a file that exists"]);
    refused(
        &["--model", "model", "--data", "questions.jsonl", "--questions", "13"],
        &["--questions 13: expected at most 12"],
    );
    refused(
        &["--model", "model", "--data", "questions.jsonl", "--part", "decode"],
        &["--data with --part decode"],
    );
    for args in [
        &["bench", "--precision", "f16"][..],
        &["bench", "--samples", "1"],
        &["bench", "--new-tokens", "0"],
        &["bench", "--part", "lunch"],
        &["bench", "--data", "questions.jsonl"],
        &["bench", "--model", "model", "--shape", "28m"],
    ] {
        assert_eq!(place.run(args).code, 2, "{args:?}");
    }
}
