//! The layer loop.

use thinktune_compute::{Backend, OperandUse};

use super::{Decoder, linear};
use crate::ModelSpec;

/// What one layer computes on its way. Training keeps one per layer for the backward pass;
/// inference reuses one for all.
pub(crate) struct Activations<B: Backend> {
    /// Input of the layer. `[T, D]`
    pub(crate) x: B::Buffer,
    /// Queries and keys before their norms (only with qk norm). `[T, H d]`, `[T, K d]`
    pub(crate) q_raw: B::Buffer,
    pub(crate) k_raw: B::Buffer,
    /// Queries, keys (both after rope) and values. `[T, H d]`, `[T, K d]`, `[T, K d]`
    pub(crate) q: B::Buffer,
    pub(crate) k: B::Buffer,
    pub(crate) v: B::Buffer,
    /// Output of attention and its log-sum-exp. `[T, H d]`, `[T, H]`
    pub(crate) attention: B::Buffer,
    pub(crate) lse: B::Buffer,
    /// Residual stream between attention and MLP. `[T, D]`
    pub(crate) mid: B::Buffer,
    /// The two branches of SwiGLU. `[T, F]`
    pub(crate) gate: B::Buffer,
    pub(crate) up: B::Buffer,
}

impl<B: Backend> Default for Activations<B> {
    fn default() -> Self {
        let new = B::Buffer::default;
        Self {
            x: new(),
            q_raw: new(),
            k_raw: new(),
            q: new(),
            k: new(),
            v: new(),
            attention: new(),
            lse: new(),
            mid: new(),
            gate: new(),
            up: new(),
        }
    }
}

/// Floats that a layer's [`Activations`] take per token.
pub(crate) fn floats_per_token(spec: &ModelSpec) -> usize {
    let (q, kv) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
    let raw = if spec.qk_norm { q + kv } else { 0 };
    2 * spec.width + raw + 2 * q + 2 * kv + spec.heads + 2 * spec.ffn
}

/// Memory for what a layer needs while it runs, kept from layer to layer.
pub(crate) struct Workspace<B: Backend> {
    /// Left operand of the product at hand.
    pub(crate) operand: B::Operand,
    /// Output of the layer at hand. `[T, D]`
    next: B::Buffer,
}

impl<B: Backend> Default for Workspace<B> {
    fn default() -> Self {
        Self { operand: B::Operand::default(), next: B::Buffer::default() }
    }
}

/// Where rows find the keys and values that they see.
pub(crate) enum Context<'a, 's, B: Backend> {
    /// Among the rows of the call.
    Packed,
    /// In the sequences that the spans of the plan belong to; the rows' own are appended.
    Cached(&'a mut [&'s mut B::KvSeq]),
}

/// Fate of the residual stream that a layer adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Residuals {
    /// It stays as it was, for the backward pass.
    Kept,
    /// Its memory is taken for the sum.
    Spent,
}

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

/// What the layer loop leaves, and the memory it works in.
pub(crate) struct Trail<B: Backend> {
    pub(crate) keep: Keep,
    /// Of each layer, as `keep` says.
    pub(crate) layers: Vec<Activations<B>>,
    /// Memory for further layers.
    pub(crate) spare: Vec<Activations<B>>,
    /// Of the layer at hand; in the end its `x` is the output of the last layer.
    pub(crate) current: Activations<B>,
}

impl<B: Backend> Trail<B> {
    pub(crate) fn new(keep: Keep) -> Self {
        Self { keep, layers: Vec::new(), spare: Vec::new(), current: Activations::default() }
    }

    /// Output of the last layer. `[T, D]`
    pub(crate) fn output(&self) -> &B::Buffer {
        &self.current.x
    }

    /// Puts away what the layer at hand leaves.
    fn keep_layer(&mut self) {
        match self.keep {
            Keep::Everything => {
                let next = self.spare.pop().unwrap_or_default();
                self.layers.push(std::mem::replace(&mut self.current, next));
            }
            Keep::Inputs => {
                let x = std::mem::take(&mut self.current.x);
                self.layers.push(Activations { x, ..Activations::default() });
            }
            Keep::Nothing => {}
        }
    }
}

