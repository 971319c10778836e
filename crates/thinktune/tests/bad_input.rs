//! What bad input gets: one clear sentence, the right exit code, nothing written before lost.

mod common;

use std::fs;

use common::{THINKTUNING, TestFolder};

fn train(place: &TestFolder, set: &[&str], code: i32, words: &[&str]) -> String {
    place.write("tt.toml", THINKTUNING);
    let mut args = vec!["train", "tt.toml"];
    for assignment in set {
        args.extend(["--set", assignment]);
    }
    place.fails(&args, code, words)
}

#[test]
fn bad_settings_are_named_with_key_value_and_what_was_expected() {
    let place = TestFolder::new();
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["rollout.group_sise=4"],
            &["unknown key `rollout.group_sise` (value 4)", "did you mean `rollout.group_size`?"],
        ),
        (&["optimiser.lr=1"], &["unknown key `optimiser.lr`", "did you mean `optimizer.lr`?"]),
        (&["colour=3"], &["unknown key `colour`"]),
        (&["optimizer.lr=fast"], &["optimizer.lr = \"fast\": expected a number"]),
        (&["optimizer.lr=0"], &["optimizer.lr = 0", "a positive number"]),
        (&["rollout.group_size=-1"], &["rollout.group_size = -1", "a whole number"]),
        (&["method=grpo", "rollout.group_size=1"], &["rollout.group_size = 1", "at least 2"]),
        (&["guidance.gamma=1.5"], &["guidance.gamma", "1.5", "[0, 1]"]),
        (&["guidance.gamma=-0.1"], &["guidance.gamma", "-0.1", "[0, 1]"]),
        (&["guidance.gamma.shape=wavy"], &["guidance.gamma.shape = \"wavy\"", "`linear`"]),
        (&["guidance.prompts=nonesuch"], &["guidance.prompts = \"nonesuch\"", "reasoning"]),
        (&["guidance.teacher=no/such/place"], &["guidance.teacher", "\"initial\"", "org/name"]),
        (&["rollout.temperature=0"], &["rollout.temperature = 0", "a positive number"]),
        (&["optimizer.mini_batch_questions=3"], &["optimizer.mini_batch_questions = 3", "divisor", "= 4"]),
        (&["rollout.questions_per_step=64"], &["rollout.questions_per_step = 64", "12"]),
        (&["loss.c_at_max_advantage=2"], &["loss.c_at_max_advantage = 2", "(-1, 1)"]),
        (&["loss.advantage_range=[9, 4]"], &["loss.advantage_range = [9, 4]", "the smaller first"]),
        (
            &["loss.low_confidence_below=1e-4"],
            &["loss.low_confidence_below = 0.0001: expected at least 0.0002"],
        ),
        (&["reward.scale=range"], &["reward.scale = \"range\"", "`std`"]),
        (&["model.date=yesterday"], &["model.date = \"yesterday\"", "2025-01-31"]),
        (
            &["model.path=no/such/folder"],
            &["model.path = \"no/such/folder\"", "a folder that exists, or org/name"],
        ),
        (&["model.device=gpu"], &["model.device = \"gpu\": expected `auto`", "there: `cpu`"]),
        (&["model.device=cuda:0"], &["model.device = \"cuda:0\": expected `auto`", "there: `cpu`"]),
        (&["model.path="], &["model.path = (not set)"]),
        (&["method="], &["method = (not set)", "one of `thinktuning`, `grpo`, `sft`"]),
        (&["run.steps="], &["run.steps = (not set)", "e.g. 58"]),
        (&["model=3"], &["model = 3: expected a section of settings"]),
        (&["held_out=3"], &["held_out = 3: expected a list of sections"]),
        (&["rollout.top_p=0.9"], &["rollout.top_p = 0.9: expected nothing", "whole distribution"]),
        (&["data.path=lost.jsonl"], &["data.path = \"lost.jsonl\"", "a file that exists"]),
        (&["data.task=homework"], &["data.task = \"homework\"", "\"word-problems\", its name now"]),
        (&["data.task=jsonl"], &["data.task = \"jsonl\"", "gsm8k or word-problems"]),
        (&["data.limit=0"], &["data.limit = 0", "at least 1"]),
        (&["sft.epochs=2"], &["`sft` is set", "does not use it"]),
        (&["method=sft"], &["`rollout` is set, and method sft does not use it"]),
        (&["seed"], &["--set seed: expected key.path=value"]),
    ];
    for (set, words) in cases {
        train(&place, set, 2, words);
    }
    assert!(!place.path("runs").exists(), "nothing is begun");
    place.write("broken.toml", "method = \n");
    place.fails(&["train", "broken.toml"], 2, &["broken.toml is not TOML", "line 1"]);
    place.fails(&["train", "absent.toml"], 2, &["cannot read the configuration absent.toml"]);
}

