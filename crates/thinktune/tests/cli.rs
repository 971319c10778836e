//! The program from outside: help, exit codes, what goes to stdout and what to stderr.

mod common;

use common::{THINKTUNING, TestFolder};
use serde_json::Value;

#[test]
fn help_is_as_committed() {
    let place = TestFolder::new();
    for command in [
        "--help",
        "demo --help",
        "train --help",
        "eval --help",
        "compare --help",
        "generate --help",
        "logprobs --help",
        "grade --help",
        "guidance --help",
        "serve --help",
        "word-problems --help",
        "bench --help",
        "settings --help",
        "settings",
        "settings --json-schema",
    ] {
        let args: Vec<&str> = command.split(' ').collect();
        let shown = place.ok(&args);
        let name = match command {
            "--help" => "thinktune",
            "settings" => "settings-reference",
            "settings --json-schema" => "settings-schema",
            other => other.split(' ').next().unwrap_or(other),
        };
        let path = format!("{}/tests/help/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_HELP").is_some() {
            std::fs::write(&path, &shown).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            shown, committed,
            "the text of {command:?} changed; UPDATE_HELP=1 cargo test -p thinktune writes it anew"
        );
    }
}

#[test]
fn every_command_takes_json() {
    let place = TestFolder::new();
    let help = place.ok(&["--help"]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands: Vec<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"grade") && commands.len() > 10, "{commands:?}");
    for command in commands.iter().filter(|command| **command != "help") {
        assert!(place.ok(&[command, "--help"]).contains("--json"), "{command}");
    }
}

#[test]
fn usage_errors_exit_with_2() {
    let place = TestFolder::new();
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
    wrong("--temperature", "-1", &["--temperature -1: expected 0 (greedy) or a positive number"]);
    wrong("--top-p", "0", &["--top-p 0: expected a number in (0, 1]"]);
    wrong("--top-k", "0", &["--top-k", "at least 1"]);
    wrong("--min-p", "1", &["--min-p 1: expected a number in [0, 1)"]);
    place.fails(
        &["generate", "nowhere", "--prompt", "a"],
        2,
        &["model \"nowhere\": expected a folder that exists"],
    );
}

#[test]
fn absent_devices_are_refused_before_the_model() {
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    for args in [
        &["train", "tt.toml"][..],
        &["eval", "nowhere", "--benchmarks", "word-problems"],
        &["generate", "nowhere", "--prompt", "a"],
        &["serve", "nowhere"],
        &["logprobs", "nowhere", "--ids", "1"],
        &["bench", "--model", "nowhere"],
        &["demo"],
    ] {
        let absent = place.run(&[args, &["--device", "cuda:0"]].concat());
        assert!(absent.code == 2 && absent.stderr.contains("there is: `cpu`"), "{args:?}: {}", absent.stderr);
        let unknown = place.run(&[args, &["--device", "gpu"]].concat());
        assert!(
            unknown.code == 2 && unknown.stderr.contains("`gpu` is no device"),
            "{args:?}: {}",
            unknown.stderr
        );
        assert!(unknown.stderr.contains("there is: `cpu`"), "{args:?}: {}", unknown.stderr);
    }
    assert!(!place.path("runs").exists(), "nothing is begun");
}

#[test]
fn automatic_device_is_recorded_by_its_name() {
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    place.ok(&["train", "tt.toml", "--set", "run.steps=1", "--device", "auto"]);
    assert!(place.read("runs/tt/config.toml").contains("device = \"cpu\"\n"));
    let again = place.ok(&["train", "tt.toml", "--set", "run.steps=1", "--device", "cpu"]);
    assert!(again.starts_with("was finished before"), "{again}");
}

