//! Every family against PyTorch: logits, log-probs, entropies, gradients of the method's losses, optimizer steps.
//! The numbers come from `fixtures/generate_families.py`; `docs/numerics.md` lists the measured differences
//! (`cargo test --release -p thinktune-model --test families -- --nocapture --test-threads 1`).

mod common;

use common::{FAMILIES, Reference, assert_close, folder, gradient_distance, key, model_dir, tensors};
use thinktune_compute::Reference as PlainLoops;
use thinktune_model::{Device, LocalModel, ModelSpec, Precision, load_params};
use thinktune_policy::{AdamW, Generate, Prompt, Sampling, Score, Train};

/// Loads a family onto one backend.
type Load = fn(&str) -> LocalModel;

/// Every family on every backend.
fn subjects() -> impl Iterator<Item = (&'static str, Load)> {
    FAMILIES.into_iter().flat_map(|family| [(family, on_cpu as Load), (family, on_reference as Load)])
}

fn on_cpu(family: &str) -> LocalModel {
    LocalModel::load(&model_dir(family), Device::Cpu, Precision::F32)
        .unwrap_or_else(|e| panic!("{family}: {e}"))
}

fn on_reference(family: &str) -> LocalModel {
    let params = load_params(&model_dir(family)).unwrap_or_else(|e| panic!("{family}: {e}"));
    LocalModel::on(PlainLoops, params, Precision::F32).unwrap_or_else(|e| panic!("{family}: {e}"))
}

#[test]
fn logits_agree() {
    for (family, load) in subjects() {
        let reference = Reference::of(family);
        let want = tensors(family, "logits.");
        let mut model = load(family);
        for (i, sequence) in reference.sequences.iter().enumerate() {
            let got = model.logits(&sequence.tokens).expect("logits");
            assert_close(&format!("{family} logits of sequence {i}"), &got, &want[&i.to_string()], 1e-4);
        }
    }
}

#[test]
fn logprobs_and_entropies_agree() {
    for (family, load) in subjects() {
        let reference = Reference::of(family);
        let mut model = load(family);
        let case = &reference.cases["grpo"];
        let batch = reference.batch(case.settings.temperature);
        for (pass, scores) in [
            ("score", model.score(&batch).expect("score")),
            ("forward", Train::forward(&mut model, &batch).expect("forward")),
        ] {
            assert_close(&format!("{family} {pass} log-probs"), &scores.logprobs, &case.logprobs, 1e-4);
            assert_close(&format!("{family} {pass} entropies"), &scores.entropies, &case.entropies, 1e-4);
        }
    }
}

#[test]
fn gradients_agree() {
    for (family, load) in subjects() {
        let reference = Reference::of(family);
        for (name, case) in &reference.cases {
            let mut model = load(family);
            Train::forward(&mut model, &reference.batch(case.settings.temperature)).expect("forward");
            model.backward(&case.d_logprobs).expect("backward");
            let want = tensors(family, &format!("grad.{name}."));
            let (mut norm, mut element) = (0.0f64, 0.0f64);
            let (gradient, layout) =
                (model.gradients().expect("gradients"), &model.params().expect("weights").layout);
            assert_eq!(layout.tensors().len(), want.len(), "{family}: number of tensors");
            for (tensor, range) in layout.tensors() {
                let what = format!("{family} {name} gradient of {}", tensor.name);
                let want = want.get(&tensor.name).unwrap_or_else(|| panic!("{what}: no reference"));
                let distance = gradient_distance(&what, &gradient[range.clone()], want);
                assert!(distance.norm <= 1e-3 && distance.element <= 1e-3, "{what}: {distance:?}");
                norm = norm.max(distance.norm);
                element = element.max(distance.element);
            }
            println!("measured {family} {name} gradients: norm-wise {norm:.2e}, element-wise {element:.2e}");
        }
    }
}

/// Products of operands rounded to bf16 against PyTorch's in f32: apart by the rounding, and no more.
#[test]
fn bf16_is_f32_but_for_its_rounding() {
    for (family, load) in subjects() {
        let reference = Reference::of(family);
        let case = &reference.cases["grpo"];
        let mut model = load(family).with_precision(Precision::Bf16);
        let batch = reference.batch(case.settings.temperature);
        let scores = Train::forward(&mut model, &batch).expect("forward");
        assert_close(&format!("{family} bf16 log-probs"), &scores.logprobs, &case.logprobs, 2e-1);
        model.backward(&case.d_logprobs).expect("backward");
        let (gradient, want) = (model.gradients().expect("gradients"), tensors(family, "grad.grpo."));
        let mut norm = 0.0f64;
        for (tensor, range) in model.params().expect("weights").layout.tensors() {
            let what = format!("{family} bf16 gradient of {}", tensor.name);
            let distance = gradient_distance(&what, &gradient[range.clone()], &want[&tensor.name]);
            assert!(distance.norm > 0.0 && distance.norm <= 1e-1, "{what}: {distance:?}");
            norm = norm.max(distance.norm);
        }
        println!("measured {family} bf16 gradients: norm-wise {norm:.2e}");
    }
}

