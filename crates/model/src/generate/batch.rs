//! Rows decoded side by side: one token for each per pass over the weights.

use std::sync::Arc;

use thinktune_policy::rng::SampleRng;
use thinktune_policy::{Completion, Drawn, Finish, ModelError, SampleKey, Sampling};

use super::cache::{Preamble, Segment};
use super::choose::{alternatives, choose};
use crate::decoder::{Activations, Decoder, Run, Workspace};

/// A row being decoded.
pub(super) struct Row {
    /// Whose it is, in its owner's terms.
    pub(super) prompt: usize,
    pub(super) sample: usize,
    sampling: Arc<Sampling>,
    /// Likeliest tokens wanted beside each that is drawn.
    top: Option<usize>,
    rng: SampleRng,
    prefix: Arc<Segment>,
    own: Segment,
    /// Tokens before the completion.
    prompt_len: usize,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
}

/// What a row is made of.
pub(super) struct NewRow<'a> {
    pub(super) prompt: usize,
    pub(super) sample: usize,
    pub(super) key: SampleKey,
    pub(super) sampling: &'a Arc<Sampling>,
    pub(super) top: Option<usize>,
    pub(super) prefix: &'a Arc<Segment>,
    pub(super) prompt_len: usize,
}

/// A row that has ended, and whose it was.
pub(super) struct Ended {
    pub(super) prompt: usize,
    pub(super) sample: usize,
    /// The error of a row whose logits are not finite.
    pub(super) completion: Result<Completion, ModelError>,
}

impl Row {
    pub(super) fn new(new: NewRow<'_>, layers: usize) -> Self {
        Self {
            prompt: new.prompt,
            sample: new.sample,
            sampling: Arc::clone(new.sampling),
            top: new.top,
            rng: SampleRng::new(new.sampling.seed, new.key),
            prefix: Arc::clone(new.prefix),
            own: Segment::new(layers),
            prompt_len: new.prompt_len,
            tokens: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    /// Draws the next token from `logits`.
    pub(super) fn draw(&self, logits: &[f32]) -> Result<Drawn, ModelError> {
        let (token, logprob) = choose(logits, &self.sampling, self.rng.uniform(self.tokens.len() as u32))?;
        let alternatives = self.top.map(|top| alternatives(logits, token, top));
        Ok(Drawn { token, logprob, alternatives })
    }

    /// Appends a drawn token; says why the row ends, if it does.
    pub(super) fn push(&mut self, drawn: &Drawn, context: usize) -> Option<Finish> {
        self.tokens.push(drawn.token);
        self.logprobs.push(drawn.logprob);
        if self.sampling.stop.contains(&drawn.token) {
            return Some(Finish::Stop);
        }
        let drawn = self.tokens.len();
        let full = drawn >= self.sampling.max_tokens || self.prompt_len + drawn >= context;
        full.then_some(Finish::Length)
    }

    pub(super) fn end(self, finish: Finish) -> Ended {
        let completion = Completion { tokens: self.tokens, logprobs: self.logprobs, finish };
        Ended { prompt: self.prompt, sample: self.sample, completion: Ok(completion) }
    }

    fn fail(self, error: ModelError) -> Ended {
        Ended { prompt: self.prompt, sample: self.sample, completion: Err(error) }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    acts: Activations,
    pub(super) space: Workspace,
    logits: Vec<f32>,
}

impl Batch {
    /// One more token for every row, shown to `watch`; returns the rows that ended. All rows continue `preamble`,
    /// if there is one.
    pub(super) fn decode(
        &mut self,
        decoder: &Decoder,
        preamble: Option<&Preamble>,
        watch: &mut dyn FnMut(&Row, Drawn),
    ) -> Vec<Ended> {
        self.forward(decoder, preamble);
        let context = decoder.spec().context;
        let mut over = Vec::new();
        let drawn = self.draw(decoder);
        for ((index, row), drawn) in self.rows.iter_mut().enumerate().zip(drawn) {
            match drawn {
                Ok(drawn) => {
                    if let Some(finish) = row.push(&drawn, context) {
                        over.push((index, Ok(finish)));
                    }
                    watch(row, drawn);
                }
                Err(error) => over.push((index, Err(error))),
            }
        }
        // from the back, so that the indices in front stay right
        let end = |(index, how): (usize, Result<Finish, ModelError>)| {
            let row = self.rows.remove(index);
            match how {
                Ok(finish) => row.end(finish),
                Err(error) => row.fail(error),
            }
        };
        over.into_iter().rev().map(end).collect()
    }

    /// A token for every row from `self.logits`.
    fn draw(&self, decoder: &Decoder) -> Vec<Result<Drawn, ModelError>> {
        let vocab = decoder.spec().vocab_size;
        let mut drawn = Vec::new();
        drawn.resize_with(self.rows.len(), || None);
        decoder.threads.chunks_mut(&mut drawn, 1, |index, drawn| {
            drawn[0] = Some(self.rows[index].draw(&self.logits[index * vocab..][..vocab]));
        });
        drawn.into_iter().flatten().collect()
    }

    /// Runs every row's last token through the decoder, into `self.logits`.
    fn forward(&mut self, decoder: &Decoder, preamble: Option<&Preamble>) {
        let Self { rows, acts, space, .. } = self;
        let spec = decoder.spec();
        let stride = spec.kv_heads * spec.head_dim;
        let last: Vec<u32> = rows.iter().filter_map(|row| row.tokens.last().copied()).collect();
        let positions: Vec<usize> = rows.iter().map(|row| row.prompt_len + row.tokens.len() - 1).collect();
        let mut x = Vec::new();
        decoder.embed(&last, &mut acts.x);
        for layer in 0..spec.layers {
            decoder.project(layer, &positions, acts, space);
            let new = acts.k.chunks_exact(stride).zip(acts.v.chunks_exact(stride));
            for (row, (keys, values)) in rows.iter_mut().zip(new) {
                row.own.layer_mut(layer).extend(keys, values, stride);
            }
            let Activations { q, attention, lse, .. } = acts;
            let shared = preamble.map(|preamble| preamble.segment.layer(layer).span()).unwrap_or_default();
            let runs = rows.iter().map(|row| {
                let own = row.own.layer(layer).span();
                let before = [shared, row.prefix.layer(layer).span()];
                Run { rows: 1, before, own, first: own.len - 1 }
            });
            decoder.attend(q, attention, lse, runs);
            decoder.finish(layer, acts, space, &mut x);
            std::mem::swap(&mut acts.x, &mut x);
        }
        head(decoder, &acts.x, space, &mut self.logits);
    }
}

/// Final norm and LM head. `[R, D] -> [R, V]`
pub(super) fn head(decoder: &Decoder, rows: &[f32], space: &mut Workspace, logits: &mut Vec<f32>) {
    decoder.norm(&decoder.weights.final_norm, rows, &mut space.normed);
    decoder.logits(&space.normed, &mut space.rows, logits);
}
