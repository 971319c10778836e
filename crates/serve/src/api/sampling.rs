//! How many answers are wanted and how they are drawn: what both endpoints share.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use thinktune_policy::{SampleKey, Sampling, Stream};

use super::error::ApiError;
use super::fields::Fields;

/// Samples per prompt at most.
const MOST_SAMPLES: usize = 128;
/// Stop strings at most, and bytes of each.
const MOST_STOPS: usize = 16;
const LONGEST_STOP: usize = 512;
/// Alternatives per token at most.
pub(crate) const MOST_ALTERNATIVES: usize = 20;

/// What a request says of sampling.
pub(crate) struct Wanted {
    /// Everything but how many tokens.
    pub(crate) sampling: Sampling,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) n: usize,
    pub(crate) stops: Arc<[String]>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Whether the request named a seed.
    seeded: bool,
    pub(crate) extension: Option<Extension>,
}

/// `"thinktune"` of a request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Extension {
    /// Keys the random numbers of the first sample.
    key: Option<(Stream, u32, u32, u32)>,
    /// Goes before `seed`.
    seed: Option<u64>,
    /// A longer prompt is refused.
    pub(crate) max_prompt_tokens: Option<usize>,
}

impl Wanted {
    /// Reads the fields; `stop` are the model's stop tokens, `seed` is the server's.
    pub(crate) fn read(fields: &Fields, stop: &[u32], seed: u64) -> Result<Self, ApiError> {
        fields.refuse_unsupported()?;
        let n = fields.count("n", 1..=MOST_SAMPLES)?.unwrap_or(1);
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
        let mut sampling =
            Sampling::plain(given.unwrap_or(seed), 0, if ignore_eos { Vec::new() } else { stop.to_vec() });
        read_distribution(fields, &mut sampling)?;
        let options = fields.raw("stream_options").and_then(|options| options.get("include_usage"));
        Ok(Self {
            sampling,
            max_tokens: None,
            n,
            stops: read_stops(fields)?.into(),
            stream: fields.get("stream")?.unwrap_or(false),
            include_usage: options.and_then(Value::as_bool).unwrap_or(false),
            seeded: given.is_some(),
            extension,
        })
    }

    /// Keys of the samples of prompt number `prompt`; `request` counts the requests that named no seed.
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

/// A whole number, negative ones too, as some clients draw it from all 64 bits.
fn read_seed(fields: &Fields) -> Result<Option<u64>, ApiError> {
    match fields.raw("seed") {
        None => Ok(None),
        Some(value) => match value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned)) {
            Some(seed) => Ok(Some(seed)),
            None => Err(ApiError::field("seed", format!("seed = {value}: expected a whole number"))),
        },
    }
}

fn read_distribution(fields: &Fields, sampling: &mut Sampling) -> Result<(), ApiError> {
    let expect = |ok: bool, name: &str, value: String, expected: &str| match ok {
        true => Ok(()),
        false => Err(ApiError::field(name, format!("{name} = {value}: expected {expected}"))),
    };
    if let Some(temperature) = fields.get::<f32>("temperature")? {
        let ok = temperature.is_finite() && temperature >= 0.0;
        expect(ok, "temperature", temperature.to_string(), "0 (greedy) or a positive number")?;
        sampling.temperature = temperature;
    }
    if let Some(top_p) = fields.get::<f32>("top_p")? {
        expect(top_p > 0.0 && top_p <= 1.0, "top_p", top_p.to_string(), "a number in (0, 1]")?;
        sampling.top_p = top_p;
    }
    if let Some(min_p) = fields.get::<f32>("min_p")? {
        expect((0.0..1.0).contains(&min_p), "min_p", min_p.to_string(), "a number in [0, 1)")?;
        sampling.min_p = min_p;
    }
    if let Some(top_k) = fields.get::<i64>("top_k")? {
        // 0 and -1 mean all tokens, here and elsewhere
        expect(top_k >= -1, "top_k", top_k.to_string(), "a positive number, or 0 for all tokens")?;
        sampling.top_k = usize::try_from(top_k).ok().filter(|k| *k > 0);
    }
    Ok(())
}

fn read_stops(fields: &Fields) -> Result<Vec<String>, ApiError> {
    let stops: Vec<String> = match fields.raw("stop") {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(_) => fields.get("stop")?.unwrap_or_default(),
    };
    if stops.len() > MOST_STOPS || stops.iter().any(|stop| stop.is_empty() || stop.len() > LONGEST_STOP) {
        let message = format!("stop: expected at most {MOST_STOPS} texts of 1 to {LONGEST_STOP} bytes");
        return Err(ApiError::field("stop", message));
    }
    Ok(stops)
}
