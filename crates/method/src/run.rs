//! The outer loop: step, log, checkpoint; resume; stop when asked to.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thinktune_policy::{Policy, Train};
use thinktune_runlog::RunFolder;

use crate::act::questions::Questions;
use crate::error::MethodError;
use crate::evaluate::{Exam, evaluate};
use crate::observer::{Observer, Phase, PhaseTokens};
use crate::record::{phase_tokens, rollout_records, step_metrics};
use crate::settings::{Checked, RlSettings, RunSettings, SettingError};
use crate::step::{Classroom, Step, step};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// All steps are done.
    Done {
        /// How many there were.
        steps: u32,
    },
    /// The observer asked to stop; a checkpoint is written.
    Interrupted {
        /// The last step done.
        step: u32,
    },
}

/// Runs ThinkTuning, or GRPO where gamma is 0, from the folder's last checkpoint until all steps are done or the
/// observer interrupts. Everything of a step is logged before its checkpoint is written. Where the settings say so,
/// the student sits the exams before the first step, every so many steps, and after the last.
///
/// # Errors
/// Settings without the teacher or reference they need, guidance that never reaches the loss, a loss that is not
/// finite, a failing model or disk. What was written before stays.
pub fn run_rl(
    room: &mut Classroom<'_>,
    questions: &Questions,
    settings: &Checked<RlSettings>,
    exams: &[Exam],
    folder: &mut RunFolder,
    observer: &mut dyn Observer,
) -> Result<RunEnd, MethodError> {
    check_room(room, settings)?;
    let (done, mut state) = load_checkpoint::<RunState>(room.student, folder)?.unwrap_or_default();
    let steps = settings.run.steps;
    if done == 0 {
        sit_exams(room, exams, settings, 0, folder, observer)?;
    }
    for number in done + 1..=steps {
        let made = step(room, questions, number, settings, observer)?;
        observer.phase(number, Phase::Write);
        let metrics = step_metrics(&made, questions, settings, state.updates);
        state.updates = metrics.updates_total;
        folder.write_rollouts(number.into(), &rollout_records(&made, settings))?;
        folder.append_metrics(&metrics)?;
        let evaluate = sit_exams(room, exams, settings, number, folder, observer)?;
        let tokens = PhaseTokens { evaluate, ..phase_tokens(&made) };
        if let Some(timings) = observer.timings(number, tokens) {
            folder.append_timings(&timings)?;
        }
        observer.step(&metrics);
        state.watch_for_starvation(&made, &metrics.rejected, settings.guidance.max_unguided_steps)?;
        let (last, interrupted) = (number == steps, observer.interrupted());
        if last || interrupted || number % settings.run.checkpoint_every == 0 {
            save_checkpoint(room.student, folder, observer, number, &state)?;
        }
        if interrupted && !last {
            return Ok(RunEnd::Interrupted { step: number });
        }
    }
    Ok(RunEnd::Done { steps })
}

/// Evaluates the student, where that is due after step `number`; how many tokens it sampled.
fn sit_exams(
    room: &mut Classroom<'_>,
    exams: &[Exam],
    settings: &RlSettings,
    number: u32,
    folder: &mut RunFolder,
    observer: &mut dyn Observer,
) -> Result<u64, MethodError> {
    let RunSettings { steps, eval_every, .. } = settings.run;
    let due = eval_every.is_some_and(|every| number.is_multiple_of(every) || number == steps);
    let mut tokens = 0;
    for exam in exams.iter().filter(|_| due) {
        observer.phase(number, Phase::Evaluate);
        let mut progress = |progress| observer.sampling(progress);
        let found = evaluate(room.student, room.language, exam, number, &mut progress)?;
        folder.append_evaluation(&found.metrics)?;
        observer.evaluated(&found.metrics);
        tokens += found.answers.iter().map(|answer| answer.tokens as u64).sum::<u64>();
    }
    Ok(tokens)
}

