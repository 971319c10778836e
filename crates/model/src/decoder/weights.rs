//! Weights as the kernels want them: matrices packed once per version of the parameters, in the precision of
//! the run; norms and biases in f32.

use thinktune_kernels::Precision;
use thinktune_kernels::gemm::{Packed, Threads, View};
use thinktune_policy::ModelError;

use crate::spec::TensorSpec;
use crate::{ModelSpec, Params};

/// Everything that a forward pass reads.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) spec: ModelSpec,
    pub(crate) precision: Precision,
    pub(crate) layers: Vec<LayerWeights>,
    pub(crate) final_norm: Vec<f32>,
    /// `[D, V]`
    pub(crate) head: Packed,
    /// `[D, V]`, where it is not the head.
    embedding: Option<Packed>,
}

/// Weights of one layer: each matrix packed as the `[in, out]` operand of y = x W^T. Vectors that a family
/// does not have are empty.
#[derive(Debug, Default)]
pub(crate) struct LayerWeights {
    pub(crate) input_norm: Vec<f32>,
    pub(crate) q: Packed,
    pub(crate) k: Packed,
    pub(crate) v: Packed,
    pub(crate) q_bias: Vec<f32>,
    pub(crate) k_bias: Vec<f32>,
    pub(crate) v_bias: Vec<f32>,
    pub(crate) q_norm: Vec<f32>,
    pub(crate) k_norm: Vec<f32>,
    pub(crate) o: Packed,
    pub(crate) post_norm: Vec<f32>,
    pub(crate) gate: Packed,
    pub(crate) up: Packed,
    pub(crate) down: Packed,
}

impl LayerWeights {
    /// Where a tensor of this layer goes.
    fn slot(&mut self, part: &str) -> Slot<'_> {
        match part {
            INPUT_NORM => Slot::Vector(&mut self.input_norm),
            POST_NORM => Slot::Vector(&mut self.post_norm),
            Q_BIAS => Slot::Vector(&mut self.q_bias),
            K_BIAS => Slot::Vector(&mut self.k_bias),
            V_BIAS => Slot::Vector(&mut self.v_bias),
            Q_NORM => Slot::Vector(&mut self.q_norm),
            K_NORM => Slot::Vector(&mut self.k_norm),
            Q_PROJ => Slot::Matrix(&mut self.q),
            K_PROJ => Slot::Matrix(&mut self.k),
            V_PROJ => Slot::Matrix(&mut self.v),
            O_PROJ => Slot::Matrix(&mut self.o),
            GATE_PROJ => Slot::Matrix(&mut self.gate),
            UP_PROJ => Slot::Matrix(&mut self.up),
            DOWN_PROJ => Slot::Matrix(&mut self.down),
            other => unreachable!("the layout has a tensor {other} that no layer reads"),
        }
    }
}