/// Mean negative log-likelihood of all response tokens: the loss whose derivative needs no method.
#[test]
fn ten_adamw_steps_agree() {
    for (family, load) in subjects() {
        let reference = Reference::of(family);
        let run = &reference.adamw;
        let settings = AdamW {
            lr: run.lr,
            beta1: run.beta1,
            beta2: run.beta2,
            eps: run.eps,
            weight_decay: run.weight_decay,
            max_grad_norm: run.max_grad_norm,
        };
        let mut model = load(family);
        let batch = reference.batch(1.0);
        let count = batch.targets.len();
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        for step in 0..run.nll.losses.len() {
            let scores = Train::forward(&mut model, &batch).expect("forward");
            let sum: f64 = scores.logprobs.iter().map(|l| f64::from(*l)).sum();
            losses.push((-sum / count as f64) as f32);
            if step < run.nll.grad_norms.len() {
                model.backward(&vec![-1.0 / count as f32; count]).expect("backward");
                let report = model.update(&settings).expect("update");
                assert_eq!(report.updates, step as u64 + 1);
                norms.push((report.grad_norm / run.nll.grad_norms[step]) as f32);
            }
        }
        let want: Vec<f32> = run.nll.losses.iter().map(|l| *l as f32).collect();
        assert_close(&format!("{family} losses of ten AdamW steps"), &losses, &want, 1e-4);
        assert_close(&format!("{family} gradient norms, relative"), &norms, &[1.0; 10], 1e-3);
    }
}

#[test]
fn greedy_continuations_agree() {
    for (family, load) in subjects() {
        let greedy = Reference::of(family).greedy;
        let mut model = load(family);
        let mut sampling = Sampling::plain(0, greedy.tokens.len(), Vec::new());
        sampling.temperature = 0.0;
        let prompts = [Prompt { tokens: greedy.prompt.into(), keys: vec![key(0, 0)] }];
        let out = model.generate(&prompts, &sampling, &mut |_| {}).expect("generate");
        assert_eq!(out[0][0].tokens, greedy.tokens, "{family}");
    }
}

/// Published checkpoints spell the configuration as transformers 4 did, new ones as transformers 5 does.
#[test]
fn both_spellings_of_the_configuration_mean_the_same() {
    for family in FAMILIES {
        let dir = tempfile::tempdir().expect("temporary directory");
        std::fs::copy(folder(family).join("hub_config.json"), dir.path().join("config.json")).expect("copy");
        let old = ModelSpec::from_dir(dir.path()).unwrap_or_else(|e| panic!("{family}: {e}"));
        let new = ModelSpec::from_dir(&model_dir(family)).unwrap_or_else(|e| panic!("{family}: {e}"));
        assert_eq!(old, new, "{family}");
    }
}

/// The references would not notice a part that does nothing: each part of a family must change its logits.
#[test]
fn every_part_of_a_family_matters() {
    let shift = |family: &str, change: &dyn Fn(&mut thinktune_model::Params)| {
        let reference = Reference::of(family);
        let mut params = load_params(&model_dir(family)).expect("weights");
        change(&mut params);
        let got = LocalModel::new(params, Device::Cpu, Precision::F32)
            .expect("model")
            .logits(&reference.sequences[4].tokens)
            .expect("logits");
        common::max_diff(family, &got, &tensors(family, "logits.")["4"])
    };
    let zero = |part: &'static str| {
        move |params: &mut thinktune_model::Params| {
            for (tensor, range) in params.layout.tensors().to_vec() {
                if tensor.name.ends_with(part) {
                    params.data[range].fill(0.0);
                }
            }
        }
    };
    assert!(shift("llama", &|_| ()) < 1e-4);
    assert!(shift("llama", &|params| params.spec.rope_scaling = None) > 0.1);
    assert!(shift("mistral", &|params| params.spec.rope_theta *= 10.0) > 0.1);
    assert!(shift("qwen2", &zero("q_proj.bias")) > 0.1);
    assert!(shift("qwen2", &zero("v_proj.bias")) > 0.1);
    assert!(shift("qwen3", &zero("q_norm.weight")) > 0.1);
    assert!(shift("qwen3", &|params| params.spec.norm_eps = 1e-2) > 1e-3);
}
