//! Weights as a device wants them: matrices laid out once per version of the parameters, in the precision of
//! the run; norms and biases in f32.

use std::ops::Range;

use thinktune_compute::types::{LOAD_ROWS, MatrixShape};
use thinktune_compute::{Backend, ComputeError, Precision};
use thinktune_policy::ModelError;

use super::linear::Linear;
use super::names::{
    DOWN_PROJ, EMBEDDING, FINAL_NORM, GATE_PROJ, INPUT_NORM, K_BIAS, K_NORM, K_PROJ, O_PROJ, POST_NORM,
    Q_BIAS, Q_NORM, Q_PROJ, UP_PROJ, V_BIAS, V_PROJ, head_name, layer_name, layer_part,
};
use crate::ModelSpec;
use crate::checkpoint::Layout;
use crate::error::of_device;
use crate::spec::TensorSpec;

/// Numbers of a tensor that are in memory at a time while a model is loaded.
const PIECE: usize = 4 << 20;

/// Everything that a forward pass reads.
pub(crate) struct Weights<B: Backend> {
    pub(crate) spec: ModelSpec,
    pub(crate) precision: Precision,
    /// Version of the parameters that these are laid out from.
    pub(crate) version: u64,
    pub(crate) layers: Vec<LayerWeights<B>>,
    pub(crate) final_norm: B::Buffer,
    /// `[V, D]`
    pub(crate) head: Linear<B>,
    /// `[V, D]`, where it is not the head.
    embedding: Option<B::Matrix>,
}

/// Weights of one layer. Norms that a family does not have are none.
pub(crate) struct LayerWeights<B: Backend> {
    pub(crate) input_norm: B::Buffer,
    pub(crate) q: Linear<B>,
    pub(crate) k: Linear<B>,
    pub(crate) v: Linear<B>,
    pub(crate) q_norm: Option<B::Buffer>,
    pub(crate) k_norm: Option<B::Buffer>,
    pub(crate) o: Linear<B>,
    pub(crate) post_norm: B::Buffer,
    pub(crate) gate: Linear<B>,
    pub(crate) up: Linear<B>,
    pub(crate) down: Linear<B>,
}

