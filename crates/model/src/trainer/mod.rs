//! Training: parameters, the kept forward pass, gradients, AdamW.

mod state;

use std::ops::Range;

use thinktune_compute::{AdamWStep, Backend, Part, Precision};
use thinktune_policy::{AdamW, ModelError, TokenBatch, TokenScores, UpdateReport};

use crate::checkpoint::{Layout, Params};
use crate::decoder::backward::{BackwardSpace, Gradients};
use crate::decoder::head::{HeadGradients, HeadSpace, Predictions, keeps_logits};
use crate::decoder::names::{EMBEDDING, head_name};
use crate::decoder::{Context, Decoder, Keep, Trail, Transposes, Workspace};
use crate::error::of_device;
use crate::rows::{non_finite, predictions, row_layout};
use crate::spec::ModelSpec;

/// What the last `forward` left for `backward`.
struct Kept<B: Backend> {
    batch: TokenBatch,
    plan: B::Plan,
    predictions: Predictions,
    /// Whether the logits of all targets are there.
    has_logits: bool,
}

/// Master parameters in f32, gradients, moments and the kept forward pass.
pub(crate) struct Trainer<B: Backend> {
    pub(crate) backend: B,
    pub(crate) spec: ModelSpec,
    pub(crate) layout: Layout,
    /// All parameters, as `layout` says.
    pub(crate) params: B::Buffer,
    /// Counts the changes of `params`; what is laid out from them carries the version it was made from.
    pub(crate) version: u64,
    kept: Option<Kept<B>>,
    trail: Trail<B>,
    head: HeadSpace<B>,
    space: BackwardSpace<B>,
    transposes: Transposes<B>,
    /// Derivative by the last layer's output. `[T, D]`
    d_output: B::Buffer,
    /// Empty until the first backward pass.
    grads: B::Buffer,
    /// Gradient of a tied head, apart from the embedding's until the update, so that both are chains in
    /// token order however the batch is cut.
    tied_head_grads: B::Buffer,
    first_moment: B::Buffer,
    second_moment: B::Buffer,
    updates: u64,
}

impl<B: Backend> Trainer<B> {
    /// # Errors
    /// No memory on the device.
    pub(crate) fn new(backend: B, params: Params) -> Result<Self, ModelError> {
        let Params { spec, layout, data } = params;
        let params = backend.upload(data).map_err(of_device)?;
        let new = B::Buffer::default;
        Ok(Self {
            backend,
            spec,
            layout,
            params,
            version: 1,
            kept: None,
            trail: Trail::new(Keep::Everything),
            head: HeadSpace::default(),
            space: BackwardSpace::default(),
            transposes: Transposes::default(),
            d_output: new(),
            grads: new(),
            tied_head_grads: new(),
            first_moment: new(),
            second_moment: new(),
            updates: 0,
        })
    }

    /// A copy of all parameters.
    ///
    /// # Errors
    /// A fault of the device.
    pub(crate) fn download(&self) -> Result<Params, ModelError> {
        let mut data = vec![0.0; self.layout.len()];
        self.backend.download(&self.params, 0..data.len(), &mut data).map_err(of_device)?;
        Ok(Params { spec: self.spec.clone(), layout: self.layout.clone(), data })
    }

    /// Reads a part of the parameters.
    ///
    /// # Errors
    /// A fault of the device.
    pub(crate) fn read(&self, at: Range<usize>, out: &mut [f32]) -> Result<(), ModelError> {
        self.backend.download(&self.params, at, out).map_err(of_device)
    }

    /// Takes other parameters of the same shape.
    ///
    /// # Errors
    /// No memory on the device.
    pub(crate) fn replace(&mut self, params: Params) -> Result<(), ModelError> {
        self.params = self.backend.upload(params.data).map_err(of_device)?;
        self.version += 1;
        self.kept = None;
        self.grads = B::Buffer::default();
        self.tied_head_grads = B::Buffer::default();
        Ok(())
    }

