//! Training state of a local model: kept activations, gradients, AdamW moments.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use safetensors::tensor::{Dtype as StDtype, SafeTensors, TensorView};
use thinktune_kernels::adamw::{Constants, adamw, sum_squares};
use thinktune_kernels::attention::Span;
use thinktune_kernels::head::Normaliser;
use thinktune_policy::{AdamW, ModelError, TokenBatch, TokenScores, UpdateReport};

use crate::Params;
use crate::decoder::backward::{BackwardSpace, Gradients};
use crate::decoder::head::keeps_logits;
use crate::decoder::weights::{EMBEDDING, head_name};
use crate::decoder::{Activations, Decoder, Run, Transposes, Workspace};
use crate::generate::LayerCache;

/// File of the optimizer's state inside a checkpoint.
pub(crate) const OPTIMIZER_FILE: &str = "optimizer.safetensors";

/// Elements per parallel task of passes over all parameters.
const CHUNK: usize = 1 << 16;

/// What a forward pass leaves of its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All that the backward pass reads.
    Everything,
    /// Each layer's input: the backward pass recomputes the rest.
    Inputs,
    /// Nothing: there will be no backward pass.
    Nothing,
}

/// A forward pass over a packed batch.
pub(crate) struct Forwarded {
    layers: Vec<Activations>,
    keep: Keep,
    /// Output of the last layer. `[T, D]`
    pub(crate) output: Vec<f32>,
}

impl Forwarded {
    /// Runs all layers. Activations are taken from `spare` as long as there are some.
    pub(crate) fn run(
        decoder: &Decoder,
        batch: &TokenBatch,
        keep: Keep,
        spare: &mut Vec<Activations>,
    ) -> Self {
        let positions = positions(batch);
        let (mut layers, mut space) = (Vec::new(), Workspace::default());
        let (mut acts, mut x) = (spare.pop().unwrap_or_default(), Vec::new());
        decoder.embed(&batch.tokens, &mut acts.x);
        for layer in 0..decoder.spec().layers {
            layer_forward(decoder, layer, batch, &positions, &mut acts, &mut space, &mut x);
            match keep {
                Keep::Everything => {
                    layers.push(std::mem::replace(&mut acts, spare.pop().unwrap_or_default()))
                }
                Keep::Inputs => {
                    let input = std::mem::take(&mut acts.x);
                    layers.push(Activations { x: input, ..Activations::default() });
                }
                Keep::Nothing => {}
            }
            std::mem::swap(&mut acts.x, &mut x);
        }
        Self { layers, keep, output: acts.x }
    }

    /// Scores the batch's targets, and leaves their logits, `[R, V]`, if `logits` is there.
    ///
    /// # Errors
    /// A log-prob that is not finite, naming its token.
    pub(crate) fn score(
        &self,
        decoder: &Decoder,
        batch: &TokenBatch,
        logits: Option<&mut Vec<f32>>,
    ) -> Result<(TokenScores, Vec<Normaliser>), ModelError> {
        let (_, normed) = self.predicting_rows(decoder, batch, &batch.targets);
        let tokens = target_tokens(batch, &batch.targets);
        let (scores, normalisers) = decoder.score_rows(&normed, &tokens, batch.temperature, logits);
        match scores.logprobs.iter().position(|logprob| !logprob.is_finite()) {
            Some(index) => Err(non_finite("log-prob", scores.logprobs[index], batch, index)),
            None => Ok((scores, normalisers)),
        }
    }

    /// The rows that predict `targets`, before and after the final norm. `[R, D]`
    fn predicting_rows(
        &self,
        decoder: &Decoder,
        batch: &TokenBatch,
        targets: &[usize],
    ) -> (Vec<f32>, Vec<f32>) {
        let width = decoder.spec().width;
        debug_assert_eq!(self.output.len(), batch.tokens.len() * width);
        let rows = predicting(batch, targets);
        let mut gathered = vec![0.0; rows.len() * width];
        decoder.by_rows(&mut gathered, width, |first, out| {
            for (out, row) in out.chunks_exact_mut(width).zip(&rows[first..]) {
                out.copy_from_slice(&self.output[row * width..(row + 1) * width]);
            }
        });
        let rows = gathered;
        let mut normed = Vec::new();
        decoder.norm(&decoder.weights.final_norm, &rows, &mut normed);
        (rows, normed)
    }
}