/// Where a tensor goes.
enum Slot<'a, B: Backend> {
    Vector(&'a mut B::Buffer),
    Matrix(&'a mut B::Matrix),
}

/// Where a tensor comes from.
enum Values<'a, B: Backend> {
    /// Rows of it, in order.
    Host(&'a [f32], Range<usize>),
    Device(&'a B::Buffer, Range<usize>),
}

impl<B: Backend> LayerWeights<B> {
    fn new(spec: &ModelSpec) -> Self {
        let head_norm = || spec.qk_norm.then(B::Buffer::default);
        Self {
            input_norm: B::Buffer::default(),
            q: Linear::new(spec.qkv_bias),
            k: Linear::new(spec.qkv_bias),
            v: Linear::new(spec.qkv_bias),
            q_norm: head_norm(),
            k_norm: head_norm(),
            o: Linear::new(false),
            post_norm: B::Buffer::default(),
            gate: Linear::new(false),
            up: Linear::new(false),
            down: Linear::new(false),
        }
    }

    /// Where a tensor of this layer goes; none for one that no layer reads.
    fn slot(&mut self, part: &str) -> Option<Slot<'_, B>> {
        Some(match part {
            INPUT_NORM => Slot::Vector(&mut self.input_norm),
            POST_NORM => Slot::Vector(&mut self.post_norm),
            Q_BIAS => Slot::Vector(self.q.bias.as_mut()?),
            K_BIAS => Slot::Vector(self.k.bias.as_mut()?),
            V_BIAS => Slot::Vector(self.v.bias.as_mut()?),
            Q_NORM => Slot::Vector(self.q_norm.as_mut()?),
            K_NORM => Slot::Vector(self.k_norm.as_mut()?),
            Q_PROJ => Slot::Matrix(&mut self.q.matrix),
            K_PROJ => Slot::Matrix(&mut self.k.matrix),
            V_PROJ => Slot::Matrix(&mut self.v.matrix),
            O_PROJ => Slot::Matrix(&mut self.o.matrix),
            GATE_PROJ => Slot::Matrix(&mut self.gate.matrix),
            UP_PROJ => Slot::Matrix(&mut self.up.matrix),
            DOWN_PROJ => Slot::Matrix(&mut self.down.matrix),
            _ => return None,
        })
    }

    fn matrices(&self) -> [&B::Matrix; 7] {
        [&self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down].map(|linear| &linear.matrix)
    }
}

impl<B: Backend> Weights<B> {
    fn empty(spec: &ModelSpec, precision: Precision) -> Self {
        Self {
            spec: spec.clone(),
            precision,
            version: 0,
            layers: (0..spec.layers).map(|_| LayerWeights::new(spec)).collect(),
            final_norm: B::Buffer::default(),
            head: Linear::new(false),
            embedding: (!spec.tied_head).then(B::Matrix::default),
        }
    }

    /// The weights of version `version` of a model's parameters.
    ///
    /// # Errors
    /// No memory on the device.
    pub(crate) fn new(
        backend: &B,
        (spec, layout, params): (&ModelSpec, &Layout, &B::Buffer),
        precision: Precision,
        version: u64,
    ) -> Result<Self, ComputeError> {
        let mut weights = Self::empty(spec, precision);
        weights.refill(backend, layout, params, version)?;
        Ok(weights)
    }

    /// The weights of a model whose tensors come one by one, a piece at a time: `read` gives the values of tensor `index`
    /// from the one at `first` on.
    ///
    /// # Errors
    /// What `read` reports, and no memory on the device.
    pub(crate) fn load(
        backend: &B,
        spec: &ModelSpec,
        precision: Precision,
        mut read: impl FnMut(usize, usize, &mut [f32]) -> Result<(), ModelError>,
    ) -> Result<Self, ModelError> {
        let mut weights = Self::empty(spec, precision);
        let mut piece = Vec::new();
        for (index, tensor) in spec.tensors().iter().enumerate() {
            let width = tensor.len() / tensor.shape[0].max(1);
            // as many rows as make a piece; a vector is one
            let rows = (PIECE / width.max(1)).next_multiple_of(LOAD_ROWS);
            let rows = if tensor.decays() { rows } else { tensor.shape[0] };
            for first in (0..tensor.shape[0]).step_by(rows.max(1)) {
                let at = first..(first + rows).min(tensor.shape[0]);
                piece.resize(at.len() * width, 0.0);
                read(index, first * width, &mut piece)?;
                weights.set(backend, tensor, Values::Host(&piece, at)).map_err(of_device)?;
            }
        }
        Ok(weights)
    }

    /// Takes another version of the parameters, into the same memory.
    ///
    /// # Errors
    /// No memory on the device.
    pub(crate) fn refill(
        &mut self,
        backend: &B,
        layout: &Layout,
        params: &B::Buffer,
        version: u64,
    ) -> Result<(), ComputeError> {
        for (tensor, range) in layout.tensors() {
            self.set(backend, tensor, Values::Device(params, range.clone()))?;
        }
        self.version = version;
        Ok(())
    }

    fn set(&mut self, backend: &B, tensor: &TensorSpec, values: Values<B>) -> Result<(), ComputeError> {
        let precision = self.precision;
        let slot = match (layer_part(&tensor.name), tensor.name.as_str()) {
            (Some((layer, part)), _) => self.layers[layer].slot(part),
            (None, FINAL_NORM) => Some(Slot::Vector(&mut self.final_norm)),
            (None, EMBEDDING) => Some(Slot::Matrix(self.embedding.as_mut().unwrap_or(&mut self.head.matrix))),
            (None, _) => Some(Slot::Matrix(&mut self.head.matrix)),
        };
        match (slot, values) {
            (Some(Slot::Vector(vector)), Values::Host(values, _)) => {
                *vector = backend.upload(values.to_vec())?
            }
            (Some(Slot::Vector(vector)), Values::Device(params, at)) => backend.copy(params, at, vector),
            (Some(Slot::Matrix(matrix)), Values::Host(values, rows)) => {
                backend.load_matrix(values, rows, matrix_shape(tensor, precision), matrix)?;
            }
            (Some(Slot::Matrix(matrix)), Values::Device(params, at)) => {
                backend.cast_matrix(params, at, matrix_shape(tensor, precision), matrix);
            }
            (None, _) => {}
        }
        Ok(())
    }

    /// The embedding, `[V, D]`.
    pub(crate) fn embedding(&self) -> &B::Matrix {
        self.embedding.as_ref().unwrap_or(&self.head.matrix)
    }

    /// Bytes of all matrices.
    pub(crate) fn bytes(&self, backend: &B) -> u64 {
        let layers = self.layers.iter().flat_map(LayerWeights::matrices);
        layers
            .chain([&self.head.matrix])
            .chain(&self.embedding)
            .map(|matrix| backend.matrix_bytes(matrix))
            .sum()
    }
}

/// The matrices of a layer as the backward pass reads them.
pub(crate) struct LayerTransposes<B: Backend> {
    pub(crate) q: B::Transposed,
    pub(crate) k: B::Transposed,
    pub(crate) v: B::Transposed,
    pub(crate) o: B::Transposed,
    pub(crate) gate: B::Transposed,
    pub(crate) up: B::Transposed,
    pub(crate) down: B::Transposed,
}

impl<B: Backend> Default for LayerTransposes<B> {
    fn default() -> Self {
        let new = B::Transposed::default;
        Self { q: new(), k: new(), v: new(), o: new(), gate: new(), up: new(), down: new() }
    }
}

/// All matrices as the backward pass reads them.
pub(crate) struct Transposes<B: Backend> {
    pub(crate) layers: Vec<LayerTransposes<B>>,
    pub(crate) head: B::Transposed,
    /// Version of the parameters that these are laid out from; none before the first.
    version: Option<u64>,
}

impl<B: Backend> Default for Transposes<B> {
    fn default() -> Self {
        Self { layers: Vec::new(), head: B::Transposed::default(), version: None }
    }
}

impl<B: Backend> Transposes<B> {
    /// Takes version `version` of the parameters, into the same memory, unless it is there.
    pub(crate) fn bring_to(
        &mut self,
        backend: &B,
        (spec, layout, params): (&ModelSpec, &Layout, &B::Buffer),
        precision: Precision,
        version: u64,
    ) {
        if self.version == Some(version) {
            return;
        }
        let lay_out = |to: &mut B::Transposed, name: &str| {
            if let Some((tensor, range)) = layout.tensor(name) {
                backend.cast_transposed(params, range.clone(), matrix_shape(tensor, precision), to);
            }
        };
        self.layers.resize_with(spec.layers, LayerTransposes::default);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            for (to, part) in [
                (&mut layer.q, Q_PROJ),
                (&mut layer.k, K_PROJ),
                (&mut layer.v, V_PROJ),
                (&mut layer.o, O_PROJ),
                (&mut layer.gate, GATE_PROJ),
                (&mut layer.up, UP_PROJ),
                (&mut layer.down, DOWN_PROJ),
            ] {
                lay_out(to, &layer_name(index, part));
            }
        }
        lay_out(&mut self.head, head_name(spec));
        self.version = Some(version);
    }
}

/// The shape of a matrix, `[out, in]` as checkpoints store it.
fn matrix_shape(tensor: &TensorSpec, precision: Precision) -> MatrixShape {
    let columns = tensor.shape.get(1).copied().unwrap_or(1);
    MatrixShape { outputs: tensor.shape[0], inputs: columns, precision }
}
