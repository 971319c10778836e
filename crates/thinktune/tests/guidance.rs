//! `thinktune guidance` with the demo's models: the table, a killed measurement, other settings.

mod common;

use common::TestFolder;
use serde_json::Value;

fn assets(model: &str) -> String {
    format!("{}/../../assets/word-problems/{model}", env!("CARGO_MANIFEST_DIR"))
}

fn measure(place: &TestFolder, more: &[&str]) -> common::Ran {
    let (student, teacher) = (assets("student"), assets("teacher"));
    let mut args =
        vec!["guidance", &student, "--teacher", &teacher, "--attempts", "40", "--out", "g", "--json"];
    args.extend([
        "--max-attempt-tokens",
        "96",
        "--max-response-tokens",
        "192",
        "--max-feedback-tokens",
        "96",
    ]);
    args.extend(more);
    place.run(&args)
}

const PROMPTS: [&str; 4] = ["--prompts", "word-problems", "--prompts", "word-problems-catch-phrase"];

/// The file of replies made with a prompt set.
fn replies(place: &TestFolder, prompts: &str) -> String {
    let names = std::fs::read_dir(place.path("g")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let begins = format!("replies-teacher-{prompts}-");
    let digits = |name: &str| name.len() == begins.len() + "0123456789ab.jsonl".len();
    format!("g/{}", names.into_iter().find(|name| name.starts_with(&begins) && digits(name)).unwrap())
}

#[test]
fn the_teacher_is_measured_by_prompt_set() {
    let place = TestFolder::new();
    let ran = measure(&place, &PROMPTS);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let table: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&table["attempts"], table["results"].as_array().unwrap().len()), (&40.into(), 2));
    let result = &table["results"][0];
    let count = |share: &str| result[share]["count"].as_u64().unwrap();
    assert!(count("accepted") > 30 && count("wrong_to_right") > 0, "{result}");
    assert!(count("caught") + count("trusted") == count("opinions_right"), "{result}");
    let replies = place.read(&replies(&place, "word-problems"));
    assert_eq!(replies.lines().count(), 40);
    assert!(replies.contains("\"fate\":\"accepted\"") && ran.stderr.contains("word-problems: 40/40"));
    assert!(place.read("g/results.md").contains("| wrong->right % |"));
}

#[test]
fn a_killed_measurement_goes_on() {
    let place = TestFolder::new();
    assert_eq!(measure(&place, &PROMPTS[..2]).code, 0);
    let whole = [replies(&place, "word-problems"), "g/attempts.jsonl".into()].map(|name| {
        let text = place.read(&name);
        let torn: String = text.chars().take(text.len() * 2 / 3).collect();
        place.write(&name, &torn);
        (name, text)
    });
    let again = measure(&place, &PROMPTS[..2]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    for (name, text) in whole {
        assert!(place.read(&name) == text, "{name}");
    }
}

#[test]
fn attempts_of_other_settings_are_refused() {
    let place = TestFolder::new();
    assert_eq!(measure(&place, &PROMPTS[..2]).code, 0);
    let attempts = place.read("g/attempts.jsonl");
    let other = measure(&place, &["--temperature", "0.5"]);
    assert_eq!(other.code, 2, "{}", other.stderr);
    assert!(other.stderr.contains("temperature: there \"1\", here \"0.5\""), "{}", other.stderr);
    let colder = measure(&place, &["--prompts", "word-problems", "--teacher-temperature", "0"]);
    assert_eq!(colder.code, 0, "{}", colder.stderr);
    assert_eq!(place.read("g/attempts.jsonl"), attempts, "another teacher reacts to the same attempts");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let place = TestFolder::new();
    let student = assets("student");
    let refused = |more: &[&str], words: &[&str]| {
        let args = [&["guidance", &student, "--out", "h"], more].concat();
        place.fails(&args, 2, words);
    };
    refused(&["--prompts", "nonsense"], &["--prompts nonsense", "known names: reasoning"]);
    refused(&["--data", "nowhere.jsonl"], &["--data nowhere.jsonl", "a file that exists"]);
    refused(&["--teacher-top-p", "0"], &["--teacher-top-p 0", "above 0"]);
    refused(&["--temperature", "0"], &["--temperature 0", "positive"]);
    refused(
        &["--max-attempt-tokens", "1", "--attempts", "4"],
        &["only 0 of 32 attempts", "--max-attempt-tokens"],
    );
}