/// What the loop carries from step to step, beside the student.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct RunState {
    /// Optimizer updates made.
    updates: u64,
    /// Steps in a row with gamma > 0 and no guided token in the loss.
    starved: u32,
    /// Feedback rejected in those steps, by reason.
    rejected: BTreeMap<String, u64>,
}

impl RunState {
    /// Guidance that is asked for and never reaches the loss is an error, not a silence.
    fn watch_for_starvation(
        &mut self,
        step: &Step,
        rejected: &BTreeMap<String, u64>,
        limit: u32,
    ) -> Result<(), MethodError> {
        if step.help.gamma == 0.0 || step.train.shaped_tokens > 0 {
            self.starved = 0;
            self.rejected.clear();
            return Ok(());
        }
        self.starved += 1;
        for (reason, count) in rejected {
            *self.rejected.entry(reason.clone()).or_default() += count;
        }
        if self.starved < limit {
            return Ok(());
        }
        let counts: Vec<String> =
            self.rejected.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let rejected = if counts.is_empty() { "none".into() } else { counts.join(", ") };
        Err(MethodError::Starved { step: step.number, steps: self.starved, rejected })
    }
}

fn check_room(room: &Classroom<'_>, settings: &RlSettings) -> Result<(), MethodError> {
    let needs = |key: &str, value: f64, expected: &str| {
        let (key, expected) = (key.into(), expected.into());
        Err(MethodError::Setting(SettingError { key, value: value.to_string(), expected }))
    };
    let gamma = settings.guidance.gamma.start.max(settings.guidance.gamma.end);
    if gamma > 0.0 && room.teacher.is_none() {
        return needs("guidance.gamma", gamma, "0 where there is no teacher");
    }
    if settings.loss.beta > 0.0 && room.reference.is_none() {
        return needs("loss.beta", settings.loss.beta, "0 where there is no reference model");
    }
    Ok(())
}

/// Restores the student from the checkpoint the folder goes on from; the steps done and what was saved beside.
pub(crate) fn load_checkpoint<S: DeserializeOwned>(
    student: &mut (impl Train + ?Sized),
    folder: &RunFolder,
) -> Result<Option<(u32, S)>, MethodError> {
    let Some(checkpoint) = folder.resume_from() else { return Ok(None) };
    student.load_state(&checkpoint.dir)?;
    Ok(Some((checkpoint.step as u32, checkpoint.state()?)))
}