enum Slot<'a> {
    Vector(&'a mut Vec<f32>),
    Matrix(&'a mut Packed),
}

impl Weights {
    fn empty(spec: &ModelSpec, precision: Precision) -> Self {
        Self {
            spec: spec.clone(),
            precision,
            layers: (0..spec.layers).map(|_| LayerWeights::default()).collect(),
            final_norm: Vec::new(),
            head: Packed::default(),
            embedding: (!spec.tied_head).then(Packed::default),
        }
    }

    /// The weights of a model.
    pub(crate) fn new(params: &Params, precision: Precision) -> Self {
        let mut weights = Self::empty(&params.spec, precision);
        weights.refill(params);
        weights
    }

    /// The weights of a model whose tensors come one by one, so that never more than one is in f32.
    pub(crate) fn load(
        spec: &ModelSpec,
        precision: Precision,
        mut read: impl FnMut(&TensorSpec) -> Result<Vec<f32>, ModelError>,
    ) -> Result<Self, ModelError> {
        let mut weights = Self::empty(spec, precision);
        for tensor in spec.tensors() {
            weights.set(&tensor, &read(&tensor)?);
        }
        Ok(weights)
    }

    /// Takes the weights of another version of the same model, into the same memory.
    pub(crate) fn refill(&mut self, params: &Params) {
        for (tensor, values) in params.tensors() {
            self.set(tensor, values);
        }
    }

    fn set(&mut self, tensor: &TensorSpec, values: &[f32]) {
        let precision = self.precision;
        let slot = match (layer_part(&tensor.name), tensor.name.as_str()) {
            (Some((layer, part)), _) => self.layers[layer].slot(part),
            (None, FINAL_NORM) => Slot::Vector(&mut self.final_norm),
            (None, EMBEDDING) => Slot::Matrix(self.embedding.as_mut().unwrap_or(&mut self.head)),
            (None, _) => Slot::Matrix(&mut self.head),
        };
        match slot {
            Slot::Vector(vector) => {
                vector.clear();
                vector.extend_from_slice(values);
            }
            Slot::Matrix(packed) => {
                let matrix = View::new(values, tensor.shape[0], tensor.shape[1]);
                packed.fill(matrix.t(), precision, Threads::All);
            }
        }
    }

    /// A row of the embedding. `[D]`
    pub(crate) fn embedding(&self, token: u32, out: &mut [f32]) {
        self.embedding.as_ref().unwrap_or(&self.head).column(token as usize, out);
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let layers = self
            .layers
            .iter()
            .flat_map(|layer| [&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down]);
        layers.chain([&self.head]).chain(&self.embedding).map(Packed::bytes).sum()
    }
}

/// The matrices of a layer as the backward pass reads them: `[out, in]`, the right operand of dx = dy W.
#[derive(Debug, Default)]
pub(crate) struct LayerTransposes {
    pub(crate) q: Packed,
    pub(crate) k: Packed,
    pub(crate) v: Packed,
    pub(crate) o: Packed,
    pub(crate) gate: Packed,
    pub(crate) up: Packed,
    pub(crate) down: Packed,
}

/// All matrices as the backward pass reads them.
#[derive(Debug, Default)]
pub(crate) struct Transposes {
    pub(crate) layers: Vec<LayerTransposes>,
    pub(crate) head: Packed,
}

impl Transposes {
    /// Takes the weights of `params`, into the same memory.
    pub(crate) fn refill(&mut self, params: &Params, precision: Precision) {
        let pack =
            |packed: &mut Packed, name: &str| packed.fill(matrix(params, name), precision, Threads::All);
        self.layers.resize_with(params.spec.layers, LayerTransposes::default);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            for (packed, part) in [
                (&mut layer.q, Q_PROJ),
                (&mut layer.k, K_PROJ),
                (&mut layer.v, V_PROJ),
                (&mut layer.o, O_PROJ),
                (&mut layer.gate, GATE_PROJ),
                (&mut layer.up, UP_PROJ),
                (&mut layer.down, DOWN_PROJ),
            ] {
                pack(packed, &layer_name(index, part));
            }
        }
        pack(&mut self.head, head_name(&params.spec));
    }
}

pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
pub(crate) const FINAL_NORM: &str = "model.norm.weight";
pub(crate) const INPUT_NORM: &str = "input_layernorm.weight";
pub(crate) const POST_NORM: &str = "post_attention_layernorm.weight";
pub(crate) const Q_PROJ: &str = "self_attn.q_proj.weight";
pub(crate) const K_PROJ: &str = "self_attn.k_proj.weight";
pub(crate) const V_PROJ: &str = "self_attn.v_proj.weight";
pub(crate) const O_PROJ: &str = "self_attn.o_proj.weight";
pub(crate) const Q_BIAS: &str = "self_attn.q_proj.bias";
pub(crate) const K_BIAS: &str = "self_attn.k_proj.bias";
pub(crate) const V_BIAS: &str = "self_attn.v_proj.bias";
pub(crate) const Q_NORM: &str = "self_attn.q_norm.weight";
pub(crate) const K_NORM: &str = "self_attn.k_norm.weight";
pub(crate) const GATE_PROJ: &str = "mlp.gate_proj.weight";
pub(crate) const UP_PROJ: &str = "mlp.up_proj.weight";
pub(crate) const DOWN_PROJ: &str = "mlp.down_proj.weight";

const LAYERS: &str = "model.layers.";

/// Full name of a layer's tensor.
pub(crate) fn layer_name(layer: usize, part: &str) -> String {
    format!("{LAYERS}{layer}.{part}")
}

/// Layer and part of a full name; none outside the layers.
fn layer_part(name: &str) -> Option<(usize, &str)> {
    let (layer, part) = name.strip_prefix(LAYERS)?.split_once('.')?;
    Some((layer.parse().ok()?, part))
}

/// The LM head's tensor: the embedding where they are tied.
pub(crate) fn head_name(spec: &ModelSpec) -> &'static str {
    if spec.tied_head { EMBEDDING } else { "lm_head.weight" }
}

/// A matrix, `[out, in]` as checkpoints store it.
fn matrix<'a>(params: &'a Params, name: &str) -> View<'a> {
    let Some((tensor, range)) = params.layout.tensor(name) else {
        unreachable!("the layout has no tensor {name}")
    };
    View::new(&params.data[range.clone()], tensor.shape[0], tensor.shape[1])
}
