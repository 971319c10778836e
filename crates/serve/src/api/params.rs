//! Parameters of generation that both endpoints share: the number of answers, and how their tokens are drawn.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use thinktune_policy::{SampleKey, Sampling, Stream};

use super::error::ApiError;
use super::fields::Fields;

/// Most samples of a prompt.
const MAX_SAMPLES: usize = 128;
/// Most stop strings, and most bytes of each.
const MAX_STOPS: usize = 16;
const MAX_STOP_BYTES: usize = 512;
/// Most alternatives of a token.
pub(crate) const MAX_ALTERNATIVES: usize = 20;

/// Parameters of generation in a request.
pub(crate) struct GenerationParams {
    /// Settings of sampling; the endpoint sets `max_tokens`.
    pub(crate) sampling: Sampling,
    /// Answers to each prompt.
    pub(crate) n: usize,
    /// Texts that end an answer.
    pub(crate) stops: Arc<[String]>,
    pub(crate) stream: bool,
    /// A stream ends with the counts of tokens.
    pub(crate) include_usage: bool,
    /// The request named a seed.
    seeded: bool,
    pub(crate) extension: Option<Extension>,
}

/// The field `thinktune` of a request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Extension {
    /// Key of the random numbers of the first sample.
    key: Option<(Stream, u32, u32, u32)>,
    /// Seed, in place of the request's `seed`.
    seed: Option<u64>,
    /// Longest prompt, in tokens.
    max_prompt_tokens: Option<usize>,
}

impl GenerationParams {
    /// Reads the fields of a request; `stop` are the model's stop tokens, `seed` is the server's.
    pub(crate) fn read(fields: &Fields, stop: &[u32], seed: u64) -> Result<Self, ApiError> {
        fields.refuse_unsupported()?;
        let n = fields.count("n", 1..=MAX_SAMPLES)?.unwrap_or(1);
        if let Some(best_of) = fields.get::<usize>("best_of")?.filter(|best_of| *best_of != n) {
            let message = format!("best_of = {best_of}: expected n, {n}; other values are not supported");
            return Err(ApiError::field("best_of", message));
        }
        let extension: Option<Extension> = fields.get("thinktune")?;
        let given = match extension.as_ref().and_then(|extension| extension.seed) {
            Some(seed) => Some(seed),
            None => read_seed(fields)?,
        };
        let ignore_eos = fields.get("ignore_eos")?.unwrap_or(false);
        let stop = if ignore_eos { Vec::new() } else { stop.to_vec() };
        let mut sampling = Sampling::plain(given.unwrap_or(seed), 1, stop);
        read_distribution(fields, &mut sampling)?;
        let options = fields.raw("stream_options").and_then(|options| options.get("include_usage"));
        Ok(Self {
            sampling,
            n,
            stops: read_stops(fields)?.into(),
            stream: fields.get("stream")?.unwrap_or(false),
            include_usage: options.and_then(Value::as_bool).unwrap_or(false),
            seeded: given.is_some(),
            extension,
        })
    }

    /// Longest prompt that the request allows, in tokens.
    pub(crate) fn max_prompt_tokens(&self) -> Option<usize> {
        self.extension.as_ref().and_then(|extension| extension.max_prompt_tokens)
    }

    /// Keys of the samples of prompt number `prompt`; `request` numbers the requests that named no seed.
    pub(crate) fn keys(&self, prompt: usize, request: impl FnOnce() -> u32) -> Vec<SampleKey> {
        let first = match self.extension.as_ref().and_then(|extension| extension.key) {
            Some((stream, step, question, sample)) => SampleKey { stream, step, question, sample },
            None if self.seeded => {
                SampleKey { stream: Stream::Serve, step: 0, question: prompt as u32, sample: 0 }
            }
            None => SampleKey {
                stream: Stream::ServeUnseeded,
                step: request(),
                question: prompt as u32,
                sample: 0,
            },
        };
        (0..self.n as u32)
            .map(|sample| SampleKey { sample: first.sample.wrapping_add(sample), ..first })
            .collect()
    }
}

/// Reads a seed. It may be negative, because some clients draw it from all 64 bits.
fn read_seed(fields: &Fields) -> Result<Option<u64>, ApiError> {
    match fields.raw("seed") {
        None => Ok(None),
        Some(value) => match value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned)) {
            Some(seed) => Ok(Some(seed)),
            None => Err(ApiError::field("seed", format!("seed = {value}: expected a whole number"))),
        },
    }
}

/// Reads how tokens are drawn; the ranges are [`Sampling`]'s.
fn read_distribution(fields: &Fields, sampling: &mut Sampling) -> Result<(), ApiError> {
    if let Some(temperature) = fields.get("temperature")? {
        sampling.temperature = temperature;
    }
    if let Some(top_p) = fields.get("top_p")? {
        sampling.top_p = top_p;
    }
    if let Some(min_p) = fields.get("min_p")? {
        sampling.min_p = min_p;
    }
    if let Some(top_k) = fields.get::<i64>("top_k")? {
        // 0 and -1 mean all tokens, here and in other servers
        if top_k < -1 {
            let message = format!("top_k = {top_k}: expected a positive number, or 0 for all tokens");
            return Err(ApiError::field("top_k", message));
        }
        sampling.top_k = usize::try_from(top_k).ok().filter(|k| *k > 0);
    }
    sampling.check_ranges().map_err(|error| ApiError::field(error.name, error.to_string()))
}

fn read_stops(fields: &Fields) -> Result<Vec<String>, ApiError> {
    let stops: Vec<String> = match fields.raw("stop") {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(_) => fields.get("stop")?.unwrap_or_default(),
    };
    if stops.len() > MAX_STOPS || stops.iter().any(|stop| stop.is_empty() || stop.len() > MAX_STOP_BYTES) {
        let message = format!("stop: expected at most {MAX_STOPS} texts of 1 to {MAX_STOP_BYTES} bytes");
        return Err(ApiError::field("stop", message));
    }
    Ok(stops)
}