/// One layer over a packed batch; `out` becomes the next layer's input.
fn layer_forward(
    decoder: &Decoder,
    layer: usize,
    batch: &TokenBatch,
    positions: &[usize],
    acts: &mut Activations,
    space: &mut Workspace,
    out: &mut Vec<f32>,
) {
    decoder.project(layer, positions, acts, space);
    let stride = decoder.spec().kv_heads * decoder.spec().head_dim;
    let caches: Vec<LayerCache> = batch
        .offsets
        .par_windows(2)
        .map(|pair| {
            let at = pair[0] * stride..pair[1] * stride;
            let mut cache = LayerCache::default();
            cache.extend(&acts.k[at.clone()], &acts.v[at], stride);
            cache
        })
        .collect();
    let Activations { q, attention, lse, .. } = acts;
    let runs = batch.prefixes.iter().zip(&caches).map(|(prefix, cache)| Run {
        rows: cache.span().len,
        before: [prefix.map(|prefix| caches[prefix].span()).unwrap_or_default(), Span::default()],
        own: cache.span(),
        first: 0,
    });
    decoder.attend(q, attention, lse, runs);
    decoder.finish(layer, acts, space, out);
}

/// Position of each token, counted from the start of the prefix that its sequence continues.
fn positions(batch: &TokenBatch) -> Vec<usize> {
    let length = |sequence: usize| batch.offsets[sequence + 1] - batch.offsets[sequence];
    (0..batch.sequences())
        .flat_map(|sequence| {
            let first = batch.prefixes[sequence].map_or(0, length);
            first..first + length(sequence)
        })
        .collect()
}

/// The row that predicts each target; `prepare` has refused targets without one.
fn predicting(batch: &TokenBatch, targets: &[usize]) -> Vec<usize> {
    targets.iter().filter_map(|&target| batch.predecessor(target)).collect()
}

fn target_tokens(batch: &TokenBatch, targets: &[usize]) -> Vec<u32> {
    targets.iter().map(|&target| batch.tokens[target]).collect()
}

/// An error naming the target with a non-finite value.
fn non_finite(what: &'static str, value: f32, batch: &TokenBatch, index: usize) -> ModelError {
    let target = batch.targets[index];
    let sequence = batch.sequence_of(target);
    let token = target - batch.offsets[sequence];
    ModelError::NonFinite { what, detail: format!("{value} for token {token} of sequence {sequence}") }
}

/// What the last `forward` left for `backward`.
struct Kept {
    batch: TokenBatch,
    forwarded: Forwarded,
    normalisers: Vec<Normaliser>,
    /// Whether the trainer holds the logits of all targets.
    has_logits: bool,
}

/// Gradients, moments and the kept forward pass.
#[derive(Default)]
pub(crate) struct Trainer {
    kept: Option<Kept>,
    /// Activations of earlier micro-batches, for the next.
    spare: Vec<Activations>,
    space: BackwardSpace,
    /// Logits of the targets of the kept forward pass, where they are few enough. `[R, V]`
    logits: Vec<f32>,
    transposes: Transposes,
    /// Whether `transposes` are of the weights as they are now.
    current: bool,
    /// Empty until the first backward pass.
    grads: Vec<f32>,
    /// Gradient of a tied head, apart from the embedding's until the update, so that both are chains in
    /// token order however the batch is cut.
    tied_head_grads: Vec<f32>,
    first_moment: Vec<f32>,
    second_moment: Vec<f32>,
    updates: u64,
}

impl Trainer {
    /// Memory for the activations of the next forward pass.
    pub(crate) fn spare(&mut self) -> &mut Vec<Activations> {
        // a forward pass that was not followed by a backward pass gives its memory back
        if let Some(kept) = self.kept.take() {
            self.spare.extend(kept.forwarded.layers);
        }
        &mut self.spare
    }

    /// Scores what a forward pass gave, and keeps it for `backward`.
    pub(crate) fn score(
        &mut self,
        decoder: &Decoder,
        batch: &TokenBatch,
        forwarded: Forwarded,
    ) -> Result<TokenScores, ModelError> {
        let has_logits = keeps_logits(batch.targets.len(), decoder.spec().vocab_size);
        let logits = has_logits.then_some(&mut self.logits);
        let (scores, normalisers) = forwarded.score(decoder, batch, logits)?;
        self.kept = Some(Kept { batch: batch.clone(), forwarded, normalisers, has_logits });
        Ok(scores)
    }

    /// Moves the logits of the targets `used` to the front.
    fn compact_logits(&mut self, used: &[usize], vocab: usize) {
        for (to, &from) in used.iter().enumerate().filter(|(to, from)| to != *from) {
            self.logits.copy_within(from * vocab..(from + 1) * vocab, to * vocab);
        }
    }

    /// All gradients, the tied head's added to the embedding's.
    pub(crate) fn gradients(&self, params: &Params) -> Vec<f32> {
        let mut grads = self.grads.clone();
        add_tied_head(params, &self.tied_head_grads, &mut grads);
        grads
    }