#[test]
fn generate_is_reproducible_and_a_sample_does_not_depend_on_how_many_there_are() {
    let place = TestFolder::new();
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
    let place = TestFolder::new();
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
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    let text = place.ok(&["train", "tt.toml", "--dry-run"]);
    for expected in
        ["BOS count 1", "stop tokens", "updates", "AdamW moments", "all that is held", "gamma constant 0.5"]
    {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    assert!(!place.path("runs").exists());
    let plan: Value = serde_json::from_str(&place.ok(&["train", "tt.toml", "--dry-run", "--json"])).unwrap();
    assert_eq!(plan["first_prompt"]["bos_count"], 1);
    assert_eq!(plan["updates"], 8);
    assert!(plan["parameters"].as_u64().unwrap() > 0 && plan["memory"]["peak_bytes"].as_u64().unwrap() > 0);
    assert_eq!(plan["config"]["guidance"]["gamma"]["start"], 0.5);
    let loss = plan["config"]["loss"].as_object().unwrap();
    assert_eq!(loss.keys().collect::<Vec<_>>(), ["advantage_range"], "the rest are defaults");
    let all = ["train", "tt.toml", "--dry-run", "--all", "--json"];
    let plan: Value = serde_json::from_str(&place.ok(&all)).unwrap();
    assert_eq!(plan["config"]["loss"]["c_at_max_advantage"], 1e-4);
    assert!(place.ok(&all[..4]).contains("c_at_max_advantage = 0.0001"));
    assert!(!text.contains("c_at_max_advantage"), "{text}");
    assert_eq!(place.run(&["train", "tt.toml", "--all"]).code, 2);
}

#[test]
fn a_dry_run_of_a_large_model_needs_neither_files_nor_network() {
    let place = TestFolder::new();
    place.write("tt.toml", &THINKTUNING.replace("\"student\"", "\"meta-llama/Llama-3.2-3B-Instruct\""));
    let text = place.ok(&["train", "tt.toml", "--dry-run"]);
    assert!(text.contains("3,212,749,824 parameters"), "{text}");
    assert!(text.contains("not on this machine") && text.contains("GiB"), "{text}");
}

#[test]
fn the_resolved_configuration_runs_again_and_resumes_as_itself() {
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    place.ok(&["train", "tt.toml", "--set", "run.steps=1"]);
    let text = place.ok(&["train", "runs/tt/config.toml"]);
    assert!(text.starts_with("was finished before"), "{text}");
    place.ok(&["train", "runs/tt/config.toml", "--set", "out=runs/again"]);
    assert_eq!(place.read("runs/tt/metrics.jsonl"), place.read("runs/again/metrics.jsonl"));
}

#[test]
fn grpo_is_thinktuning_with_gamma_0_byte_for_byte() {
    let place = TestFolder::new();
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
    let place = TestFolder::new();
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
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    let reference = place.ok(&["settings"]);
    let plan = place.ok(&["train", "tt.toml", "--dry-run", "--all", "--json"]);
    let plan: Value = serde_json::from_str(&plan).unwrap();
    for (section, keys) in plan["config"].as_object().unwrap() {
        for key in keys.as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(reference.contains(&format!("{key} = ")) || key == "gamma", "{section}.{key}");
        }
    }
}

#[test]
fn a_resolved_configuration_fits_the_schema() {
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    let schema: Value = serde_json::from_str(&place.ok(&["settings", "--json-schema"])).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(place.ok(&["settings", "--json"]), place.ok(&["settings", "--json-schema"]));
    let plan = place.ok(&["train", "tt.toml", "--dry-run", "--all", "--json"]);
    let plan: Value = serde_json::from_str(&plan).unwrap();
    fits("", &plan["config"], &schema);
    let group = &schema["properties"]["rollout"]["properties"]["group_size"];
    assert_eq!(
        (&group["default"], &group["minimum"], &group["type"]),
        (&5.into(), &1.into(), &"integer".into())
    );
    let low = &schema["properties"]["loss"]["properties"]["low_confidence"];
    assert_eq!(low["enum"], serde_json::json!(["mask", "clip"]));
    assert!(group["description"].as_str().unwrap().contains("Attempts at each question"));
}

/// The part of a schema's rules that this program's schema uses.
fn fits(path: &str, value: &Value, schema: &Value) {
    if let Some(choices) = schema["anyOf"].as_array() {
        let object = choices.iter().find(|choice| (choice["type"] == "object") == value.is_object()).unwrap();
        return fits(path, value, object);
    }
    if let Some(names) = schema["enum"].as_array() {
        return assert!(names.contains(value), "{path}");
    }
    match schema["type"].as_str().unwrap_or_else(|| panic!("{path} is not in the schema")) {
        "object" => {
            for (key, inner) in value.as_object().unwrap() {
                fits(&format!("{path}.{key}"), inner, &schema["properties"][key]);
            }
        }
        "array" => {
            for inner in value.as_array().unwrap() {
                fits(path, inner, &schema["items"]);
            }
        }
        "integer" => assert!(value.is_u64() && value.as_f64() >= schema["minimum"].as_f64(), "{path}"),
        "number" => assert!(value.is_number(), "{path}"),
        "string" => assert!(value.is_string(), "{path}"),
        "boolean" => assert!(value.is_boolean(), "{path}"),
        other => panic!("{path}: {other}"),
    }
}