    /// All gradients, the tied head's added to the embedding's; empty before the first backward pass.
    ///
    /// # Errors
    /// A fault of the device.
    pub(crate) fn gradients(&self) -> Result<Vec<f32>, ModelError> {
        let mut all = B::Buffer::default();
        self.backend.copy(&self.grads, 0..self.backend.len(&self.grads), &mut all);
        self.add_tied_head(&mut all);
        let mut out = vec![0.0; self.backend.len(&all)];
        self.backend.download(&all, 0..out.len(), &mut out).map_err(of_device)?;
        Ok(out)
    }

    fn add_tied_head(&self, grads: &mut B::Buffer) {
        let empty = self.backend.len(&self.tied_head_grads) == 0 || self.backend.len(grads) == 0;
        if let (false, Some(at)) = (empty, self.layout.range(EMBEDDING)) {
            self.backend.add(&self.tied_head_grads, Part { buffer: grads, at });
        }
    }

    /// Scores the targets of a checked batch and keeps what `backward` needs, as `keep` says.
    pub(crate) fn forward(
        &mut self,
        decoder: &Decoder<'_, B>,
        batch: &TokenBatch,
        keep: Keep,
    ) -> Result<TokenScores, ModelError> {
        // a forward pass that was not followed by a backward pass gives its memory back
        self.kept = None;
        self.trail.spare.append(&mut self.trail.layers);
        self.trail.keep = keep;
        let plan = self.backend.plan(row_layout(batch));
        decoder.forward(&batch.tokens, &plan, Context::Packed, &mut self.trail, &mut self.space.work);
        let predictions = predictions(batch);
        let has_logits = keeps_logits(predictions.rows.len(), self.spec.vocab_size);
        let output = self.trail.output();
        let space = &mut self.space.work;
        let scores = score(decoder, output, (&predictions, batch), has_logits, (&mut self.head, space))?;
        self.kept = Some(Kept { batch: batch.clone(), plan, predictions, has_logits });
        Ok(scores)
    }

    /// See [`Train::backward`](thinktune_policy::Train::backward).
    pub(crate) fn backward(
        &mut self,
        decoder: &Decoder<'_, B>,
        precision: Precision,
        d_logprobs: &[f32],
    ) -> Result<(), ModelError> {
        let Some(kept) = self.kept.take() else {
            return Err(ModelError::BadInput("`backward` without a `forward` before it".into()));
        };
        let batch = &kept.batch;
        if d_logprobs.len() != batch.targets.len() {
            return Err(ModelError::BadInput(format!(
                "`backward` got {} derivatives for {} targets",
                d_logprobs.len(),
                batch.targets.len()
            )));
        }
        if let Some(index) = d_logprobs.iter().position(|d| !d.is_finite()) {
            return Err(non_finite("derivative of the loss", d_logprobs[index], batch, index));
        }
        let used: Vec<usize> = (0..d_logprobs.len()).filter(|&i| d_logprobs[i] != 0.0).collect();
        if !used.is_empty() {
            let d_used: Vec<f32> = used.iter().map(|&i| d_logprobs[i]).collect();
            self.backward_of(decoder, precision, &kept, (&used, &d_used));
        }
        self.trail.spare.append(&mut self.trail.layers);
        Ok(())
    }

    /// Backward of the predictions `used`, for their derivatives.
    fn backward_of(
        &mut self,
        decoder: &Decoder<'_, B>,
        precision: Precision,
        kept: &Kept<B>,
        used: (&[usize], &[f32]),
    ) {
        let backend = &self.backend;
        let params = (&self.spec, &self.layout, &self.params);
        self.transposes.bring_to(backend, params, precision, self.version);
        if backend.len(&self.grads) == 0 {
            backend.zeros(self.layout.len(), &mut self.grads);
        }
        let head_at = self.layout.range(head_name(&self.spec)).unwrap_or_default();
        if self.spec.tied_head && backend.len(&self.tied_head_grads) == 0 {
            backend.zeros(head_at.len(), &mut self.tied_head_grads);
        }
        backend.zeros(kept.batch.tokens.len() * self.spec.width, &mut self.d_output);
        let tied = self.spec.tied_head;
        let grads = HeadGradients {
            all: Gradients { layout: &self.layout, data: &mut self.grads },
            head: if tied { 0..head_at.len() } else { head_at },
            tied: tied.then_some(&mut self.tied_head_grads),
            d_output: &mut self.d_output,
        };
        let spaces = (&mut self.head, &mut self.space);
        let predictions = (&kept.predictions, kept.has_logits);
        decoder.score_rows_backward(
            &self.trail.current.x,
            predictions,
            used,
            &self.transposes.head,
            grads,
            spaces,
        );
        let mut grads = Gradients { layout: &self.layout, data: &mut self.grads };
        decoder.backward(
            (&kept.batch.tokens, &kept.plan),
            &mut self.trail,
            &self.transposes,
            &mut self.d_output,
            &mut grads,
            &mut self.space,
        );
    }