    pub(crate) fn backward(
        &mut self,
        decoder: &Decoder,
        params: &Params,
        d_logprobs: &[f32],
    ) -> Result<(), ModelError> {
        let Some(Kept { batch, mut forwarded, normalisers, has_logits }) = self.kept.take() else {
            return Err(ModelError::BadInput("`backward` without a `forward` before it".into()));
        };
        if d_logprobs.len() != batch.targets.len() {
            return Err(ModelError::BadInput(format!(
                "`backward` got {} derivatives for {} targets",
                d_logprobs.len(),
                batch.targets.len()
            )));
        }
        if let Some(index) = d_logprobs.iter().position(|d| !d.is_finite()) {
            return Err(non_finite("derivative of the loss", d_logprobs[index], &batch, index));
        }
        let used: Vec<usize> = (0..d_logprobs.len()).filter(|&i| d_logprobs[i] != 0.0).collect();
        if !used.is_empty() {
            if !self.current {
                self.transposes.refill(params, decoder.weights.precision);
                self.current = true;
            }
            self.grads.resize(params.data.len(), 0.0);
            if has_logits {
                self.compact_logits(&used, decoder.spec().vocab_size);
            } else {
                self.logits.clear();
            }
            let d_x =
                self.head_backward(decoder, params, &batch, &forwarded, &normalisers, d_logprobs, &used);
            self.layers_backward(decoder, params, &batch, &mut forwarded, d_x);
        }
        self.spare.extend(forwarded.layers);
        Ok(())
    }

    /// From the derivative by the last layer's output to the embedding. `[T, D]`
    fn layers_backward(
        &mut self,
        decoder: &Decoder,
        params: &Params,
        batch: &TokenBatch,
        forwarded: &mut Forwarded,
        mut d_x: Vec<f32>,
    ) {
        let mut grads = Gradients { layout: &params.layout, data: &mut self.grads };
        let positions = positions(batch);
        let mut recomputed = Activations::default();
        for (layer, kept) in forwarded.layers.iter_mut().enumerate().rev() {
            let acts = if forwarded.keep == Keep::Inputs {
                std::mem::swap(&mut recomputed.x, &mut kept.x);
                let (space, out) = (&mut self.space.work, &mut kept.x);
                layer_forward(decoder, layer, batch, &positions, &mut recomputed, space, out);
                &mut recomputed
            } else {
                kept
            };
            let (transposes, space) = (&self.transposes.layers[layer], &mut self.space);
            decoder.layer_backward(layer, transposes, acts, batch, &positions, &mut d_x, &mut grads, space);
        }
        decoder.embed_backward(&batch.tokens, &d_x, &mut grads);
    }

    /// From the derivatives by log-probs to the derivative by the last layer's output. `[T, D]`
    #[allow(clippy::too_many_arguments)]
    fn head_backward(
        &mut self,
        decoder: &Decoder,
        params: &Params,
        batch: &TokenBatch,
        forwarded: &Forwarded,
        normalisers: &[Normaliser],
        d_logprobs: &[f32],
        used: &[usize],
    ) -> Vec<f32> {
        let width = decoder.spec().width;
        let targets: Vec<usize> = used.iter().map(|&i| batch.targets[i]).collect();
        let normalisers: Vec<Normaliser> = used.iter().map(|&i| normalisers[i]).collect();
        let d_logprobs: Vec<f32> = used.iter().map(|&i| d_logprobs[i]).collect();
        let (rows, normed) = forwarded.predicting_rows(decoder, batch, &targets);
        let mut grads = Gradients { layout: &params.layout, data: &mut self.grads };
        let d_head = if params.spec.tied_head {
            self.tied_head_grads.resize(params.spec.vocab_size * width, 0.0);
            &mut self.tied_head_grads
        } else {
            grads.get(head_name(&params.spec))
        };
        let tokens = target_tokens(batch, &targets);
        let d_normed = decoder.score_rows_backward(
            &self.transposes.head,
            &normed,
            &tokens,
            &normalisers,
            &d_logprobs,
            d_head,
            &mut self.logits,
            &mut self.space.work,
        );
        let d_rows = decoder.final_norm_backward(&rows, &d_normed, &mut grads);
        let mut d_x = vec![0.0; batch.tokens.len() * width];
        for (d_row, row) in d_rows.chunks_exact(width).zip(predicting(batch, &targets)) {
            // a prompt's last row predicts the first token of every response that continues it
            thinktune_kernels::elementwise::add(&mut d_x[row * width..(row + 1) * width], d_row);
        }
        d_x
    }

