//! The demo, in its quick version, from an empty folder and without the network.

mod common;

use common::TestFolder;
use serde_json::Value;

/// Takes about ten seconds: both runs of the demo, because the table compares them.
#[test]
fn the_student_learns_to_reflect_and_grpo_does_not() {
    let place = TestFolder::new();
    let ran = place.run(&["demo", "--quick", "--out", "demo", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let table: Value = serde_json::from_str(&ran.stdout).unwrap();
    let of = |column: usize, key: &str| table["columns"][column]["held_out"][key].as_f64().unwrap();
    assert_eq!([0, 1, 2].map(|i| table["columns"][i]["name"].clone()), ["before", "GRPO", "ThinkTuning"]);
    assert!(of(0, "reflection_rate") < 0.01 && of(1, "reflection_rate") < 0.01, "{table}");
    assert!(of(2, "reflection_rate") > 0.3 && of(2, "reflected_right_to_right") > 0.8, "{table}");
    assert!(table["guidance"]["wrong_to_right"].as_u64().unwrap() > 0);
    for file in ["grpo/final/model.safetensors", "thinktuning/rollouts/step_000001.jsonl", "result.json"] {
        assert!(place.path("demo").join(file).exists(), "{file}");
    }
    assert!(!place.read("demo/grpo/rollouts/step_000001.jsonl").contains("\"guided\":true"));

    let again = place.run(&["demo", "--quick", "--out", "demo"]);
    assert!(again.stderr.contains("demo was finished before"), "{}", again.stderr);
    assert!(again.stdout.contains("accuracy, final answer"), "{}", again.stdout);
    place.fails(&["demo", "--quick", "--out", "demo", "--seed", "2"], 2, &["demo: holds another demo"]);
    let config = place.read("demo/thinktuning/config.toml");
    place.write("again.toml", &config);
    let resumed = place.ok(&["train", "again.toml", "--set", "out=demo/thinktuning"]);
    assert!(resumed.starts_with("was finished before"), "{resumed}");
}