    /// One AdamW step; the gradients are cleared whether or not they were finite.
    pub(crate) fn update(&mut self, settings: &AdamW) -> Result<UpdateReport, ModelError> {
        let mut grads = std::mem::take(&mut self.grads);
        let (backend, len) = (self.backend.clone(), self.layout.len());
        if backend.len(&grads) == 0 {
            backend.zeros(len, &mut grads);
        }
        self.add_tied_head(&mut grads);
        let tied = backend.len(&self.tied_head_grads);
        backend.zeros(tied, &mut self.tied_head_grads);
        let grad_norm = backend.sum_squares(&grads).map_err(of_device)?.sqrt();
        if !grad_norm.is_finite() {
            return Err(self.bad_gradient(&grads));
        }
        for moment in [&mut self.first_moment, &mut self.second_moment] {
            if backend.len(moment) == 0 {
                backend.zeros(len, moment);
            }
        }
        self.updates += 1;
        self.version += 1;
        self.kept = None;
        let limit = f64::from(settings.max_grad_norm);
        let grad_scale = if grad_norm > limit { (limit / (grad_norm + 1e-6)) as f32 } else { 1.0 };
        for (tensor, range) in self.layout.tensors() {
            let step = AdamWStep {
                lr: settings.lr,
                beta1: settings.beta1,
                beta2: settings.beta2,
                eps: settings.eps,
                weight_decay: if tensor.decays() { settings.weight_decay } else { 0.0 },
                grad_scale,
                update: self.updates,
            };
            let (first, second) = (&mut self.first_moment, &mut self.second_moment);
            backend.adamw([&mut self.params, &mut grads, first, second], range.clone(), &step);
        }
        self.grads = grads; // cleared, for the next gradients
        Ok(UpdateReport { grad_norm, updates: self.updates })
    }

    /// An error naming the first tensor whose gradient is not finite.
    fn bad_gradient(&self, grads: &B::Buffer) -> ModelError {
        let mut detail = "its norm".to_owned();
        for (tensor, range) in self.layout.tensors() {
            let mut values = vec![0.0; range.len()];
            if let Err(error) = self.backend.download(grads, range.clone(), &mut values) {
                return of_device(error);
            }
            if values.iter().any(|value| !value.is_finite()) {
                detail.clone_from(&tensor.name);
                break;
            }
        }
        ModelError::NonFinite { what: "gradient", detail }
    }
}

/// Scores what a forward pass over `batch` gave.
///
/// # Errors
/// A log-prob that is not finite, naming its token; a fault of the device.
pub(crate) fn score<B: Backend>(
    decoder: &Decoder<'_, B>,
    output: &B::Buffer,
    (predictions, batch): (&Predictions, &TokenBatch),
    keep_logits: bool,
    (head, space): (&mut HeadSpace<B>, &mut Workspace<B>),
) -> Result<TokenScores, ModelError> {
    let scores = decoder.score_rows(output, predictions, keep_logits, head, space).map_err(of_device)?;
    match scores.logprobs.iter().position(|logprob| !logprob.is_finite()) {
        Some(index) => Err(non_finite("log-prob", scores.logprobs[index], batch, index)),
        None => Ok(scores),
    }
}
