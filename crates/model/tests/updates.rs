//! Before and after an update: saved and restored, frozen and moving, refused and accepted.

mod common;
#[path = "common/models.rs"]
mod models;

use common::{FAMILIES, assert_same_bits};
use models::{
    ADAMW, MODELS, derivative, generate, load, load_with, prompts, sampling, train_once, training_batch,
};
use thinktune_model::{Device, LocalModel, Precision};
use thinktune_policy::{Generate, Score, Train};

#[test]
fn a_saved_state_continues_bit_for_bit() {
    for name in MODELS {
        let mut model = load(name);
        let batch = training_batch(&model);
        for _ in 0..3 {
            train_once(&mut model, &batch);
        }
        let dir = tempfile::tempdir().expect("temporary directory");
        model.save_state(dir.path()).expect("save");
        let mut twin = load(name);
        twin.load_state(dir.path()).expect("load");
        assert_same_bits(
            &format!("{name}: restored weights"),
            &model.params().expect("weights").data,
            &twin.params().expect("weights").data,
        );
        for _ in 0..2 {
            let (a, b) = (train_once(&mut model, &batch), train_once(&mut twin, &batch));
            assert_same_bits(&format!("{name}: log-probs after resuming"), &a.0, &b.0);
            assert_same_bits(&format!("{name}: gradient after resuming"), &a.1, &b.1);
            assert_same_bits(&format!("{name}: weights after resuming"), &a.2, &b.2);
        }
        assert_eq!(
            model.update(&ADAMW).expect("update").updates,
            twin.update(&ADAMW).expect("update").updates
        );
    }
}

/// Nothing computed from the weights before an update is used after it.
#[test]
fn after_an_update_a_model_is_one_of_its_new_weights() {
    for name in MODELS {
        let mut model = load(name);
        let (batch, prompts) = (training_batch(&model), prompts(&model, 3));
        generate(&mut model, &prompts[2..], &sampling(1.0, 8));
        train_once(&mut model, &batch);
        let mut fresh = load_with(name, model.params().expect("weights"));
        let (after, expected) =
            [&mut model, &mut fresh].map(|m| generate(m, &prompts[2..], &sampling(1.0, 8))).into();
        assert_eq!(after, expected, "{name}");
        let scored = model.score(&batch).expect("score").logprobs;
        assert_same_bits(&format!("{name}: score"), &scored, &fresh.score(&batch).expect("score").logprobs);
    }
}

#[test]
fn a_frozen_copy_stays_as_it_was() {
    for name in MODELS {
        let mut model = load(name);
        let batch = training_batch(&model);
        let mut frozen = model.frozen().expect("frozen");
        let before = frozen.score(&batch).expect("score").logprobs;
        train_once(&mut model, &batch);
        let after = frozen.score(&batch).expect("score").logprobs;
        assert_same_bits(&format!("{name}: frozen copy"), &before, &after);
        assert_ne!(before, model.score(&batch).expect("score").logprobs, "{name}: the student moved");
    }
}

#[test]
fn an_update_that_is_not_finite_changes_nothing() {
    let (mut model, mut twin) = (load("llama"), load("llama"));
    let batch = training_batch(&model);
    train_once(&mut model, &batch);
    train_once(&mut twin, &batch);
    let before = model.params().expect("weights").data.clone();
    for poison in [f32::NAN, f32::INFINITY, 3e38] {
        Train::forward(&mut model, &batch).expect("forward");
        let mut bad = derivative(batch.targets.len());
        bad[3..6].fill(poison);
        let refused = model.backward(&bad).and_then(|()| model.update(&ADAMW).map(|_| ()));
        assert!(refused.is_err(), "a derivative of {poison} must be refused");
        assert_same_bits("weights after a refused update", &model.params().expect("weights").data, &before);
    }
    let (after, expected) = (train_once(&mut model, &batch), train_once(&mut twin, &batch));
    assert_same_bits("gradient after a refused update", &after.1, &expected.1);
    assert_same_bits("weights one update later", &after.2, &expected.2);
}

#[test]
fn weights_that_are_not_numbers_are_an_error() {
    for family in FAMILIES {
        for part in ["embed_tokens.weight", "q_proj.weight", "down_proj.weight", "model.norm.weight"] {
            let mut params = load(family).params().expect("weights");
            for (tensor, range) in params.layout.tensors().to_vec() {
                if tensor.name.ends_with(part) {
                    params.data[range].fill(f32::NAN);
                }
            }
            let mut model = LocalModel::new(params, Device::Cpu, Precision::F32).expect("model");
            let prompts = prompts(&model, 2);
            for temperature in [1.0, 0.0] {
                let out = model.generate(&prompts, &sampling(temperature, 4), &mut |_| {});
                assert!(out.is_err(), "{family}: generate with NaN in {part}, temperature {temperature}");
            }
            let batch = training_batch(&model);
            assert!(model.score(&batch).is_err(), "{family}: score with NaN in {part}");
            let before = model.params().expect("weights").data.clone();
            let trained = Train::forward(&mut model, &batch)
                .and_then(|_| model.backward(&derivative(batch.targets.len())))
                .and_then(|()| model.update(&ADAMW));
            assert!(trained.is_err(), "{family}: an update with NaN in {part}");
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(&before),
                bits(&model.params().expect("weights").data),
                "{family}: weights after a refused update"
            );
        }
    }
}
