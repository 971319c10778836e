//! Backward pass of the layers. Every sum over tokens (weights, biases, norms, embedding) is a chain in
//! token order that continues from the gradient already there, so cutting a batch between sequences
//! does not change a bit.

use std::ops::Range;

use thinktune_compute::{Attended, Backend, OperandUse, Part};

use super::linear::Backward;
use super::names::{
    DOWN_PROJ, EMBEDDING, GATE_PROJ, INPUT_NORM, K_BIAS, K_NORM, K_PROJ, O_PROJ, POST_NORM, Q_BIAS, Q_NORM,
    Q_PROJ, UP_PROJ, V_BIAS, V_PROJ, layer_name,
};
use super::weights::LayerTransposes;
use super::{Activations, Decoder, Keep, Trail, Transposes, Workspace};
use crate::checkpoint::Layout;

/// Gradients of all parameters, in their layout.
pub(crate) struct Gradients<'a, B: Backend> {
    pub(crate) layout: &'a Layout,
    pub(crate) data: &'a mut B::Buffer,
}

impl<B: Backend> Gradients<'_, B> {
    /// Where a tensor lies; empty for one that the model does not have.
    fn range(&self, name: &str) -> Range<usize> {
        self.layout.range(name).unwrap_or_default()
    }

    /// The gradient of a tensor.
    pub(crate) fn part(&mut self, name: &str) -> Part<'_, B::Buffer> {
        Part { at: self.range(name), buffer: self.data }
    }
}

/// Memory of the backward pass, kept from layer to layer and from call to call.
pub(crate) struct BackwardSpace<B: Backend> {
    pub(crate) work: Workspace<B>,
    /// x of dW = dy^T x.
    pub(crate) input: B::Operand,
    /// Derivative by the input of a matrix. `[T, in]`
    pub(crate) d_input: B::Buffer,
    /// Derivatives by queries, keys and values. `[T, H d]`, `[T, K d]`, `[T, K d]`
    d_heads: [B::Buffer; 3],
    /// Activations of a layer that is computed again.
    recomputed: Activations<B>,
}

impl<B: Backend> Default for BackwardSpace<B> {
    fn default() -> Self {
        Self {
            work: Workspace::default(),
            input: B::Operand::default(),
            d_input: B::Buffer::default(),
            d_heads: [B::Buffer::default(), B::Buffer::default(), B::Buffer::default()],
            recomputed: Activations::default(),
        }
    }
}

/// What the backward pass of a layer reads and writes beside its activations.
struct LayerPass<'a, 'g, B: Backend> {
    layer: usize,
    rows: usize,
    plan: &'a B::Plan,
    transposes: &'a LayerTransposes<B>,
    grads: &'a mut Gradients<'g, B>,
    space: &'a mut BackwardSpace<B>,
}

