//! Models whose runs are compared with each other, and what is run on them.
#![allow(dead_code)]

use thinktune_model::{Device, LocalModel, ModelSpec, Params, Precision, init_random, load_params};
use thinktune_policy::{AdamW, Completion, Generate, Prompt, Sampling, TokenBatch, Train};

use crate::common::{key, model_dir};

pub const ADAMW: AdamW =
    AdamW { lr: 3e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, max_grad_norm: 1.0 };

/// The reference models, and one whose sizes run past every tile and block of the kernels without
/// being a multiple of any; in both precisions. The reference models on the reference backend too.
pub const MODELS: [&str; 18] = [
    "llama",
    "llama_untied",
    "mistral",
    "qwen2",
    "qwen3",
    "wide",
    "llama bf16",
    "llama_untied bf16",
    "mistral bf16",
    "qwen2 bf16",
    "qwen3 bf16",
    "wide bf16",
    "llama on reference",
    "llama_untied on reference",
    "mistral on reference",
    "qwen2 on reference",
    "qwen3 on reference",
    "qwen3 bf16 on reference",
];

/// Too large for a thread's cache: sampled by all threads together.
pub const LARGE: &str = "large";

/// The large model in both precisions; not where the portable kernels run on a processor that multiplies and adds in
/// a function call, which takes minutes.
pub fn large() -> &'static [&'static str] {
    let slow = thinktune_cpu::isa() == thinktune_cpu::Isa::Portable && cfg!(target_arch = "x86_64");
    if slow { &[] } else { &[LARGE, "large bf16"] }
}

pub fn load(name: &str) -> LocalModel {
    let family = name.trim_end_matches(ON_REFERENCE).trim_end_matches(IN_BF16);
    load_with(name, params(family))
}

const ON_REFERENCE: &str = " on reference";
const IN_BF16: &str = " bf16";

/// Other weights on the backend and in the precision that `name` says.
pub fn load_with(name: &str, params: Params) -> LocalModel {
    let precision = if name.contains(IN_BF16) { Precision::Bf16 } else { Precision::F32 };
    let model = match name.ends_with(ON_REFERENCE) {
        true => LocalModel::on(thinktune_compute::Reference, params, precision),
        false => LocalModel::new(params, Device::Cpu, precision),
    };
    model.expect("model")
}

fn params(name: &str) -> Params {
    let (width, ffn, head_dim, vocab_size) = match name {
        "wide" => (136, 301, 26, 1031),
        LARGE => (448, 1030, 72, 5003),
        family => return load_params(&model_dir(family)).expect("weights"),
    };
    let spec = ModelSpec::from_dir(&model_dir("llama_untied")).expect("spec");
    let spec = ModelSpec { vocab_size, width, heads: 6, kv_heads: 2, head_dim, ffn, context: 400, ..spec };
    let mut params = init_random(spec, 7);
    for (tensor, range) in params.layout.tensors().to_vec() {
        if tensor.decays() {
            params.data[range].iter_mut().for_each(|w| *w *= 5.0);
        }
    }
    params
}

/// Prompts of different lengths; the last two begin alike.
pub fn prompts(model: &LocalModel, samples: u32) -> Vec<Prompt> {
    let vocab = model.spec().vocab_size as u32;
    let scale = model.spec().context.div_ceil(64);
    [1, 7 * scale, 12 * scale, 17 * scale]
        .into_iter()
        .enumerate()
        .map(|(question, length)| {
            let salt = question.min(2) as u32;
            let tokens: Vec<u32> =
                (0..length as u32).map(|i| (i * i * 7 + i * 3 + salt * 11) % vocab).collect();
            let keys = (0..samples).map(|sample| key(question as u32, sample)).collect();
            Prompt { tokens: tokens.into(), keys }
        })
        .collect()
}

pub fn sampling(temperature: f32, max_tokens: usize) -> Sampling {
    let mut sampling = Sampling::plain(11, max_tokens, vec![2, 5]);
    sampling.temperature = temperature;
    sampling
}

pub fn generate(model: &mut LocalModel, prompts: &[Prompt], sampling: &Sampling) -> Vec<Vec<Completion>> {
    model.generate(prompts, sampling, &mut |_| {}).expect("generate")
}

pub fn threads<R: Send>(count: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(count).build().expect("thread pool").install(work)
}

/// Uneven derivatives of both signs, a zero among them.
pub fn derivative(targets: usize) -> Vec<f32> {
    (0..targets).map(|i| ((i * 5) % 7) as f32 / 10.0 - 0.3).collect()
}

/// Rows long and short, all of whose tokens are targets.
pub fn training_batch(model: &LocalModel) -> TokenBatch {
    let mut batch = TokenBatch::new(1.0);
    for prompt in prompts(model, 1).iter().skip(1) {
        batch.push(&prompt.tokens, 1..prompt.tokens.len());
        batch.push(&prompt.tokens[..2], [1]);
    }
    batch
}

/// A training step on part of the reference sequences; gives the scores, the gradient and the new weights.
pub fn train_once(model: &mut LocalModel, batch: &TokenBatch) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let scores = Train::forward(model, batch).expect("forward");
    model.backward(&derivative(batch.targets.len())).expect("backward");
    let gradient = model.gradients().expect("gradients");
    model.update(&ADAMW).expect("update");
    (scores.logprobs, gradient, model.params().expect("weights").data.clone())
}
