//! `thinktune eval`, `thinktune compare` and evaluation during training, from outside.

mod common;

use common::{THINKTUNING, TestFolder, files};
use serde_json::Value;

/// Every way of prompting on the invented questions, with few tokens.
const EVAL: [&str; 11] = [
    "eval",
    "model",
    "--benchmarks",
    "gsm8k,word-problems",
    "--methods",
    "all",
    "--limit",
    "12",
    "--max-tokens",
    "16",
    "--data",
];

fn place() -> TestFolder {
    let place = TestFolder::new();
    std::fs::create_dir_all(place.path("data/gsm8k")).unwrap();
    place.write("data/gsm8k/test.jsonl", &place.read("questions.jsonl"));
    place
}

fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    EVAL.iter().copied().chain(["data"]).chain(more.iter().copied()).collect()
}

/// What is the same in two equal evaluations: all but the clock and what is computed from it.
fn answers(place: &TestFolder, folder: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = files(&place.path(folder));
    found.retain(|(name, _)| name.starts_with("answers/") || name == "evaluation.json");
    found
}

#[test]
fn a_table_in_every_form_and_every_answer_kept() {
    let place = place();
    let ran = place.run(&args(&["--out", "e", "--paper"]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("eval 96/96  word-problems, s1  left 0 seconds"), "{}", ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("benchmark      method"), "{}", ran.stdout);
    assert!(
        lines[1].starts_with("GSM8K          zero-shot CoT  12")
            && lines[8].starts_with("Word problems  s1 budget")
    );
    assert!(ran.stdout.contains("ours / paper") && ran.stdout.contains("/ 71.08"), "{}", ran.stdout);
    assert!(place.read("e/results.md").contains("| GSM8K | self-verify | 12 |"));
    assert_eq!(place.read("e/results.csv").lines().count(), 9);
    let json: Value = serde_json::from_str(&place.read("e/results.json")).unwrap();
    assert_eq!(json["results"][3]["method"], "s1");
    assert!(json["results"][3]["tokens_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(json["evaluation"]["model"], "model");
    let kept = place.read("e/answers/gsm8k.self-correct.jsonl");
    assert_eq!(kept.lines().count(), 12);
    let answer: Value = serde_json::from_str(kept.lines().nth(3).unwrap()).unwrap();
    assert_eq!((&answer["question"], &answer["rounds"]), (&3.into(), &3.into()));
    assert_eq!(answer["earlier"].as_array().unwrap().len(), 2);
    let printed: Value = serde_json::from_str(&place.ok(&args(&["--out", "e", "--json"]))).unwrap();
    assert_eq!(
        printed["results"][0], json["results"][0],
        "nothing was asked again, so not even the speed changed"
    );
}

/// Takes about five seconds: nine evaluations, because each place of a kill needs one of its own and one to go on.
#[test]
fn killed_anywhere_it_resumes_to_the_same_answers() {
    let place = place();
    let several = ["--samples", "20", "--out"];
    place.ok(&args(&[&several[..], &["whole"]].concat()));
    let expected = answers(&place, "whole");
    assert_eq!(expected.len(), 9);
    for (i, stall) in ["answered:128", "answered:368", "answered:1200", "answered:1808"].iter().enumerate() {
        let out = format!("killed-{i}");
        let args = args(&[&several[..], &[&out]].concat());
        place.start_until(&args, Some(stall), "stalled at").kill();
        assert!(answers(&place, &out) != expected, "{stall}");
        place.ok(&args);
        assert_eq!(answers(&place, &out), expected, "{stall}");
    }
    place.fails(
        &args(&["--out", "whole"]),
        2,
        &["whole holds an evaluation with other settings", "samples was 20"],
    );
    place.tiny_llama("model", 2);
    let other = args(&[&several[..], &["whole"]].concat());
    place.fails(&other, 2, &["the model was model with other weights"]);
}

#[test]
fn two_evaluations_are_compared() {
    let place = place();
    place.tiny_llama("other", 2);
    place.ok(&args(&["--out", "a"]));
    let mut second = args(&["--out", "b"]);
    second[1] = "other";
    place.ok(&second);
    let text = place.ok(&["compare", "a", "b"]);
    assert!(text.starts_with("A  a\nB  b\n\nbenchmark "), "{text}");
    assert!(text.contains("McNemar") && text.contains("self-consultancy"), "{text}");
    let json: Value = serde_json::from_str(&place.ok(&["compare", "a", "b", "--json"])).unwrap();
    let first = &json["comparisons"][0];
    assert_eq!((&first["benchmark"], &first["method"]), (&"gsm8k".into(), &"zero-shot".into()));
    assert_eq!((&first["questions"], &first["unpaired"]), (&12.into(), &0.into()));
    assert_eq!(json["comparisons"].as_array().unwrap().len(), 8);
    let same: Value = serde_json::from_str(&place.ok(&["compare", "a", "a", "--json"])).unwrap();
    assert_eq!(
        (&same["comparisons"][0]["difference"], &same["comparisons"][0]["p"]),
        (&0.0.into(), &1.0.into())
    );
    place.fails(
        &["compare", "a", "model"],
        1,
        &["evaluation.json", "expected a folder that `thinktune eval` wrote"],
    );
    place.ok(&[
        "eval",
        "model",
        "--benchmarks",
        "word-problems",
        "--limit",
        "4",
        "--seed",
        "9",
        "--out",
        "c",
        "-q",
    ]);
    place.fails(&["compare", "a", "c"], 2, &["the data of word-problems are others", "--force"]);
    let sampled = [
        "eval",
        "model",
        "--benchmarks",
        "gsm8k",
        "--data",
        "data",
        "--out",
        "d",
        "--samples",
        "2",
        "--suffix",
        " Say it.",
        "--max-tokens",
        "16",
    ];
    place.ok(&sampled);
    let words = [
        "samples is 1 in A and 2 in B",
        "temperature is 0 in A and 1 in B",
        "suffix of gsm8k is",
        "\" Say it.\" in B",
    ];
    place.fails(&["compare", "a", "d"], 2, &words);
    let forced: Value = serde_json::from_str(&place.ok(&["compare", "a", "d", "--json", "--force"])).unwrap();
    assert_eq!(forced["comparisons"][0]["p"], Value::Null, "no exact test with several samples");
    assert_eq!(forced["differences"].as_array().unwrap().len(), 3);
}

#[test]
fn what_cannot_be_asked_is_refused_before_a_model_is_loaded() {
    let place = place();
    let eval = |more: &[&'static str]| [&["eval", "model"][..], more].concat();
    place.fails(
        &eval(&["--benchmarks", "gsm9k"]),
        2,
        &["--benchmarks \"gsm9k\": expected all, gsm8k, math500"],
    );
    let gsm8k =
        |more: &[&'static str]| eval(&[&["--benchmarks", "gsm8k", "--data", "data"][..], more].concat());
    place.fails(&gsm8k(&["--methods", "cot"]), 2, &["--methods \"cot\"", "self-verify, self-correct, s1"]);
    place.fails(&gsm8k(&["--samples", "4", "--temperature", "0"]), 2, &["would be the same answer"]);
    place.fails(&gsm8k(&["--temperature", "-1"]), 2, &["--temperature -1: expected 0 or a positive number"]);
    place.fails(&gsm8k(&["--limit", "0"]), 2, &["--limit 0: expected at least 1"]);
    place.fails(
        &eval(&["--benchmarks", "csqa", "--data", "data"]),
        2,
        &["csqa: found none of data/csqa/validation.jsonl", "data/tau/commonsense_qa/data/validation"],
    );
    place.fails(&eval(&["--benchmarks", "csqa"]), 1, &["data set tau/commonsense_qa", "not in the cache"]);
    place.write("data/gsm8k/test.jsonl", "{\"question\": \"q\"}\n");
    place.fails(&gsm8k(&[]), 1, &["data/gsm8k/test.jsonl line 1: lacks field `answer`"]);
    assert!(!place.path("runs").exists(), "nothing was begun");
}

#[test]
fn a_runs_evaluation_lies_in_its_folder() {
    let place = place();
    place.write("tt.toml", THINKTUNING);
    place.ok(&["train", "tt.toml", "--set", "run.steps=1"]);
    let text =
        place.ok(&["eval", "runs/tt", "--benchmarks", "word-problems", "--limit", "3", "--max-tokens", "8"]);
    assert!(text.ends_with("answers  runs/tt/eval\n"), "{text}");
    place.ok(&["compare", "runs/tt", "runs/tt"]);
    assert!(place.ok(&["train", "tt.toml", "--set", "run.steps=1"]).starts_with("was finished before"));
}

/// The model was trained with the suffix and the system message; asked otherwise, its accuracy would be another.
#[test]
fn a_runs_evaluation_inherits_its_prompt() {
    let place = place();
    let lines: Vec<&str> = THINKTUNING.lines().filter(|line| !line.starts_with("prompt_suffix")).collect();
    let prompt = "[data]\nsystem = \"Be brief.\"\nprompt_suffix = \" Box it.\"";
    place.write("tt.toml", &lines.join("\n").replace("[data]", prompt));
    place.ok(&["train", "tt.toml", "--set", "run.steps=1"]);
    let eval = |out: &str, more: &[&str]| {
        let args = [
            "eval",
            "runs/tt",
            "--benchmarks",
            "gsm8k,word-problems",
            "--data",
            "data",
            "--limit",
            "2",
            "--max-tokens",
            "4",
        ];
        let ran = place.run(&[&args[..], &["--out", out], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let identity: Value = serde_json::from_str(&place.read(&format!("{out}/evaluation.json"))).unwrap();
        (ran.stderr, identity["asked"].clone())
    };
    let (told, asked) = eval("as-trained", &[]);
    assert!(told.contains("system message \"Be brief.\", suffix \" Box it.\""), "{told}");
    assert_eq!(
        (&asked["gsm8k"]["suffix"], &asked["gsm8k"]["system message"]),
        (&" Box it.".into(), &"Be brief.".into())
    );
    assert_eq!(asked["word-problems"]["suffix"], "", "asks for no box");
    let (told, asked) = eval("plain", &["--benchmark-prompt"]);
    assert!(!told.contains("as the run was trained"), "{told}");
    assert_eq!(asked["gsm8k"]["system message"], "none");
    let (told, asked) = eval("own", &["--suffix", " Say it."]);
    assert!(told.contains("system message") && !told.contains("Box it"), "{told}");
    assert_eq!(asked["word-problems"]["suffix"], " Say it.");
    place.fails(
        &["compare", "as-trained", "plain"],
        2,
        &["system message of gsm8k is \"Be brief.\" in A and none in B"],
    );
}

const HELD_OUT: &str = r#"
[[held_out]]
benchmark = "word-problems"
limit = 6
max_tokens = 12

[[held_out]]
benchmark = "gsm8k"
path = "held_out.jsonl"
samples = 2
temperature = 0.7
max_tokens = 8
"#;

/// The invented questions in another order: a held-out file is not the training file.
fn held_out_file(place: &TestFolder) {
    let lines: Vec<String> =
        place.read("questions.jsonl").lines().rev().map(|line| format!("{line}\n")).collect();
    place.write("held_out.jsonl", &lines.concat());
}

#[test]
fn held_out_sets_are_evaluated_during_training_and_change_nothing_else() {
    let place = place();
    place.write("plain.toml", THINKTUNING);
    held_out_file(&place);
    place.ok(&["train", "plain.toml"]);
    place.write("tt.toml", &format!("{}\neval_every = 2\n{HELD_OUT}", THINKTUNING));
    let ran = place.run(&["train", "tt.toml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("held-out gsm8k after step 4: accuracy"), "{}", ran.stderr);
    let lines: Vec<Value> = place
        .read("runs/tt/evaluations.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let places: Vec<(u64, &str)> =
        lines.iter().map(|line| (line["step"].as_u64().unwrap(), line["set"].as_str().unwrap())).collect();
    let expected = [0, 2, 4].map(|step| [(step, "word-problems"), (step, "gsm8k")]).concat();
    assert_eq!(places, expected);
    assert_eq!(
        (&lines[0]["questions"], &lines[1]["questions"], &lines[1]["samples"]),
        (&6.into(), &12.into(), &2.into())
    );
    for (line, set) in lines.iter().zip(["word-problems", "gsm8k"].iter().cycle()) {
        let file = format!("runs/tt/held_out/step_{:06}.jsonl", line["step"].as_u64().unwrap());
        let answers: Vec<Value> =
            place.read(&file).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of_set: Vec<&Value> = answers.iter().filter(|answer| answer["set"] == *set).collect();
        let right = of_set.iter().filter(|answer| answer["right"] == true).count();
        let asked = line["questions"].as_u64().unwrap() * line["samples"].as_u64().unwrap();
        assert_eq!((of_set.len() as u64, answers.len()), (asked, 6 + 24), "every answer is kept");
        assert_eq!(line["accuracy"].as_f64().unwrap(), right as f64 / asked as f64);
    }
    assert_eq!(place.read("runs/plain/metrics.jsonl"), place.read("runs/tt/metrics.jsonl"));
    assert!(place.read("runs/tt/timings.jsonl").contains("\"evaluate\":{\"seconds\":"));

    for stall in ["checkpoint:2", "training:3"] {
        let args = ["train", "tt.toml", "--set", "out=runs/killed"];
        place.start_until(&args, Some(stall), "stalled at").kill();
        place.ok(&args);
        for file in ["evaluations.jsonl", "held_out/step_000002.jsonl", "held_out/step_000004.jsonl"] {
            let (whole, killed) = (format!("runs/tt/{file}"), format!("runs/killed/{file}"));
            assert_eq!(place.read(&whole), place.read(&killed), "{stall}: {file}");
        }
        std::fs::remove_dir_all(place.path("runs/killed")).unwrap();
    }
}

#[test]
fn held_out_sets_are_checked_before_anything_is_loaded() {
    let place = place();
    held_out_file(&place);
    let with = |text: &str, every: &str| {
        place.write("tt.toml", &format!("{THINKTUNING}\n{every}\n{text}"));
        ["train", "tt.toml", "--dry-run"]
    };
    place.fails(&with("", "eval_every = 2"), 2, &["run.eval_every = 2", "no [[held_out]] set"]);
    place.fails(&with(HELD_OUT, ""), 2, &["run.eval_every = (not set)"]);
    place.fails(&with(HELD_OUT, "eval_every = 0"), 2, &["run.eval_every = 0: expected at least 1"]);
    let wrong = |from: &str, to: &str, words: &[&str]| {
        place.fails(&with(&HELD_OUT.replace(from, to), "eval_every = 2"), 2, words);
    };
    wrong("\"gsm8k\"", "\"gsm9k\"", &["held_out[1].benchmark = \"gsm9k\"", "math500"]);
    wrong("held_out.jsonl", "questions.jsonl", &["held_out[1].path = \"questions.jsonl\"", "the same file"]);
    wrong("held_out.jsonl", "data/gsm8k/test.jsonl", &["data.path = \"questions.jsonl\" is a copy of it"]);
    wrong("held_out.jsonl", "nowhere.jsonl", &["held_out[1].path = \"nowhere.jsonl\"", "a file that exists"]);
    wrong("0.7", "0.0", &["held_out[1].temperature = 0", "greedy samples of a question are all the same"]);
    wrong("limit = 6", "limit = 0", &["held_out[0].limit = 0: expected at least 1"]);
    wrong("limit = 6", "limits = 6", &["limits"]);
    wrong("limit = 6", "path = \"x\"", &["held_out[0].path = \"x\"", "word-problems is generated"]);
}