#[test]
fn old_names_are_answered_with_the_new() {
    let place = TestFolder::new();
    for (old, now) in [
        ("guidance.starved_steps=3", "guidance.max_unguided_steps"),
        ("guidance.off_below=0.1", "guidance.min_gamma"),
        ("guidance.horizon=3", "guidance.last_step"),
        ("loss.c1=0.1", "loss.c_at_max_advantage"),
        ("loss.c2=0.1", "loss.c_at_min_advantage"),
        ("loss.a_range=[0, 1]", "loss.advantage_range"),
        ("loss.tau=0.1", "loss.low_confidence_below"),
    ] {
        train(&place, &[old], 2, &[&format!("is now called `{now}`: rename it")]);
    }
}

#[test]
fn bad_data_is_named_by_file_and_line() {
    let place = TestFolder::new();
    let bad = |text: &str, words: &[&str]| {
        place.write("bad.jsonl", text);
        train(&place, &["data.path=bad.jsonl"], 1, words);
    };
    let good = "{\"question\": \"1+1?\", \"answer\": \"#### 2\"}\n";
    bad(&format!("{good}not json\n"), &["bad.jsonl", "line 2"]);
    bad(&format!("{good}{good}{{\"question\": \"2+2?\"}}\n"), &["bad.jsonl", "line 3", "answer"]);
    bad(
        &format!("{{\"question\": \"2+2?\", \"answer\": \"four\"}}\n{good}"),
        &["bad.jsonl", "line 1", "####"],
    );
    bad("", &["bad.jsonl"]);
    let long = format!("{{\"question\": \"{}\", \"answer\": \"#### 2\"}}\n", "why ".repeat(900));
    bad(&[good, &long, good, good].concat(), &["question 1 has", "rollout.max_prompt_tokens = 512"]);
}

#[test]
fn bad_models_are_named_by_file() {
    let place = TestFolder::new();
    place.tiny_llama("bad", 2);
    let (weights, config) = (place.path("bad/model.safetensors"), place.path("bad/config.json"));
    let (good_weights, good_config) = (fs::read(&weights).unwrap(), fs::read_to_string(&config).unwrap());
    let bad = |words: &[&str]| {
        train(&place, &["model.path=bad"], 1, words);
        fs::write(&weights, &good_weights).unwrap();
        fs::write(&config, &good_config).unwrap();
    };
    let with = |from: &str, to: &str| {
        assert!(good_config.contains(from), "{good_config}");
        fs::write(&config, good_config.replace(from, to)).unwrap();
    };
    fs::remove_file(&weights).unwrap();
    bad(&["bad", "model.safetensors"]);
    fs::write(&weights, &good_weights[..good_weights.len() / 2]).unwrap();
    bad(&["bad/model.safetensors"]);
    fs::write(&weights, &good_weights[..5]).unwrap();
    bad(&["bad/model.safetensors"]);
    with("\"intermediate_size\":64", "\"intermediate_size\":96");
    bad(&["mlp.", "shape"]);
    with("\"num_hidden_layers\":2", "\"num_hidden_layers\":3");
    bad(&["model.layers.2."]);
    with("\"llama\"", "\"mamba\"");
    bad(&["mamba", "llama", "qwen3"]);
    let vocabulary = format!("\"vocab_size\":{}", thinktune_tasks::word_problems::vocabulary().len());
    with(&vocabulary, "\"vocab_size\":40");
    bad(&["vocab", "40"]);
    fs::write(&config, "{").unwrap();
    bad(&["bad/config.json"]);
    place.ok(&["logprobs", "bad", "--ids", "1,2"]);
}

