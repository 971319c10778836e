//! Guidance that never comes, that dries up, and what is counted of it.

use std::path::Path;

use thinktune_policy::{GenerateProgress, Teacher, TeacherError, TeacherReply, TeacherRequest};
use thinktune_runlog::{latest_checkpoint, read_rollouts};

use super::metrics;
use crate::progress::Silent;
use crate::rl::*;
use crate::run::RunEnd;
use crate::testing::{self, Bigram, ScriptedTeacher, Watcher, student, train, train_with};

#[test]
fn guidance_that_never_arrives_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = testing::rl_settings();
    settings.guidance.max_feedback_tokens = 1;
    settings.guidance.max_unguided_steps = 3;
    let mut teacher = ScriptedTeacher;
    let error =
        train_with(&mut student(), Some(&mut teacher), settings, dir.path(), &mut Silent).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("step 3") && message.contains("feedback_too_long"), "{message}");
    assert!(message.contains("guidance.max_feedback_tokens = 1: raise it"), "{message}");
    assert_eq!(metrics(dir.path()).len(), 3, "the unguided steps can be read");
}

/// Gives feedback in the first two steps and nothing usable after them.
struct DryingTeacher;

impl Teacher for DryingTeacher {
    fn replies(
        &mut self,
        requests: &[TeacherRequest],
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<TeacherReply>, TeacherError> {
        let mut replies = ScriptedTeacher.replies(requests, progress)?;
        for (request, reply) in requests.iter().zip(&mut replies) {
            if request.key.step > 2 {
                *reply = TeacherReply::Ended { text: "Fine!".into(), tokens: 6 };
            }
        }
        Ok(replies)
    }
}

/// Keeps what the user is told, and dies after so many steps.
struct Listener(Vec<String>, u32);

impl Watcher for Listener {
    fn notice(&mut self, text: &str) {
        self.0.push(text.into());
    }

    fn logged(&mut self) {
        self.1 -= 1;
        assert!(self.1 > 0, "killed");
    }
}

#[test]
fn guidance_that_dries_up_ends_with_a_notice() {
    let mut settings = testing::rl_settings();
    settings.run.steps = 8;
    settings.guidance.max_unguided_steps = 2;
    let (whole, mut listener) = (tempfile::tempdir().unwrap(), Listener(Vec::new(), 100));
    let run = |dir: &Path, watcher: &mut dyn Watcher| {
        train_with(&mut student(), Some(&mut DryingTeacher), settings.clone(), dir, watcher)
    };
    assert_eq!(run(whole.path(), &mut listener).unwrap(), RunEnd::Done { steps: 8 });
    let steps = metrics(whole.path());
    let first_without = steps.iter().position(|step| step.gamma == 0.0).expect("guidance ends");
    assert!(steps[0].guided > 0 && (3..=4).contains(&first_without), "{first_without}");
    assert!(steps[first_without..].iter().all(|step| step.gamma == 0.0 && step.chosen == 0));
    assert_eq!(listener.0.len(), 1, "{:?}", listener.0);
    let words =
        [&format!("guidance ends after step {first_without}")[..], "bad_format_missing_tag", "gamma is 0"];
    assert!(words.iter().all(|word| listener.0[0].contains(word)), "{:?}", listener.0);

    for killed_after in 1..=7 {
        let parts = tempfile::tempdir().unwrap();
        let dead = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(parts.path(), &mut Listener(Vec::new(), killed_after))
        }));
        assert!(dead.is_err());
        run(parts.path(), &mut Silent).unwrap();
        assert_eq!(
            testing::folder_bytes(whole.path()),
            testing::folder_bytes(parts.path()),
            "{killed_after}"
        );
    }
}

/// The totals in a checkpoint are those of the steps logged before it, also after a kill.
#[test]
fn totals_cover_the_steps_before_a_resume() {
    let dir = tempfile::tempdir().unwrap();
    let dead = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        train(&mut student(), testing::rl_settings(), dir.path(), &mut testing::Killer::after(3))
    }));
    assert!(dead.is_err());
    train(&mut student(), testing::rl_settings(), dir.path(), &mut Silent);
    let state: RlState = latest_checkpoint(dir.path()).unwrap().unwrap().state().unwrap();
    let mut expected = RunTotals::default();
    metrics(dir.path()).iter().for_each(|step| expected.add(step));
    let text = |totals: &RunTotals| serde_json::to_string(totals).unwrap();
    assert_eq!(text(&state.totals), text(&expected));
    assert_eq!((expected.steps, expected.responses, expected.groups), (6, 96, 24));
    let ledger = &expected.behaviours["unclassified"];
    let replies = expected.guided + expected.rejected["bad_format_missing_tag"];
    assert_eq!((ledger.used, ledger.valid), (replies, expected.guided), "\"Hm.\" shows no behaviour");
    assert!(ledger.wrong_to_right > 0 && ledger.uplift > 0.0, "this teacher knows the answers: {ledger:?}");
    let earlier: RlState = serde_json::from_str("{\"updates\":3,\"starved\":1,\"rejected\":{}}").unwrap();
    assert_eq!((earlier.updates, earlier.totals, earlier.guidance_ended), (3, RunTotals::default(), None));
}

#[test]
fn flat_groups_are_counted_as_right_or_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = testing::rl_settings();
    settings.guidance.gamma.start = 0.0;
    settings.guidance.gamma.end = 0.0;
    // Of nine questions only the first has this answer.
    train(&mut Bigram::writing(&["\\boxed{0}"], 30.0), settings, dir.path(), &mut Silent);
    let steps = metrics(dir.path());
    let sum = |of: fn(&StepMetrics) -> u64| steps.iter().map(of).sum::<u64>();
    let (right, wrong) = (sum(|step| step.all_right_groups), sum(|step| step.all_wrong_groups));
    assert!(right > 0 && wrong > right, "{right} {wrong}");
    assert_eq!(right + wrong, sum(|step| step.questions));
    assert_eq!(sum(|step| step.wrong["wrong_answer"]), 4 * wrong);
    assert!(RlRun::summary(&steps[0]).contains("flat groups 100 %"), "{}", RlRun::summary(&steps[0]));
    let why: Vec<Option<String>> =
        read_rollouts(dir.path(), 1).unwrap().records.into_iter().map(|row| row.why_wrong).collect();
    assert!(why.contains(&Some("wrong_answer".into())), "{why:?}");
}