impl<B: Backend> Decoder<'_, B> {
    /// From the derivative by the last layer's output, `[T, D]`, to the embedding. What `trail` kept is spent.
    pub(crate) fn backward(
        &self,
        (tokens, plan): (&[u32], &B::Plan),
        trail: &mut Trail<B>,
        transposes: &Transposes<B>,
        d_x: &mut B::Buffer,
        grads: &mut Gradients<B>,
        space: &mut BackwardSpace<B>,
    ) {
        let mut recomputed = std::mem::take(&mut space.recomputed);
        for (layer, kept) in trail.layers.iter_mut().enumerate().rev() {
            let acts = if trail.keep == Keep::Inputs {
                std::mem::swap(&mut recomputed.x, &mut kept.x);
                self.recompute(layer, plan, &mut recomputed, &mut space.work);
                &mut recomputed
            } else {
                kept
            };
            let transposes = &transposes.layers[layer];
            let mut pass = LayerPass { layer, rows: tokens.len(), plan, transposes, grads, space };
            self.mlp_backward(acts, d_x, &mut pass);
            self.attention_backward(acts, d_x, &mut pass);
        }
        space.recomputed = recomputed;
        self.backend.embed_backward(tokens, d_x, grads.part(EMBEDDING));
    }

    /// Backward of mid + SwiGLU(norm(mid)): `d_x` becomes d loss / d mid. `gate` and `up` are spent.
    fn mlp_backward(&self, acts: &mut Activations<B>, d_x: &mut B::Buffer, pass: &mut LayerPass<B>) {
        let (backend, spec) = (self.backend, self.spec());
        let Activations { mid, gate, up, .. } = acts;
        backend.gate(gate, up, spec.ffn, self.layout(OperandUse::SavedInput), &mut pass.space.input);
        self.linear_backward(DOWN_PROJ, &pass.transposes.down, (d_x, spec.width), false, pass);
        backend.gate_backward(gate, up, &pass.space.d_input);
        let norm = &self.weights.layers[pass.layer].post_norm;
        let layout = self.layout(OperandUse::SavedInput);
        backend.rms_norm(mid, norm, spec.norm_eps, layout, &mut pass.space.input);
        self.linear_backward(GATE_PROJ, &pass.transposes.gate, (gate, spec.ffn), false, pass);
        self.linear_backward(UP_PROJ, &pass.transposes.up, (up, spec.ffn), true, pass);
        let d_norm = pass.grads.part(&layer_name(pass.layer, POST_NORM));
        backend.rms_norm_backward(mid, norm, spec.norm_eps, &pass.space.d_input, d_x, d_norm);
    }

    /// Backward of x + attention(norm(x)): `d_x` becomes d loss / d x.
    fn attention_backward(&self, acts: &mut Activations<B>, d_x: &mut B::Buffer, pass: &mut LayerPass<B>) {
        let (backend, spec, heads) = (self.backend, self.spec(), self.heads());
        let Activations { x, q_raw, k_raw, q, k, v, attention, lse, .. } = acts;
        let saved = self.layout(OperandUse::SavedInput);
        backend.operand(attention, 0..pass.rows, heads.q_width(), saved, &mut pass.space.input);
        self.linear_backward(O_PROJ, &pass.transposes.o, (d_x, spec.width), false, pass);

        let mut d_heads = std::mem::take(&mut pass.space.d_heads);
        let attended = Attended { q, k, v, out: attention, lse };
        let d_inputs = d_heads.each_mut();
        backend.attend_backward(pass.plan, heads, &attended, &pass.space.d_input, d_inputs);
        let names = [(Q_BIAS, Some(Q_NORM)), (K_BIAS, Some(K_NORM)), (V_BIAS, None)];
        let raws = [&*q_raw, &*k_raw, &*v];
        for (((stage, d), raw), (bias, norm)) in
            self.stages(pass.layer).iter().zip(&mut d_heads).zip(raws).zip(names)
        {
            let range = |part: &str| pass.grads.range(&layer_name(pass.layer, part));
            let d_bias = stage.bias.map(|_| range(bias));
            let d_norm = stage.norm.and(norm).map(range);
            backend.heads_backward(pass.plan, stage, raw, d, (pass.grads.data, d_bias, d_norm));
        }

        let norm = &self.weights.layers[pass.layer].input_norm;
        backend.rms_norm(x, norm, spec.norm_eps, saved, &mut pass.space.input);
        let [dq, dk, dv] = &d_heads;
        self.linear_backward(Q_PROJ, &pass.transposes.q, (dq, heads.q_width()), false, pass);
        self.linear_backward(K_PROJ, &pass.transposes.k, (dk, heads.kv_width()), true, pass);
        self.linear_backward(V_PROJ, &pass.transposes.v, (dv, heads.kv_width()), true, pass);
        pass.space.d_heads = d_heads;
        let d_norm = pass.grads.part(&layer_name(pass.layer, INPUT_NORM));
        backend.rms_norm_backward(x, norm, spec.norm_eps, &pass.space.d_input, d_x, d_norm);
    }

    /// Backward of y = input W^T for the weight `part` and the input saved in `pass`: dy W goes to, or with
    /// `accumulate` is added to, the derivative by the input.
    fn linear_backward(
        &self,
        part: &str,
        transposed: &B::Transposed,
        (dy, outputs): (&B::Buffer, usize),
        accumulate: bool,
        pass: &mut LayerPass<B>,
    ) {
        let product = Backward { transposed, outputs, rows: 0..pass.rows, precision: self.weights.precision };
        let BackwardSpace { work, input, d_input, .. } = &mut *pass.space;
        let d_weight = pass.grads.part(&layer_name(pass.layer, part));
        product.run(self.backend, dy, input, (d_input, accumulate), d_weight, &mut work.operand);
    }
}
