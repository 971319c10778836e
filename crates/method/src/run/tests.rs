use super::*;
use crate::progress::Silent;
use crate::testing::{self, Stopper, same_bits, student, train};
use thinktune_runlog::{read_evaluations, read_held_out};

#[test]
fn an_interrupted_run_resumes_to_the_same_bytes() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut uninterrupted = student();
    train(&mut uninterrupted, testing::rl_settings(), whole.path(), &mut Silent);
    let end = train(&mut student(), testing::rl_settings(), parts.path(), &mut Stopper::after(3));
    assert_eq!(end, RunEnd::Interrupted { step: 3 });
    let mut resumed = student();
    train(&mut resumed, testing::rl_settings(), parts.path(), &mut Silent);
    assert!(same_bits(&uninterrupted, &resumed));
    assert_eq!(testing::folder_bytes(whole.path()), testing::folder_bytes(parts.path()));
}

/// A process that dies after a step is logged and before its checkpoint is the harder case: the logs are
/// ahead of the weights.
#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    let whole = tempfile::tempdir().unwrap();
    train(&mut student(), testing::rl_settings(), whole.path(), &mut Silent);
    for steps in [1, 3, 5] {
        let parts = tempfile::tempdir().unwrap();
        let mut killed = testing::Killer::after(steps);
        let dead = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            train(&mut student(), testing::rl_settings(), parts.path(), &mut killed)
        }));
        assert!(dead.is_err());
        train(&mut student(), testing::rl_settings(), parts.path(), &mut Silent);
        assert_eq!(testing::folder_bytes(whole.path()), testing::folder_bytes(parts.path()), "{steps}");
    }
}

/// Held-out sets are evaluated on time, change nothing of the training, and their metrics and answers survive a kill
/// and a resume like every other log.
#[test]
fn held_out_sets_are_evaluated_on_time_and_resume_exactly() {
    let settings = || {
        let mut settings = testing::rl_settings();
        settings.run.eval_every = Some(4);
        settings
    };
    let (plain, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut without, mut with) = (student(), student());
    train(&mut without, testing::rl_settings(), plain.path(), &mut Silent);
    train(&mut with, settings(), whole.path(), &mut Silent);
    assert!(same_bits(&without, &with));
    assert!(!plain.path().join("evaluations.jsonl").exists());
    let found = read_evaluations(whole.path()).unwrap().records;
    let places: Vec<(u64, &str)> = found.iter().map(|line| (line.step, line.set.as_str())).collect();
    let expected = [0, 4, 6].map(|step| [(step, "easy"), (step, "hard")]).concat();
    assert_eq!(places, expected);
    for (step, lines) in [0, 4, 6].into_iter().zip(found.chunks(2)) {
        let answers = read_held_out(whole.path(), step).unwrap().records;
        let kept: Vec<(u64, &str, f64)> =
            answers.iter().map(|line| (line.step, line.set.as_str(), line.tokens as f64)).collect();
        let expected = [0, 1].map(|set| (step, lines[set].set.as_str(), lines[set].response_tokens_mean));
        assert_eq!(kept, expected);
    }
    assert_eq!(std::fs::read_dir(whole.path().join("held_out")).unwrap().count(), 3);

    for steps in [1, 3, 5] {
        let parts = tempfile::tempdir().unwrap();
        let mut killed = testing::Killer::after(steps);
        let dead = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            train(&mut student(), settings(), parts.path(), &mut killed)
        }));
        assert!(dead.is_err());
        train(&mut student(), settings(), parts.path(), &mut Silent);
        assert_eq!(testing::folder_bytes(whole.path()), testing::folder_bytes(parts.path()), "{steps}");
    }
}

#[test]
fn a_checkpoint_holds_the_side_files_of_its_step() {
    let dir = tempfile::tempdir().unwrap();
    train(&mut student(), testing::rl_settings(), dir.path(), &mut Silent);
    for step in [2, 4, 6] {
        let file = dir.path().join(format!("checkpoints/step_00000{step}/side.txt"));
        assert_eq!(std::fs::read_to_string(file).unwrap(), step.to_string());
    }
}

/// Nothing is evaluated by a program that passes no hook, whatever the schedule says.
#[test]
fn a_run_without_hook_evaluates_nothing() {
    let schedule = Schedule { steps: 5, checkpoint_every: 2, eval_every: Some(4) };
    let due: Vec<u32> = (0..=5).filter(|&step| schedule.evaluation_is_due(step)).collect();
    assert_eq!(due, [0, 4, 5]);
    let dir = tempfile::tempdir().unwrap();
    let mut folder = testing::run_folder(dir.path());
    let sampled = evaluate_held_out(&mut student(), &mut None, 4, &mut folder, &mut Silent).unwrap();
    assert_eq!(sampled, 0);
    assert!(!dir.path().join("held_out").exists() && !dir.path().join("evaluations.jsonl").exists());
}

/// Fails at every evaluation.
struct Failing;

impl Evaluate for Failing {
    fn evaluate(
        &mut self,
        _: &mut dyn Generate,
        _: u32,
        _: &mut dyn Progress,
    ) -> Result<Vec<HeldOutResult>, EvaluateError> {
        Err("no questions".into())
    }
}

#[test]
fn a_failing_evaluation_names_step_and_cause() {
    let dir = tempfile::tempdir().unwrap();
    let (mut folder, mut hook) = (testing::run_folder(dir.path()), Failing);
    let hook: &mut dyn Evaluate = &mut hook;
    let error = evaluate_held_out(&mut student(), &mut Some(hook), 4, &mut folder, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("after step 4"), "{error}");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no questions");
}