    /// One AdamW step; the gradients are cleared whether or not they were finite.
    pub(crate) fn update(
        &mut self,
        params: &mut Arc<Params>,
        settings: &AdamW,
    ) -> Result<UpdateReport, ModelError> {
        let mut grads = std::mem::take(&mut self.grads);
        grads.resize(params.data.len(), 0.0);
        add_tied_head(params, &self.tied_head_grads, &mut grads);
        self.tied_head_grads.par_chunks_mut(CHUNK).for_each(|head| head.fill(0.0));
        let grad_norm = sum_squares(&grads).sqrt();
        if !grad_norm.is_finite() {
            let bad = params.tensors_of(&grads).find(|(_, g)| g.iter().any(|x| !x.is_finite()));
            let detail = bad.map_or_else(|| "its norm".into(), |(tensor, _)| tensor.name.clone());
            return Err(ModelError::NonFinite { what: "gradient", detail });
        }
        self.first_moment.resize(grads.len(), 0.0);
        self.second_moment.resize(grads.len(), 0.0);
        self.updates += 1;
        let limit = f64::from(settings.max_grad_norm);
        let grad_scale = if grad_norm > limit { (limit / (grad_norm + 1e-6)) as f32 } else { 1.0 };
        self.current = false;
        let params = Arc::make_mut(params);
        for (tensor, range) in params.layout.tensors() {
            let constants = Constants {
                lr: settings.lr,
                beta1: settings.beta1,
                beta2: settings.beta2,
                eps: settings.eps,
                weight_decay: if tensor.decays() { settings.weight_decay } else { 0.0 },
                grad_scale,
                update: self.updates,
            };
            adamw(
                &mut params.data[range.clone()],
                &mut grads[range.clone()],
                &mut self.first_moment[range.clone()],
                &mut self.second_moment[range.clone()],
                constants,
            );
        }
        self.grads = grads; // cleared, for the next gradients
        Ok(UpdateReport { grad_norm, updates: self.updates })
    }

    /// Writes the moments, and the number of updates, into a checkpoint directory.
    pub(crate) fn save(&self, params: &Params, dir: &Path) -> Result<(), ModelError> {
        let count = params.data.len();
        let bytes = |moment: &[f32]| -> Vec<u8> {
            let rest = std::iter::repeat_n(0u8, 4 * (count - moment.len()));
            moment.iter().flat_map(|x| x.to_le_bytes()).chain(rest).collect()
        };
        let (first, second) = (bytes(&self.first_moment), bytes(&self.second_moment));
        let updates = self.updates.to_le_bytes();
        let path = dir.join(OPTIMIZER_FILE);
        let view = |dtype, shape, data| {
            TensorView::new(dtype, shape, data).map_err(|e| ModelError::bad_file(&path, e.to_string()))
        };
        let tensors = [
            ("first_moment", view(StDtype::F32, vec![count], &first)?),
            ("second_moment", view(StDtype::F32, vec![count], &second)?),
            ("updates", view(StDtype::U64, vec![1], &updates)?),
        ];
        let bytes = safetensors::serialize(tensors, None)
            .map_err(|e| ModelError::bad_file(&path, format!("cannot be written: {e}")))?;
        std::fs::write(&path, bytes).map_err(|e| ModelError::io(&path, e))
    }

    /// Reads what [`save`](Self::save) wrote.
    pub(crate) fn load(&mut self, params: &Params, dir: &Path) -> Result<(), ModelError> {
        let path = dir.join(OPTIMIZER_FILE);
        let bytes = std::fs::read(&path).map_err(|e| ModelError::io(&path, e))?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|e| ModelError::bad_file(&path, format!("is not a readable safetensors file: {e}")))?;
        let read = |name: &str, size: usize| {
            let tensor = file.tensor(name).map_err(|e| ModelError::bad_file(&path, e.to_string()))?;
            if tensor.data().len() != size {
                return Err(ModelError::bad_file(
                    &path,
                    format!(
                        "tensor {name} holds {} bytes, {size} expected for this model",
                        tensor.data().len()
                    ),
                ));
            }
            Ok(tensor.data().to_vec())
        };
        let floats = |bytes: Vec<u8>| -> Vec<f32> {
            bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
        };
        let size = 4 * params.data.len();
        self.first_moment = floats(read("first_moment", size)?);
        self.second_moment = floats(read("second_moment", size)?);
        let updates = read("updates", 8)?;
        self.updates = updates.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).sum();
        Ok(())
    }
}

fn add_tied_head(params: &Params, head: &[f32], grads: &mut [f32]) {
    if let (false, Some(range)) = (head.is_empty(), params.layout.range(EMBEDDING)) {
        grads[range]
            .par_chunks_mut(CHUNK)
            .zip(head.par_chunks(CHUNK))
            .for_each(|(grads, head)| thinktune_kernels::elementwise::add(grads, head));
    }
}
