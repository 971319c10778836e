//! What is measured: a model of given weights or of a given shape, and the prompts it is asked by.

use std::sync::Arc;

use thinktune_method::act::questions::Questions;
use thinktune_method::rollout::Asked;
use thinktune_method::settings::RlSettings;
use thinktune_model::{LocalModel, ModelSpec, Params};
use thinktune_policy::{SampleKey, Stream, rng};
use thinktune_tasks::{AnswerKind, Question, load_gsm8k};
use thinktune_text::ChatTokenizer;

use crate::args::BenchArgs;
use crate::config::DEFAULT_DATE;
use crate::failure::UsageError;
use crate::model_source::ModelSource;
use crate::shapes;

/// Random values drawn; matrices repeat them. An odd number, so that rows of a matrix differ.
const DRAWN: usize = (1 << 18) + 1;

/// See the module.
pub struct Subject {
    /// The model.
    pub model: LocalModel,
    /// What it is, in words.
    pub name: String,
    tokenizer: Option<ChatTokenizer>,
}

impl Subject {
    /// Loads the model, or makes one of the shape. `check` sees the shape before any weight is there.
    ///
    /// # Errors
    /// A model that cannot be had, a shape nobody knows, what `check` refuses.
    pub fn open(
        args: &BenchArgs,
        offline: bool,
        check: impl Fn(&ModelSpec) -> Result<(), UsageError>,
    ) -> anyhow::Result<Self> {
        let Some(name) = &args.model else {
            let spec = shapes::by_name(&args.shape).ok_or_else(|| {
                let known = shapes::names().join(", ");
                UsageError(format!("--shape {:?}: expected one of {known}", args.shape))
            })?;
            check(&spec)?;
            let name = format!("shape {}, random weights", args.shape);
            return Ok(Self {
                model: LocalModel::new(random(spec, args.seed), args.device, args.precision.into())?,
                name,
                tokenizer: None,
            });
        };
        let dir = ModelSource::named(name)?.fetch(offline)?;
        check(&ModelSpec::from_dir(&dir)?)?;
        let tokenizer = args.data.is_some().then(|| ChatTokenizer::load(&dir, DEFAULT_DATE)).transpose()?;
        let model = LocalModel::load(&dir, args.device, args.precision.into())?;
        if let Some(tokenizer) = &tokenizer {
            tokenizer.check_vocab(model.spec().vocab_size)?;
        }
        Ok(Self { model, name: name.clone(), tokenizer })
    }

    /// The questions of every step.
    ///
    /// # Errors
    /// Questions that cannot be read, are too few, or too long for the model.
    pub fn questions(&self, args: &BenchArgs, settings: &RlSettings) -> anyhow::Result<Source> {
        let (Some(tokenizer), Some(path)) = (&self.tokenizer, &args.data) else {
            let vocab = self.model.spec().vocab_size;
            let (seed, count, length) = (args.seed, args.questions, args.prompt_tokens);
            return Ok(Source::Invented { seed, count, length, vocab });
        };
        let questions = load_gsm8k(path)?;
        if questions.len() < args.questions as usize {
            let (wanted, found) = (args.questions, questions.len());
            return Err(UsageError(format!(
                "--questions {wanted}: expected at most {found}, as many as {} holds",
                path.display()
            ))
            .into());
        }
        Ok(Source::Data(Questions::new(questions, settings, tokenizer)?))
    }
}

/// Where prompts come from.
pub enum Source {
    /// A file.
    Data(Questions),
    /// Random tokens, other ones every step.
    Invented {
        /// Keys them.
        seed: u64,
        /// Prompts per step.
        count: u32,
        /// Tokens of each.
        length: usize,
        /// Ids they are drawn from.
        vocab: usize,
    },
}

impl Source {
    /// The questions of `step` (from 1) with their prompts.
    pub fn of_step(&self, step: u32) -> Vec<Arc<Asked>> {
        match *self {
            Self::Data(ref questions) => questions.of_step(step),
            Self::Invented { seed, count, length, vocab } => (0..count)
                .map(|index| {
                    let question = Question {
                        index,
                        text: String::new(),
                        gold: String::new(),
                        solution: None,
                        kind: AnswerKind::Boxed,
                    };
                    let prompt = tokens(seed, vocab, SampleKey { step, question: index, ..KEY }, length);
                    Arc::new(Asked { question, prompt: prompt.into() })
                })
                .collect(),
        }
    }

    /// In words.
    pub fn name(&self) -> String {
        match self {
            Self::Data(questions) => format!("prompts from {} questions", questions.all().len()),
            Self::Invented { length, .. } => format!("prompts of {length} random tokens"),
        }
    }
}

/// Questions are not shuffled here, so the numbers of that stream are free.
pub const KEY: SampleKey = SampleKey { stream: Stream::Shuffle, step: 0, question: 0, sample: 0 };

/// Random token ids.
pub fn tokens(seed: u64, vocab: usize, key: SampleKey, count: usize) -> Vec<u32> {
    let draw = |i| (rng::uniform(seed, key, i) * vocab as f64) as u32;
    (0..count as u32).map(draw).collect()
}

/// Weights with the size of freshly drawn ones: matrices uniform with standard deviation 0.02, norms 1, biases 0. The
/// values repeat after [`DRAWN`], since the time of a product does not depend on them and drawing billions takes long.
fn random(spec: ModelSpec, seed: u64) -> Params {
    let bound = 0.02 * 3f64.sqrt();
    let key = SampleKey { stream: Stream::Init, ..KEY };
    let draw = |i| (bound * (2.0 * rng::uniform(seed, key, i) - 1.0)) as f32;
    let drawn: Vec<f32> = (0..DRAWN as u32).map(draw).collect();
    let mut params = Params::zeros(spec);
    let mut next = 0;
    for (tensor, range) in params.layout.tensors() {
        let mut values = &mut params.data[range.clone()];
        if tensor.name.ends_with("norm.weight") {
            values.fill(1.0);
        } else if tensor.decays() {
            while !values.is_empty() {
                let (piece, rest) = values.split_at_mut(values.len().min(DRAWN - next));
                piece.copy_from_slice(&drawn[next..next + piece.len()]);
                next = (next + piece.len()) % DRAWN;
                values = rest;
            }
        }
    }
    params
}
