//! A place to run the program in: a temporary folder with a tiny random Llama and invented questions.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use thinktune_model::{Dtype, ModelSpec, init_random, save_params};
use thinktune_tasks::word_problems;

/// A folder to run in.
pub struct TestFolder {
    dir: TempDir,
}

/// What a run of the program gave.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl TestFolder {
    /// With `model/` (random weights), `student/` (a copy of the demo's) and `questions.jsonl` (12 invented questions).
    pub fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.tiny_llama("model", 1);
        place.demo_student();
        let line = |i: u32| {
            let (a, b) = (i + 2, 3 * i + 1);
            format!(
                "{{\"question\": \"Ann has {a} pens and buys {b} more. How many pens has she?\", \
                 \"answer\": \"She has {a} + {b} pens.\\n#### {}\"}}\n",
                a + b
            )
        };
        place.write("questions.jsonl", &(0..12).map(line).collect::<String>());
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// A random Llama of two narrow layers with the word problems' tokenizer and chat template.
    pub fn tiny_llama(&self, name: &str, seed: u64) {
        let dir = self.path(name);
        word_problems::write_model_files(&dir).unwrap();
        let config = dir.join("config.json");
        let mut value: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
        for (key, size) in [
            ("hidden_size", 32),
            ("intermediate_size", 64),
            ("num_hidden_layers", 2),
            ("num_attention_heads", 4),
            ("num_key_value_heads", 2),
            ("head_dim", 8),
            ("max_position_embeddings", 4096),
        ] {
            value[key] = size.into();
        }
        fs::write(&config, value.to_string()).unwrap();
        let params = init_random(ModelSpec::from_dir(&dir).unwrap(), seed);
        save_params(&dir, &params, Dtype::F32).unwrap();
    }

    /// A copy of the demo's student.
    fn demo_student(&self) {
        let from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/word-problems/student"));
        for (name, bytes) in files(from) {
            fs::create_dir_all(self.path("student")).unwrap();
            fs::write(self.path("student").join(name), bytes).unwrap();
        }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thinktune"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_remove("THINKTUNE_LOG")
            .env("HF_HUB_OFFLINE", "1");
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Runs and demands success; the standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Runs and demands failure with this code and these words in one line on stderr.
    pub fn fails(&self, args: &[&str], code: i32, words: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "{args:?}: {}{}", ran.stdout, ran.stderr);
        let line = ran.stderr.lines().find(|line| line.starts_with("thinktune: "));
        let line = line.unwrap_or_else(|| panic!("{args:?}: no sentence in {:?}", ran.stderr)).to_string();
        for word in words {
            assert!(line.contains(word), "{args:?}: {word:?} is not in {line:?}");
        }
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        line
    }

    /// Starts the program and waits for a line on its stderr.
    pub fn start_until(&self, args: &[&str], stall: Option<&str>, until: &str) -> Started {
        let mut command = self.command(args);
        if let Some(stall) = stall {
            command.env("THINKTUNE_TEST_STALL", stall);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        while !seen.contains(until) {
            let read = stderr.read_line(&mut seen).unwrap();
            assert!(read > 0, "{args:?} ended before {until:?}: {seen}");
        }
        Started { child, stderr }
    }
}

/// A running program.
pub struct Started {
    pub child: Child,
    pub stderr: BufReader<std::process::ChildStderr>,
}

impl Started {
    /// Kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// Every file below a folder with its bytes, by relative name.
pub fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(root: &Path, dir: &Path, out: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, out);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                out.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    let mut out = Vec::new();
    walk(dir, dir, &mut out);
    out.sort();
    out
}

/// A small ThinkTuning configuration on the invented questions, with the demo's student and teacher.
pub const THINKTUNING: &str = concat!(
    r#"
method = "thinktuning"
seed = 3

[model]
path = "student"

[data]
task = "gsm8k"
path = "questions.jsonl"
prompt_suffix = ""

[rollout]
questions_per_step = 4
group_size = 3
max_response_tokens = 96

[guidance]
gamma = 0.5
teacher = ""#,
    env!("CARGO_MANIFEST_DIR"),
    r#"/../../assets/word-problems/teacher"
prompts = "word-problems"
max_teacher_tokens = 96
max_unguided_steps = 100

[reward]
phrase = "1"

[optimizer]
lr = 1e-3
mini_batch_questions = 2

[run]
steps = 4
checkpoint_every = 2
"#
);

/// ThinkTuning on word problems with the demo's student and teacher, whose guidance is worth splicing in.
pub fn word_problems() -> String {
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/word-problems");
    format!(
        r#"
method = "thinktuning"
seed = 5

[model]
path = "{assets}/student"

[data]
task = "word-problems"
limit = 50

[rollout]
questions_per_step = 4
group_size = 4
max_response_tokens = 96

[guidance]
gamma = 0.5
teacher = "{assets}/teacher"
prompts = "word-problems"
max_teacher_tokens = 96

[optimizer]
lr = 1e-4
mini_batch_questions = 2

[run]
steps = 4
checkpoint_every = 2
log_logprobs = true
"#
    )
}
