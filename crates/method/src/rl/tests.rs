mod guidance;

use std::path::Path;

use super::*;
use crate::progress::Silent;
use crate::run::RunEnd;
use crate::settings::{Aggregation, LowConfidence, RewardSettings};
use crate::testing::{self, Bigram, ScriptedTeacher, same_bits, student, train, train_with};
use thinktune_runlog::{read_metrics, read_rollouts};

/// The metrics of a run, step by step.
fn metrics(dir: &Path) -> Vec<StepMetrics> {
    read_metrics(dir).unwrap().records
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
        assert_eq!(step.updates_total, steps[..step.step as usize].iter().map(|s| s.updates).sum::<u64>());
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
    settings.reward = RewardSettings { phrase: Some("2".into()), phrase_bonus: 0.5, ..settings.reward };
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
fn what_the_settings_need_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut student = student();
    let error = train_with(&mut student, None, testing::rl_settings(), dir.path(), &mut Silent).unwrap_err();
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
    let error = train_with(&mut student, Some(&mut teacher), settings, dir.path(), &mut Silent).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("step 1: the loss of question ") && message.contains(", sample "), "{message}");
    assert!(same_bits(&before, &student));
}

/// All other runs of these tests check their log-probs and find nothing.
#[test]
fn a_sampler_and_a_trainer_that_disagree_are_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut student = student();
    student.poisoned = true;
    let mut teacher = ScriptedTeacher;
    let error = train_with(&mut student, Some(&mut teacher), testing::rl_settings(), dir.path(), &mut Silent);
    let message = error.unwrap_err().to_string();
    assert!(message.contains("step 1: question ") && message.contains("the sampler recorded"), "{message}");
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
