//! Reference models and numbers made by `fixtures/generate_families.py`, and comparisons that say how far apart two
//! things are. Shared by the tests of this crate and of the method.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use thinktune_policy::{SampleKey, Stream, TokenBatch};

/// The reference models, in the order of the generating script.
pub const FAMILIES: [&str; 5] = ["llama", "llama_untied", "mistral", "qwen2", "qwen3"];

/// `reference.json`: inputs, log-probs, losses.
#[derive(Deserialize)]
pub struct Reference {
    pub sequences: Vec<Sequence>,
    pub cases: BTreeMap<String, Case>,
    /// Other settings of the objective, over the log-probs of the case `aas`.
    pub variants: BTreeMap<String, Variant>,
    pub adamw: AdamWRuns,
    pub greedy: Greedy,
}

/// A prompt of `prompt` tokens and the response after it.
#[derive(Deserialize)]
pub struct Sequence {
    pub prompt: usize,
    pub tokens: Vec<u32>,
}

/// A loss over all response tokens; the vectors hold one number per response token, sequence after sequence.
#[derive(Deserialize)]
pub struct Case {
    #[serde(flatten)]
    pub settings: LossCase,
    pub loss: f64,
    pub taken: BTreeMap<String, usize>,
    pub logprobs: Vec<f32>,
    pub entropies: Vec<f32>,
    pub d_logprobs: Vec<f32>,
    pub old_logprobs: Vec<f32>,
    pub ref_logprobs: Vec<f32>,
}

/// Loss and derivatives of another setting of the objective.
#[derive(Deserialize)]
pub struct Variant {
    pub loss: f64,
    pub beta: f64,
    pub d_logprobs: Vec<f32>,
}

/// Constants of a loss; `advantages` and `guided` hold one value per sequence.
#[derive(Deserialize)]
pub struct LossCase {
    pub advantages: Vec<f64>,
    pub guided: Vec<bool>,
    pub eps_low: f64,
    pub eps_high: f64,
    pub c1: f64,
    pub c2: f64,
    pub a_min: f64,
    pub a_max: f64,
    pub tau: f64,
    pub beta: f64,
    pub temperature: f32,
}

#[derive(Deserialize)]
pub struct AdamWRuns {
    pub lr: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    pub weight_decay: f32,
    pub max_grad_norm: f32,
    pub nll: AdamWRun,
    pub aas: AasRun,
}

/// Losses before each update and after the last; gradient norms before clipping.
#[derive(Deserialize)]
pub struct AdamWRun {
    pub losses: Vec<f64>,
    pub grad_norms: Vec<f64>,
}

#[derive(Deserialize)]
pub struct AasRun {
    #[serde(flatten)]
    pub settings: LossCase,
    #[serde(flatten)]
    pub run: AdamWRun,
    pub lr: f32,
}

#[derive(Deserialize)]
pub struct Greedy {
    pub prompt: Vec<u32>,
    pub tokens: Vec<u32>,
}

/// A family's folder of reference files.
pub fn folder(family: &str) -> PathBuf {
    let crates = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    crates.join("model/tests/fixtures/families").join(family)
}

/// A family's model directory.
pub fn model_dir(family: &str) -> PathBuf {
    folder(family).join("model")
}

impl Reference {
    pub fn of(family: &str) -> Self {
        let path = folder(family).join("reference.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// All sequences in one batch, every response token a target.
    pub fn batch(&self, temperature: f32) -> TokenBatch {
        self.part(0..self.sequences.len(), temperature)
    }

    /// Some of the sequences in one batch, every response token a target.
    pub fn part(&self, which: std::ops::Range<usize>, temperature: f32) -> TokenBatch {
        let mut batch = TokenBatch::new(temperature);
        for sequence in &self.sequences[which] {
            batch.push(&sequence.tokens, sequence.prompt..sequence.tokens.len());
        }
        batch
    }
}

/// Tensors of a family's `reference.safetensors` whose names begin with `prefix`, the prefix removed. Reads the
/// format by itself: eight bytes of length, a JSON header with the place of each tensor, the numbers.
pub fn tensors(family: &str, prefix: &str) -> BTreeMap<String, Vec<f32>> {
    #[derive(Deserialize)]
    struct Entry {
        dtype: String,
        data_offsets: (usize, usize),
    }
    let bytes = std::fs::read(folder(family).join("reference.safetensors")).expect("reference tensors");
    let (length, rest) = bytes.split_first_chunk().expect("eight bytes");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let entries: BTreeMap<String, Entry> = serde_json::from_slice(header).expect("a header");
    let mut out = BTreeMap::new();
    for (name, entry) in entries {
        if let Some(rest) = name.strip_prefix(prefix) {
            assert_eq!(entry.dtype, "F32", "{name}");
            let numbers = data[entry.data_offsets.0..entry.data_offsets.1].as_chunks().0;
            out.insert(rest.to_owned(), numbers.iter().map(|number| f32::from_le_bytes(*number)).collect());
        }
    }
    assert!(!out.is_empty(), "no reference tensor begins with {prefix}");
    out
}

/// Largest absolute difference; fails on a difference in length or on anything that is not a number.
pub fn max_diff(what: &str, got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len(), "{what}: number of values");
    got.iter().zip(want).enumerate().fold(0.0, |worst: f64, (i, (a, b))| {
        let diff = f64::from(*a) - f64::from(*b);
        assert!(diff.is_finite(), "{what}[{i}]: got {a}, want {b}");
        worst.max(diff.abs())
    })
}

/// Fails if any value is further than `tolerance` from its counterpart; prints the largest difference.
pub fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: f64) {
    let worst = max_diff(what, got, want);
    println!("measured {what}: {worst:.2e} (tolerance {tolerance:.0e})");
    assert!(worst <= tolerance, "{what}: {worst:e} apart, tolerance {tolerance:e}");
}

/// Fails at the first value whose bits differ.
pub fn assert_same_bits(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}: number of values");
    let differing = got.iter().zip(want).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    let worst = max_diff(what, got, want);
    assert!(differing == 0, "{what}: {differing} of {} values differ, at most by {worst:e}", got.len());
}

/// Distances of a gradient from its reference.
#[derive(Debug, Clone, Copy, Default)]
pub struct GradientDistance {
    /// |got - want| / |want|, L2 over the tensor.
    pub norm: f64,
    /// Largest |got - want| / (|want| + floor), where floor = 5 % of the tensor's root mean square.
    pub element: f64,
}

/// How far a tensor's gradient is from its reference.
pub fn gradient_distance(what: &str, got: &[f32], want: &[f32]) -> GradientDistance {
    max_diff(what, got, want);
    let square = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let scale = square(want);
    assert!(scale > 0.0, "{what}: the reference gradient is zero");
    let difference: Vec<f32> = got.iter().zip(want).map(|(a, b)| a - b).collect();
    let floor = 0.05 * (scale / want.len() as f64).sqrt();
    let element = difference.iter().zip(want).map(|(d, w)| f64::from(d.abs()) / (f64::from(w.abs()) + floor));
    GradientDistance { norm: (square(&difference) / scale).sqrt(), element: element.fold(0.0, f64::max) }
}

/// A key for the `sample`-th completion of the `question`-th prompt.
pub fn key(question: u32, sample: u32) -> SampleKey {
    SampleKey { stream: Stream::Attempt, step: 1, question, sample }
}
