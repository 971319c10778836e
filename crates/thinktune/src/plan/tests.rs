use super::*;
use std::path::Path;

use thinktune_method::help::choose::choose;
use thinktune_method::help::gamma::gamma;
use thinktune_method::settings::RewardScale;
use toml::Value;

use crate::config;

fn config_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            config_files(&path, out);
        } else {
            assert_eq!(path.extension().unwrap(), "toml", "{}", path.display());
            out.push(path);
        }
    }
}

/// Every shipped configuration makes a plan, once its model and data are there.
#[test]
fn every_shipped_configuration_resolves() {
    let mut files = Vec::new();
    config_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs"), &mut files);
    assert!(files.len() >= 7, "{files:?}");
    let place = tempfile::tempdir().unwrap();
    let (data, held_out) = (place.path().join("data.jsonl"), place.path().join("held_out.jsonl"));
    std::fs::write(&data, "").unwrap();
    std::fs::write(&held_out, "other questions").unwrap();
    let present = [("model.path", place.path()), ("guidance.teacher", place.path()), ("data.path", &data)];
    for file in files {
        let mut config = Config::load(&file, &[]).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for (key, path) in present {
            if let Some(given) = config.0.get(key).and_then(Value::as_str).filter(|given| *given != "initial")
            {
                assert!(
                    !given.starts_with(['/', '.']),
                    "{}: {given} is not a path a stranger has",
                    file.display()
                );
                config.0.set(key, path.display().to_string().into());
            }
        }
        for set in config.0.get("held_out").and_then(Value::as_array).cloned().unwrap_or_default() {
            let mut set = crate::config::element_of("held_out", &set);
            set.set("held_out.path", held_out.display().to_string().into());
            config.0.set("held_out", Value::Array(set.remove("held_out").into_iter().collect()));
        }
        resolve(config).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

/// The paper's configuration spells out every setting, and all but model, data and run are the defaults.
#[test]
fn the_defaults_are_the_papers_settings() {
    let paper = include_str!("../../../../configs/gsm8k-llama-3.2-3b.toml");
    let data = tempfile::NamedTempFile::new().unwrap();
    let path = format!("data.path={:?}", data.path().display().to_string());
    let spelt_out = Config::parse(paper, std::slice::from_ref(&path)).unwrap();
    let bare = "method = 'thinktuning'\nmodel.path = 'meta-llama/Llama-3.2-3B-Instruct'\n\
                data.task = 'gsm8k'\nrun.steps = 58\nseed = 1\nout = 'runs/gsm8k-llama-3.2-3b'\n\
                guidance.last_step = 50\n";
    let defaults = resolve(Config::parse(bare, &[path]).unwrap()).unwrap().config;
    let resolved = resolve(spelt_out.clone()).unwrap().config;
    assert_eq!(resolved, spelt_out, "the file is complete");
    assert_eq!(defaults, resolved);
}

/// A plan from the defaults and some settings.
fn plan_with(set: &[&str]) -> Plan {
    let base = ["method=thinktuning", "model.path=org/name", "data.task=word-problems", "run.steps=58"];
    let set: Vec<String> = base.iter().chain(set).map(|set| set.to_string()).collect();
    resolve(Config::parse("", &set).unwrap()).unwrap()
}

fn rl_of(plan: &Plan) -> &RlPlan {
    let Job::Rl(rl) = &plan.job else { panic!("a run of steps") };
    rl
}

/// The recipe's 1,024 chosen rows: 128 questions, one row each, in eight steps. With t = (step - 1) / 16 gamma is 0.0606
/// at step 8 and 0.055 at step 9; divided by 15 it would be 0.058 at step 8, and only seven steps would be guided.
#[test]
fn the_default_schedule_guides_steps_1_to_8() {
    for set in [&["guidance.last_step=50"][..], &[]] {
        let plan = plan_with(set);
        let guidance = &rl_of(&plan).settings.guidance;
        let gammas: Vec<f64> = (1..=58).map(|step| gamma(guidance, 58, step)).collect();
        assert!(gammas[..8].iter().all(|&gamma| gamma > 0.06), "{gammas:?}");
        assert!(gammas[8..].iter().all(|&gamma| gamma == 0.0), "{gammas:?}");
        assert!((gammas[7] - 0.060625).abs() < 1e-12, "{}", gammas[7]);
        let chosen = |gamma| choose(&[0, 1, 2, 3, 4], gamma, 1, 1, 1).len();
        assert_eq!(gammas.iter().map(|&gamma| 128 * chosen(gamma)).sum::<usize>(), 1024);
        assert_eq!((chosen(0.01), chosen(0.39), chosen(0.4)), (1, 1, 2));
    }
}

#[test]
fn advantage_range_follows_the_group_size() {
    let range = |set: &[&str]| rl_of(&plan_with(set)).settings.loss.advantage_range;
    assert_eq!(range(&["rollout.group_size=4"]), [-1.5, 1.5]);
    assert_eq!(range(&["rollout.group_size=1"]), [-1.0, 1.0]);
    assert_eq!(range(&["rollout.group_size=4", "loss.advantage_range=[-4, 4]"]), [-4.0, 4.0]);
}

#[test]
fn dr_grpo_drops_the_standard_deviation() {
    let scale = |set: &[&str]| rl_of(&plan_with(set)).settings.reward.scale;
    assert_eq!(scale(&[]), RewardScale::Std);
    assert_eq!(scale(&["loss.aggregation=dr_grpo"]), RewardScale::None);
    assert_eq!(scale(&["loss.aggregation=dr_grpo", "reward.scale=std"]), RewardScale::Std);
}

/// The released code's run is the paper's but for the objective.
#[test]
fn the_released_code_differs_in_the_objective_alone() {
    let data = tempfile::NamedTempFile::new().unwrap();
    let set = [format!("data.path={:?}", data.path().display().to_string()), "out=runs/same".into()];
    let load = |text: &str| resolve(Config::parse(text, &set).unwrap()).unwrap();
    let paper = load(include_str!("../../../../configs/gsm8k-llama-3.2-3b.toml"));
    let mut released = load(include_str!("../../../../configs/gsm8k-llama-3.2-3b-released-code.toml"));
    let loss = rl_of(&released).settings.loss.clone();
    assert_eq!((loss.c_at_max_advantage, loss.c_at_min_advantage), (-1e-3, -1e-3));
    let kept: Vec<&str> = vec!["low_confidence", "aggregation", "c_at_max_advantage", "c_at_min_advantage"];
    for key in kept.into_iter().chain(["advantage_range"]) {
        let key = format!("loss.{key}");
        assert_ne!(released.config.0.get(&key), paper.config.0.get(&key), "{key}");
        released.config.0.set(&key, paper.config.0.get(&key).unwrap().clone());
    }
    assert_eq!(released.config, paper.config);
}

/// The record in a run folder is read as the same configuration, to the byte.
#[test]
fn a_record_is_read_as_itself() {
    let (data, other) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let (path, held_out) = (data.path().display().to_string(), other.path().display().to_string());
    let text = format!(
        "method = 'thinktuning'\nmodel.path = 'org/name'\ndata.task = 'gsm8k'\ndata.path = {path:?}\nrun.steps = 3\n\
         run.eval_every = 1\nguidance.gamma = 1\nguidance.teacher = {{ url = 'http://h/v1', model = 'm' }}\n\
         optimizer.lr = 1\n[[held_out]]\nbenchmark = 'word-problems'\n[[held_out]]\nbenchmark = 'gsm8k'\npath = {held_out:?}\n"
    );
    let config = resolve(Config::parse(&text, &[]).unwrap()).unwrap().config;
    let record = config.to_toml();
    let again = resolve(Config::parse(&record, &[]).unwrap()).unwrap().config;
    assert_eq!(again, config);
    assert_eq!(again.to_toml(), record);
    for line in [
        "lr = 1.0\n",
        "[[held_out]]\nbenchmark = \"word-problems\"\n",
        "[guidance.teacher]\n",
        "device = \"cpu\"\n",
    ] {
        assert!(record.contains(line), "{line:?} is not in {record}");
    }
    let changed = config.changed_to_toml();
    assert!(changed.contains("lr = 1.0\n") && !changed.contains("eps_low"), "{changed}");
}

/// The accuracy on questions that were trained on is no accuracy on held-out ones.
#[test]
fn a_held_out_set_is_not_the_training_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (training, copy, other) = (file("train", "one\n"), file("copy", "one\n"), file("other", "two\n"));
    let again = format!("{}/../{}/train", dir.path().display(), dir.path().file_name().unwrap().display());
    let planned = |held_out: &str| {
        let text = format!(
            "method = 'grpo'\nmodel.path = 'org/name'\ndata.task = 'gsm8k'\ndata.path = {training:?}\nrun.steps = 3\n\
             run.eval_every = 1\n[[held_out]]\nbenchmark = 'gsm8k'\npath = {held_out:?}\n"
        );
        resolve(Config::parse(&text, &[]).unwrap()).map_err(|error| format!("{error:#}"))
    };
    for (held_out, what) in [(&training, "the same file"), (&again, "the same file"), (&copy, "a copy of it")]
    {
        let error = planned(held_out).unwrap_err();
        for word in
            [&format!("held_out[0].path = {held_out:?}"), &format!("data.path = {training:?} is {what}")]
        {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
    planned(&other).unwrap();
}

/// The reference is a configuration; with what must be given, it is that of the defaults.
#[test]
fn the_reference_tells_the_defaults() {
    let data = tempfile::NamedTempFile::new().unwrap();
    let given = [
        "method=thinktuning".to_string(),
        "model.path=org/name".into(),
        "data.task=gsm8k".into(),
        format!("data.path={:?}", data.path().display().to_string()),
        "run.steps=3".into(),
        "guidance.gamma.steps=16".into(),
        "guidance.min_gamma=0.06".into(),
        "sft=".into(),
    ];
    let told = resolve(Config::parse(&config::reference(), &given).unwrap()).unwrap().config;
    let used = resolve(Config::parse("", &given).unwrap()).unwrap().config;
    assert_eq!(used.to_toml(), told.to_toml());
}

/// The GRPO configurations of the word problems are its ThinkTuning ones with nobody guided.
#[test]
fn the_baselines_differ_in_guidance_alone() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/word-problems");
    let load = |name: &str, set: &[String]| {
        let mut config = Config::load(&configs.join(name), set).unwrap();
        config.0.set("out", "runs/same".into());
        config.0.set("model.path", env!("CARGO_MANIFEST_DIR").into());
        config
    };
    for kind in ["", "-catch-phrase"] {
        let grpo = resolve(load(&format!("grpo{kind}.toml"), &[])).unwrap().config;
        let guided = load(&format!("thinktuning{kind}.toml"), &["method=grpo".into()]);
        assert_eq!(resolve(guided).unwrap().config, grpo, "{kind}");
    }
}

#[test]
fn a_remote_teacher_is_judged_key_by_key() {
    let data = tempfile::NamedTempFile::new().unwrap();
    let base = format!(
        "method = 'thinktuning'\nmodel.path = 'org/name'\ndata.task = 'gsm8k'\ndata.path = {:?}\nrun.steps = 3\n",
        data.path().display().to_string()
    );
    let plan = |teacher: &str| {
        let config = Config::parse(&format!("{base}guidance.teacher = {teacher}"), &[])?;
        resolve(config)
    };
    let good = plan("{ url = 'http://localhost:8000/v1', model = 'm', retries = 2 }").unwrap();
    let again = resolve(Config::parse(&good.config.to_toml(), &[]).unwrap()).unwrap();
    assert_eq!(again.config, good.config, "what is written to the run folder is enough to run again");
    let Job::Rl(rl) = &good.job else { panic!("a step") };
    let Some(Help { teacher: Teacher::Remote { settings, tokenizer: None }, .. }) = &rl.help else {
        panic!("a remote teacher")
    };
    assert_eq!((settings.retries, settings.concurrency, settings.extension), (2, 8, true));
    for (teacher, word) in [
        ("{ url = 'localhost', model = 'm' }", "guidance.teacher.url"),
        ("{ url = 'http://me:secret@host/v1', model = 'm' }", "without a password"),
        ("{ url = 'http://h/v1', model = '' }", "guidance.teacher.model"),
        ("{ url = 'http://h/v1', model = 'm', concurrency = 0 }", "guidance.teacher.concurrency"),
        ("{ url = 'http://h/v1', model = 'm', api = 'completions' }", "guidance.teacher.tokenizer"),
        ("{ url = 'http://h/v1', model = 'm', key_env = 'NO_SUCH_VARIABLE' }", "guidance.teacher.key_env"),
        ("{ url = 'http://h/v1', model = 'm', urll = 'x' }", "urll"),
        ("{ url = 'http://h/v1' }", "model"),
        ("7", "guidance.teacher"),
    ] {
        let error = format!("{:#}", plan(teacher).unwrap_err());
        assert!(error.contains(word), "{teacher}: {error}");
    }
}