impl<B: Backend> Decoder<'_, B> {
    /// Runs `tokens` through all layers; the output is left in `trail`.
    pub(crate) fn forward(
        &self,
        tokens: &[u32],
        plan: &B::Plan,
        mut context: Context<'_, '_, B>,
        trail: &mut Trail<B>,
        space: &mut Workspace<B>,
    ) {
        self.backend.embed(self.weights.embedding(), tokens, &mut trail.current.x);
        for layer in 0..self.spec().layers {
            self.layer(layer, plan, &mut context, &mut trail.current, space);
            trail.keep_layer();
            std::mem::swap(&mut trail.current.x, &mut space.next);
        }
    }

    /// One layer, from `acts.x`; its output is left in `space`.
    fn layer(
        &self,
        layer: usize,
        plan: &B::Plan,
        context: &mut Context<'_, '_, B>,
        acts: &mut Activations<B>,
        space: &mut Workspace<B>,
    ) {
        self.project(layer, plan, acts, space);
        let Activations { q, k, v, attention, lse, .. } = acts;
        let residuals = match context {
            Context::Packed => {
                self.backend.attend(plan, self.heads(), [q, k, v], attention, lse);
                Residuals::Kept
            }
            Context::Cached(seqs) => {
                self.backend.kv_push(plan, layer, k, v, seqs);
                self.backend.attend_cached(plan, layer, self.heads(), q, seqs, attention);
                Residuals::Spent
            }
        };
        self.finish(layer, acts, space, residuals);
    }

    /// The same layer again for the backward pass, from its input alone.
    pub(super) fn recompute(
        &self,
        layer: usize,
        plan: &B::Plan,
        acts: &mut Activations<B>,
        space: &mut Workspace<B>,
    ) {
        self.layer(layer, plan, &mut Context::Packed, acts, space);
    }

    /// First half of a layer: from `acts.x` to queries, keys and values.
    fn project(&self, layer: usize, plan: &B::Plan, acts: &mut Activations<B>, space: &mut Workspace<B>) {
        let (backend, eps) = (self.backend, self.spec().norm_eps);
        let weights = &self.weights.layers[layer];
        let Activations { x, q_raw, k_raw, q, k, v, .. } = acts;
        let operand = &mut space.operand;
        backend.rms_norm(x, &weights.input_norm, eps, self.layout(OperandUse::Input), operand);
        let outputs = [(&weights.q, &mut *q), (&weights.k, &mut *k), (&weights.v, &mut *v)];
        linear::forward(backend, operand, outputs, false);
        let [of_q, of_k, of_v] = self.stages(layer);
        backend.heads(plan, &of_q, of_q.norm.map(|_| q_raw), q);
        backend.heads(plan, &of_k, of_k.norm.map(|_| k_raw), k);
        backend.heads(plan, &of_v, None, v);
    }

    /// Second half of a layer: from the attention's output to the layer's.
    fn finish(
        &self,
        layer: usize,
        acts: &mut Activations<B>,
        space: &mut Workspace<B>,
        residuals: Residuals,
    ) {
        let (backend, spec) = (self.backend, self.spec());
        let weights = &self.weights.layers[layer];
        let Activations { x, attention, mid, gate, up, .. } = acts;
        let Workspace { operand, next } = space;
        let layout = self.layout(OperandUse::Input);
        let len = backend.len(x);
        let go_on = |from: &mut B::Buffer, to: &mut B::Buffer| match residuals {
            Residuals::Kept => backend.copy(from, 0..len, to),
            Residuals::Spent => std::mem::swap(from, to),
        };
        // mid = x + attention Wo^T
        go_on(x, mid);
        backend.operand(attention, 0..len / spec.width, self.heads().q_width(), layout, operand);
        linear::forward(backend, operand, [(&weights.o, &mut *mid)], true);
        // next = mid + (silu(norm(mid) Wgate^T) * norm(mid) Wup^T) Wdown^T
        backend.rms_norm(mid, &weights.post_norm, spec.norm_eps, layout, operand);
        let branches = [(&weights.gate, &mut *gate), (&weights.up, &mut *up)];
        linear::forward(backend, operand, branches, false);
        backend.gate(gate, up, spec.ffn, layout, operand);
        go_on(mid, next);
        linear::forward(backend, operand, [(&weights.down, next)], true);
    }
}