#[test]
fn grade_and_word_problems_accept_json() {
    let place = TestFolder::new();
    assert_eq!(place.ok(&["grade", "--json"]), "");
    let args = [
        "word-problems",
        "made",
        "--pretraining",
        "2",
        "--base",
        "2",
        "--student",
        "2",
        "--teacher",
        "2",
        "--json",
    ];
    let made: Value = serde_json::from_str(&place.ok(&args)).unwrap();
    assert_eq!((&made["data"], &made["model"]), (&"made/data".into(), &"made/model".into()));
}

#[test]
fn a_run_folder_can_be_named_as_a_model() {
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    place.ok(&["train", "tt.toml", "--set", "run.steps=1"]);
    let args = |model| ["logprobs", model, "--ids", "1,7,9", "--json"];
    assert_eq!(place.ok(&args("runs/tt")), place.ok(&args("runs/tt/final")));
}

/// The configuration for small checkpoints, a few steps of it, with a model that babbles: most of its responses
/// are cut off, its replies as a teacher are in no format, nothing is learnt. The model is written all the same; the last lines and the exit code
/// say what came of it, also when the command is repeated.
#[test]
fn a_run_that_learnt_nothing_says_why_and_fails() {
    let place = TestFolder::new();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/gsm8k-small.toml");
    let mut args = vec!["train", config];
    for set in [
        "model.path=model",
        "data.path=questions.jsonl",
        "held_out=",
        "run.eval_every=",
        "run.steps=2",
        "rollout.questions_per_step=4",
        "optimizer.mini_batch_questions=4",
        "rollout.max_response_tokens=96",
        "guidance.prompts=word-problems",
    ] {
        args.extend(["--set", set]);
    }
    let cut = "of 32 attempts were cut off at 96 tokens: raise rollout.max_response_tokens";
    for _ in 0..2 {
        let args = [&args[..], &["--set", "rollout.group_size=4"]].concat();
        place.fails(&args, 1, &["nobody was guided", "feedback not used: bad_format_missing_tag"]);
        let ran = place.run(&args);
        let last: Vec<&str> = ran.stdout.lines().rev().take(2).collect();
        let first = "nothing was learnt: no update in 2 steps; in all 8 groups the rewards are equal (0 all right, 8 all wrong)";
        assert!(last[1].starts_with(first) && last[1].ends_with(cut), "{}", ran.stdout);
        assert!(last[0].starts_with("nobody was guided"), "{}", ran.stdout);
    }
    assert!(place.path("runs/gsm8k-small/final/model.safetensors").exists());
    let totals: Value = serde_json::from_str(&place.read("runs/gsm8k-small/totals.json")).unwrap();
    assert_eq!((&totals["updates"], &totals["responses"]), (&0.into(), &32.into()));
    let json = place.run(&[&args[..], &["--set", "rollout.group_size=4", "--json"]].concat());
    assert_eq!(json.code, 1);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json["faults"].as_array().unwrap().len(), &json["totals"]), (2, &totals));
}

/// Limits below what the few-shot examples take are refused before anything is begun, in a dry run too.
#[test]
fn limits_below_the_examples_are_refused() {
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    for (key, value, what) in [
        ("guidance.max_teacher_tokens", "30", "the longest example reply"),
        ("guidance.max_teacher_prompt_tokens", "100", "a request, with its examples"),
        ("guidance.max_feedback_tokens", "20", "the longest example guidance"),
        ("rollout.max_response_tokens", "40", "the longest example attempt with its guidance"),
    ] {
        let set = format!("{key}={value}");
        for more in [&[][..], &["--dry-run"]] {
            let args = [&["train", "tt.toml", "--set", &set], more].concat();
            place.fails(
                &args,
                2,
                &[&format!("{key} = {value}: expected at least "), what, "\"word-problems\""],
            );
        }
    }
    assert!(!place.path("runs").exists(), "nothing is begun");
}

#[test]
fn a_run_ends_with_its_guidance_ledger() {
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    let text = place.ok(&["train", "tt.toml"]);
    let lines: Vec<&str> = text.lines().collect();
    let head = lines.iter().position(|line| line.starts_with("guidance            used  valid")).unwrap();
    assert!(head > 2 && lines[head..].iter().any(|line| line.starts_with("all ")), "{text}");
    assert!(lines[head + 1].starts_with("self-"), "the demo's teacher shows behaviours by name: {text}");
    assert_eq!(place.ok(&["train", "tt.toml"]), text.replacen("done", "was finished before", 1));
}
