//! The program from outside: help, exit codes, what goes to stdout and what to stderr.

mod common;

use common::{Place, THINKTUNING};
use serde_json::Value;

#[test]
fn help_is_as_committed() {
    let place = Place::new();
    for command in [
        "",
        "demo",
        "train",
        "eval",
        "compare",
        "generate",
        "logprobs",
        "grade",
        "serve",
        "word-problems",
        "bench",
    ] {
        let args: Vec<&str> = [command, "--help"].into_iter().filter(|arg| !arg.is_empty()).collect();
        let shown = place.ok(&args);
        let name = if command.is_empty() { "thinktune" } else { command };
        let path = format!("{}/tests/help/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_HELP").is_some() {
            std::fs::write(&path, &shown).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            shown, committed,
            "help of {name:?} changed; UPDATE_HELP=1 cargo test -p thinktune writes it anew"
        );
    }
}

#[test]
fn usage_errors_exit_with_2() {
    let place = Place::new();
    for args in [
        &["fly"][..],
        &["train"],
        &["generate", "model"],
        &["generate", "model", "--prompt", "a", "--chat", "b"],
        &["generate", "model", "--prompt", "a", "--samples", "0"],
        &["logprobs", "model", "--ids", "one,two"],
    ] {
        assert_eq!(place.run(args).code, 2, "{args:?}");
    }
    let wrong = |flag: &str, value: &str, words: &[&str]| {
        place.fails(&["generate", "model", "--prompt", "a", flag, value], 2, words);
    };
    wrong("--temperature", "-1", &["--temperature -1: expected 0 or a positive number"]);
    wrong("--top-p", "0", &["--top-p 0: expected in (0, 1]"]);
    wrong("--top-k", "0", &["--top-k", "at least 1"]);
    wrong("--min-p", "1", &["--min-p 1: expected in [0, 1)"]);
    place.fails(
        &["generate", "nowhere", "--prompt", "a"],
        2,
        &["model \"nowhere\": expected a folder that exists"],
    );
}

#[test]
fn generate_is_reproducible_and_a_sample_does_not_depend_on_how_many_there_are() {
    let place = Place::new();
    let generate = |samples: &str| -> Value {
        let args =
            ["generate", "model", "--chat", "2+2?", "--samples", samples, "--max-tokens", "12", "--json"];
        serde_json::from_str(&place.ok(&args)).unwrap()
    };
    let (one, three) = (generate("1"), generate("3"));
    assert_eq!(one["completions"][0], three["completions"][0]);
    assert_ne!(three["completions"][0], three["completions"][1]);
    let first = &one["completions"][0];
    assert_eq!(first["tokens"].as_array().unwrap().len(), first["logprobs"].as_array().unwrap().len());
    assert!(["stop", "length"].contains(&first["finish"].as_str().unwrap()));
    assert_eq!(one["prompt_tokens"][0], 1, "one BOS");
    assert_ne!(one["prompt_tokens"][1], 1, "one BOS");
}

#[test]
fn logprobs_agree_with_what_generate_recorded() {
    let place = Place::new();
    let args = ["generate", "model", "--prompt", "Ann has", "--max-tokens", "6", "--json"];
    let made: Value = serde_json::from_str(&place.ok(&args)).unwrap();
    let all: Vec<String> = ["prompt_tokens"]
        .iter()
        .map(|key| &made[*key])
        .chain([&made["completions"][0]["tokens"]])
        .flat_map(|list| list.as_array().unwrap().iter().map(Value::to_string))
        .collect();
    let scored: Value =
        serde_json::from_str(&place.ok(&["logprobs", "model", "--ids", &all.join(","), "--json"])).unwrap();
    assert!(scored["logprobs"][0].is_null());
    let prompt = made["prompt_tokens"].as_array().unwrap().len();
    for (i, recorded) in made["completions"][0]["logprobs"].as_array().unwrap().iter().enumerate() {
        let given = scored["logprobs"][prompt + i].as_f64().unwrap();
        assert!((given - recorded.as_f64().unwrap()).abs() < 1e-4, "{given} {recorded}");
        let top = scored["top"][prompt + i].as_array().unwrap();
        assert_eq!(top.len(), 5);
        assert!(top[0]["logprob"].as_f64() >= top[4]["logprob"].as_f64());
        assert!(top[0]["token"].is_string());
    }
}