#[test]
fn a_folder_of_another_run_is_refused_by_key_and_left_alone() {
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    place.ok(&["train", "tt.toml", "--set", "run.steps=1"]);
    let before = place.read("runs/tt/metrics.jsonl");
    train(
        &place,
        &["optimizer.lr=0.5", "seed=4"],
        2,
        &["`optimizer.lr` is 0.001 there and 0.5 now", "`seed` is 3 there and 4 now"],
    );
    place.tiny_llama("student", 9);
    train(&place, &["run.steps=1"], 2, &["runs/tt was begun with other model"]);
    assert_eq!(place.read("runs/tt/metrics.jsonl"), before);
    fs::create_dir(place.path("thesis")).unwrap();
    place.write("thesis/chapter.txt", "text");
    train(&place, &["out=thesis"], 2, &["thesis is not empty and is not a run folder"]);
}

#[test]
fn a_context_too_short_is_said_before_anything_is_begun() {
    let place = TestFolder::new();
    let config = place
        .read("student/config.json")
        .replace("\"max_position_embeddings\": 1024", "\"max_position_embeddings\": 200");
    place.write("student/config.json", &config);
    let words = ["rollout.max_response_tokens = 190: expected at most", "the model's context is 200"];
    train(&place, &["rollout.max_response_tokens=190"], 2, &words);
    let words = [
        "guidance.max_teacher_tokens = 96: expected a teacher with a longer context",
        "its context is 200 tokens, and a request of the prompt set \"word-problems\" takes",
    ];
    train(&place, &["guidance.teacher=student"], 2, &words);
    assert!(!place.path("runs").exists());
}

#[test]
fn ids_and_prompts_a_model_cannot_take() {
    let place = TestFolder::new();
    place.fails(&["logprobs", "model", "--ids", "1,99999"], 1, &["99999", "vocabulary"]);
    let long = "a ".repeat(6000);
    place.fails(&["generate", "model", "--prompt", &long], 1, &["4096"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_one_sentence() {
    let place = TestFolder::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = place.command(&["logprobs", "model", "--ids", "1,2"]);
    let output = command.stdout(full).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("thinktune: cannot write to stdout: No space left on device"), "{stderr}");
}

/// The file-size limit stands in for a disk that fills up while a checkpoint is written.
#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_fills_up_in_a_checkpoint_leaves_the_last_one_to_go_on_from() {
    let place = TestFolder::new();
    place.write("tt.toml", THINKTUNING);
    place.ok(&["train", "tt.toml", "--set", "out=runs/whole"]);
    place.write("limited.sh", "trap '' XFSZ\nulimit -f 40\nexec \"$0\" train tt.toml\n");
    let mut command = std::process::Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_thinktune");
    let output =
        command.args(["-c", &place.read("limited.sh"), binary]).current_dir(place.path("")).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("could not be written") && stderr.contains("is intact"), "{stderr}");
    place.ok(&["train", "tt.toml"]);
    assert_eq!(place.read("runs/tt/metrics.jsonl"), place.read("runs/whole/metrics.jsonl"));
    assert_eq!(place.read("runs/tt/final/MANIFEST.json"), place.read("runs/whole/final/MANIFEST.json"));
}

#[test]
fn earlier_names_lead_to_present_ones() {
    let place = TestFolder::new();
    place.fails(&["homework", "--seed", "2", "out"], 2, &["`homework` is called `word-problems` now"]);
    let args = ["eval", "model", "--benchmarks", "gsm8k,homework"];
    place.fails(&args, 2, &["--benchmarks homework: its name is word-problems now"]);
    let words = ["homework-catch-phrase", "its name is word-problems-catch-phrase now"];
    train(&place, &["guidance.prompts=homework-catch-phrase"], 2, &words);
}