/// Writes the checkpoint after `step`.
pub(crate) fn save_checkpoint(
    student: &mut dyn Policy,
    folder: &mut RunFolder,
    observer: &mut dyn Observer,
    step: u32,
    state: &impl Serialize,
) -> Result<(), MethodError> {
    let checkpoint = folder.save_checkpoint(step.into(), state, |dir| {
        student.save_state(dir)?;
        observer.checkpoint_files(dir)
    })?;
    observer.checkpoint(&checkpoint);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::teacher::Teacher;
    use crate::observer::Silent;
    use crate::settings::{Aggregation, Ask, LowConfidence, RewardSettings};
    use crate::testing::{self, Bigram, Chars, ScriptedTeacher, Stopper};
    use std::path::Path;
    use thinktune_policy::Score;
    use thinktune_runlog::event::StepMetrics;
    use thinktune_runlog::{read_evaluations, read_metrics, read_rollouts};

    /// A student that answers `\boxed{0}`, `\boxed{2}` or rubbish, and sometimes does not end.
    fn student() -> Bigram {
        Bigram::writing(&["\\boxed{0}", "\\boxed{2}", "x"], 9.0)
    }

    fn exam(name: &str, questions: u32, temperature: f32) -> Exam {
        Exam {
            name: name.into(),
            questions: testing::sums(questions),
            ask: Ask::default(),
            samples: 2,
            temperature,
            max_response_tokens: 20,
            phrase: None,
            seed: 11,
        }
    }

    fn train_with(
        student: &mut Bigram,
        teacher: Option<&mut ScriptedTeacher>,
        settings: RlSettings,
        dir: &Path,
        observer: &mut dyn Observer,
    ) -> Result<RunEnd, MethodError> {
        let questions = Questions::new(testing::sums(9), &settings, &Chars).unwrap();
        let mut reference = student.clone();
        let reference = (settings.loss.beta > 0.0).then_some(&mut reference as &mut dyn Score);
        let teacher = teacher.map(|teacher| teacher as &mut dyn Teacher);
        let mut room = Classroom { student, language: &Chars, teacher, reference };
        let mut folder = testing::run_folder(dir);
        let exams = [exam("easy", 4, 0.0), exam("hard", 3, 1.0)];
        run_rl(&mut room, &questions, &Checked::new(settings).unwrap(), &exams, &mut folder, observer)
    }

    fn train(student: &mut Bigram, settings: RlSettings, dir: &Path, observer: &mut dyn Observer) -> RunEnd {
        let mut teacher = ScriptedTeacher;
        train_with(student, Some(&mut teacher), settings, dir, observer).unwrap()
    }

    fn metrics(dir: &Path) -> Vec<StepMetrics> {
        read_metrics(dir).unwrap().records
    }

    fn same_bits(a: &Bigram, b: &Bigram) -> bool {
        a.weights.iter().zip(&b.weights).all(|(a, b)| a.to_bits() == b.to_bits())
    }

    #[test]
    fn a_run_logs_what_happened() {
        let dir = tempfile::tempdir().unwrap();
        let (mut student, settings) = (student(), testing::rl_settings());
        assert_eq!(train(&mut student, settings, dir.path(), &mut Silent), RunEnd::Done { steps: 6 });
        let steps = metrics(dir.path());
        assert_eq!(steps.len(), 6);
        for step in &steps {
            assert_eq!((step.questions, step.responses), (4, 16));
            assert_eq!(step.chosen, step.guided + step.rejected.values().sum::<u64>());
            let fates = step.wrong_to_right + step.right_to_wrong + step.right_to_right + step.wrong_to_wrong;
            assert_eq!(fates, step.guided);
            assert_eq!(step.opinions_right, step.guided, "this teacher knows the answers");
            assert_eq!(
                step.updates_total,
                steps[..step.step as usize].iter().map(|s| s.updates).sum::<u64>()
            );
        }
        let sum = |of: fn(&StepMetrics) -> u64| steps.iter().map(of).sum::<u64>();
        assert!(sum(|s| s.guided) > 0 && sum(|s| s.guided_tokens) > 0 && sum(|s| s.wrong_to_right) > 0);
        let rejected: Vec<&String> = steps.iter().flat_map(|s| s.rejected.keys()).collect();
        assert!(rejected.iter().any(|reason| *reason == "bad_format_missing_tag"), "{rejected:?}");

        let rollouts = read_rollouts(dir.path(), 1).unwrap().records;
        assert_eq!(rollouts.len(), 16);
        let guided = rollouts.iter().find(|row| row.guided).expect("a guided row");
        assert_eq!(guided.authors.len(), 2);
        assert_eq!(guided.authors.iter().map(|run| run.tokens).sum::<usize>(), guided.tokens.len());
        assert!(guided.response.contains("\n\nHm.\n\n"), "{}", guided.response);
        assert!(guided.logprobs.as_ref().unwrap().iter().all(|logprob| logprob.is_finite()));
    }

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

    /// Held-out sets are evaluated on time, with settings of their own, change nothing of the training, and survive a
    /// kill and a resume like every other log.
    #[test]
    fn exams_are_sat_on_time_and_resume_to_the_same_bytes() {
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
        assert_eq!((found[0].questions, found[0].samples, found[1].questions), (4, 2, 3));
        assert_ne!(found[5].response_tokens_mean, found[1].response_tokens_mean, "another student by then");

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
    fn gamma_zero_is_grpo_byte_for_byte() {
        let mut settings = testing::rl_settings();
        settings.guidance.gamma.start = 0.0;
        settings.guidance.gamma.end = 0.0;
        let (with, without) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        train(&mut student(), settings.clone(), with.path(), &mut Silent);
        train_with(&mut student(), None, settings.clone(), without.path(), &mut Silent).unwrap();
        assert_eq!(testing::folder_bytes(with.path()), testing::folder_bytes(without.path()));

        let guided = tempfile::tempdir().unwrap();
        train(&mut student(), testing::rl_settings(), guided.path(), &mut Silent);
        assert_ne!(testing::folder_bytes(with.path()), testing::folder_bytes(guided.path()));
    }

    /// GRPO as it is written in textbooks, on the rollouts of the first step: the same gradient, by another road.
    #[test]
    fn one_update_of_grpo_worked_out_independently() {
        let mut settings = testing::rl_settings();
        settings.guidance.gamma.start = 0.0;
        settings.guidance.gamma.end = 0.0;
        settings.mini_batch_questions = 4;
        settings.run.steps = 1;
        settings.reward = RewardSettings { phrase: Some("2".into()), phrase_bonus: 0.5 };
        let dir = tempfile::tempdir().unwrap();
        let mut trained = student();
        train(&mut trained, settings.clone(), dir.path(), &mut Silent);

        let rows = read_rollouts(dir.path(), 1).unwrap().records;
        let mut expected = 0.0;
        let v = testing::VOCAB;
        let mut gradient = vec![0.0f64; v * v];
        let probability = |previous: usize, next: usize| {
            let row = &student().weights[previous * v..][..v].to_vec();
            f64::from(row[next]).exp() / row.iter().map(|&w| f64::from(w).exp()).sum::<f64>()
        };
        for row in &rows {
            let mut previous = 5;
            for &token in &row.tokens {
                let scale = -row.advantage / (rows.len() * row.tokens.len()) as f64;
                expected += scale;
                for next in 0..v {
                    let hit = if next == token as usize { 1.0 } else { 0.0 };
                    gradient[previous * v + next] += scale * (hit - probability(previous, next));
                }
                previous = token as usize;
            }
        }
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let step = &metrics(dir.path())[0];
        assert!(norm > 1e-3, "the test needs a gradient");
        assert!((step.grad_norm - norm).abs() < 1e-5 * norm, "{} {norm}", step.grad_norm);
        assert!((step.loss - expected).abs() < 1e-6, "{} {expected}", step.loss);
        assert_eq!(step.clip_fraction, 0.0);
    }

    #[test]
    fn micro_batches_do_not_change_the_run() {
        let run = |budget: usize, aggregation: Aggregation| {
            let dir = tempfile::tempdir().unwrap();
            let mut student = student();
            student.budget = budget;
            let mut settings = testing::rl_settings();
            settings.loss.aggregation = aggregation;
            settings.loss.beta = 0.1;
            train(&mut student, settings, dir.path(), &mut Silent);
            (student, metrics(dir.path()))
        };
        for aggregation in [Aggregation::SequenceMean, Aggregation::TokenMean, Aggregation::DrGrpo] {
            let ((one, logged), (many, logged_many)) = (run(100_000, aggregation), run(1, aggregation));
            assert!(many.forwards > 2 * one.forwards);
            for (a, b) in logged.iter().zip(&logged_many) {
                assert!((a.grad_norm - b.grad_norm).abs() <= 1e-5 * a.grad_norm, "{a:?} {b:?}");
                assert!((a.loss - b.loss).abs() < 1e-9 && (a.kl - b.kl).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn kl_keeps_the_student_near_the_reference() {
        let drift = |beta: f64| {
            let dir = tempfile::tempdir().unwrap();
            let mut settings = testing::rl_settings();
            settings.loss.beta = beta;
            settings.run.steps = 12;
            train(&mut student(), settings, dir.path(), &mut Silent);
            metrics(dir.path()).last().unwrap().kl
        };
        let (free, held) = (drift(1e-9), drift(3.0));
        assert!(held > 0.0 && held < 0.5 * free, "{held} {free}");
    }

    #[test]
    fn updates_are_counted_across_steps_that_make_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = testing::rl_settings();
        settings.guidance.gamma.start = 0.0;
        settings.guidance.gamma.end = 0.0;
        settings.rollout.questions_per_step = 1;
        settings.mini_batch_questions = 1;
        settings.run.steps = 40;
        settings.run.checkpoint_every = 20;
        // Of nine questions only one has an answer this student gives.
        train(&mut Bigram::writing(&["\\boxed{0}", "x"], 9.0), settings, dir.path(), &mut Silent);
        let steps = metrics(dir.path());
        let mut total = 0;
        for step in &steps {
            total += step.updates;
            assert_eq!(step.updates_total, total, "step {}", step.step);
        }
        let mut after_the_first = steps.iter().skip_while(|step| step.updates == 0);
        assert!(after_the_first.any(|step| step.updates == 0), "the test needs steps of both kinds");
    }

    #[test]
    fn flat_groups_are_not_forwarded_and_make_no_update() {
        let dir = tempfile::tempdir().unwrap();
        let mut student = Bigram::writing(&["x"], 30.0);
        let before = student.clone();
        let mut settings = testing::rl_settings();
        settings.guidance.gamma.start = 0.0;
        settings.guidance.gamma.end = 0.0;
        train(&mut student, settings.clone(), dir.path(), &mut Silent);
        assert_eq!(student.forwards, 0);
        assert!(same_bits(&before, &student));
        let step = &metrics(dir.path())[0];
        assert_eq!((step.updates, step.skipped_groups, step.equal_groups), (0, 4, 1.0));
        assert!(step.loss.is_nan() && step.grad_norm.is_nan(), "nothing to average is null, never 0/0");

        settings.loss.beta = 0.1;
        let dir = tempfile::tempdir().unwrap();
        train(&mut student, settings, dir.path(), &mut Silent);
        assert!(student.forwards > 0, "with KL every group is trained on");
        assert_eq!(metrics(dir.path())[0].kl, 0.0, "before the first update pi is pi_ref");
    }

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
        assert_eq!(metrics(dir.path()).len(), 3, "the starved steps can be read");
    }

    #[test]
    fn what_the_settings_need_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut student = student();
        let error =
            train_with(&mut student, None, testing::rl_settings(), dir.path(), &mut Silent).unwrap_err();
        assert!(error.to_string().contains("guidance.gamma = 0.5"), "{error}");
    }

    #[test]
    fn a_loss_that_is_not_finite_names_the_sample_and_keeps_the_weights() {
        let dir = tempfile::tempdir().unwrap();
        let mut student = student();
        student.poisoned = true;
        let before = student.clone();
        let mut teacher = ScriptedTeacher;
        let mut settings = testing::rl_settings();
        settings.run.check_logprobs = false;
        let error =
            train_with(&mut student, Some(&mut teacher), settings, dir.path(), &mut Silent).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("step 1: the loss of question ") && message.contains(", sample "),
            "{message}"
        );
        assert!(same_bits(&before, &student));
    }

    /// All other runs of these tests check their log-probs and find nothing.
    #[test]
    fn a_sampler_and_a_trainer_that_disagree_are_found_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut student = student();
        student.poisoned = true;
        let mut teacher = ScriptedTeacher;
        let error =
            train_with(&mut student, Some(&mut teacher), testing::rl_settings(), dir.path(), &mut Silent);
        let message = error.unwrap_err().to_string();
        assert!(
            message.contains("step 1: question ") && message.contains("the sampler recorded"),
            "{message}"
        );
    }

    #[test]
    fn the_fallback_to_the_clipped_ratio_knows_pi_old() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = testing::rl_settings();
        settings.run.log_logprobs = false;
        settings.loss.low_confidence = LowConfidence::Clip;
        train(&mut student(), settings, dir.path(), &mut Silent);
        let steps = metrics(dir.path());
        assert_eq!(steps.iter().map(|step| step.masked_tokens).sum::<u64>(), 0);
        assert!(read_rollouts(dir.path(), 1).unwrap().records.iter().all(|row| row.logprobs.is_none()));
    }
}