#[test]
fn a_dry_run_shows_the_plan_and_touches_nothing() {
    let place = Place::new();
    place.write("tt.toml", THINKTUNING);
    let text = place.ok(&["train", "tt.toml", "--dry-run"]);
    for expected in ["BOS count 1", "stop tokens", "updates", "AdamW moments", "total", "gamma constant 0.5"]
    {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    assert!(!place.path("runs").exists());
    let plan: Value = serde_json::from_str(&place.ok(&["train", "tt.toml", "--dry-run", "--json"])).unwrap();
    assert_eq!(plan["first_prompt"]["bos_count"], 1);
    assert_eq!(plan["updates"], 8);
    assert!(plan["parameters"].as_u64().unwrap() > 0 && plan["memory"]["total_bytes"].as_u64().unwrap() > 0);
    assert_eq!(plan["config"]["loss"]["c1"], 1e-4);
}

#[test]
fn a_dry_run_of_a_large_model_needs_neither_files_nor_network() {
    let place = Place::new();
    place.write("tt.toml", &THINKTUNING.replace("\"model\"", "\"meta-llama/Llama-3.2-3B-Instruct\""));
    let text = place.ok(&["train", "tt.toml", "--dry-run"]);
    assert!(text.contains("3,212,749,824 parameters"), "{text}");
    assert!(text.contains("not on this machine") && text.contains("GiB"), "{text}");
}

#[test]
fn the_resolved_configuration_runs_again_and_resumes_as_itself() {
    let place = Place::new();
    place.write("tt.toml", THINKTUNING);
    place.ok(&["train", "tt.toml", "--set", "run.steps=1"]);
    let text = place.ok(&["train", "runs/tt/config.toml"]);
    assert!(text.starts_with("was finished before"), "{text}");
    place.ok(&["train", "runs/tt/config.toml", "--set", "out=runs/again"]);
    assert_eq!(place.read("runs/tt/metrics.jsonl"), place.read("runs/again/metrics.jsonl"));
}

#[test]
fn grpo_is_thinktuning_with_gamma_0_byte_for_byte() {
    let place = Place::new();
    place.write("tt.toml", THINKTUNING);
    place.ok(&["train", "tt.toml", "--set", "out=runs/zero", "--set", "guidance.gamma=0"]);
    let ran = place.run(&["train", "tt.toml", "--set", "out=runs/grpo", "--set", "method=grpo"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("[guidance] is left out"), "{}", ran.stderr);
    for name in ["metrics.jsonl", "final/MANIFEST.json", "rollouts/step_000004.jsonl"] {
        assert_eq!(
            place.read(&format!("runs/zero/{name}")),
            place.read(&format!("runs/grpo/{name}")),
            "{name}"
        );
    }
}

#[test]
fn progress_goes_to_stderr_and_results_to_stdout() {
    let place = Place::new();
    place.write("tt.toml", THINKTUNING);
    let ran = place.run(&["train", "tt.toml", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let result: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(result["model"], "runs/tt/final");
    assert!(ran.stderr.contains("thinktuning step 4/4  reward"), "{}", ran.stderr);
    place.write("quiet.toml", THINKTUNING);
    assert_eq!(place.run(&["train", "quiet.toml", "--quiet"]).stderr, "");
}

#[test]
fn settings_lists_every_key_a_resolved_configuration_has() {
    let place = Place::new();
    place.write("tt.toml", THINKTUNING);
    let reference = place.ok(&["settings"]);
    let plan: Value = serde_json::from_str(&place.ok(&["train", "tt.toml", "--dry-run", "--json"])).unwrap();
    for (section, keys) in plan["config"].as_object().unwrap() {
        for key in keys.as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(reference.contains(&format!("{key} = ")) || key == "gamma", "{section}.{key}");
        }
    }
}

#[test]
fn a_run_folder_can_be_named_as_a_model() {
    let place = Place::new();
    place.write("tt.toml", THINKTUNING);
    place.ok(&["train", "tt.toml", "--set", "run.steps=1"]);
    let args = |model| ["logprobs", model, "--ids", "1,7,9", "--json"];
    assert_eq!(place.ok(&args("runs/tt")), place.ok(&args("runs/tt/final")));
}

#[test]
fn the_tiny_gsm8k_configuration_runs_its_three_steps() {
    let place = Place::new();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/gsm8k-tiny.toml");
    place.ok(&["train", config, "--set", "model.path=model", "--set", "data.path=questions.jsonl"]);
    assert_eq!(place.read("runs/gsm8k-tiny/metrics.jsonl").lines().count(), 3);
    let rollouts = place.read("runs/gsm8k-tiny/rollouts/step_000003.jsonl");
    assert_eq!(rollouts.lines().count(), 16);
    assert!(rollouts.contains("Ann has"), "{rollouts}");
    assert!(place.path("runs/gsm8k-tiny/final/model.safetensors").exists());
}
