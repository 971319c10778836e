//! All parameters of a model in one flat f32 buffer: gradients and optimizer moments are buffers of
//! the same layout, so clipping, AdamW and checkpoints are single passes.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::ModelSpec;
use crate::spec::TensorSpec;

/// Where each tensor lies in a flat buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    tensors: Vec<(TensorSpec, Range<usize>)>,
    by_name: BTreeMap<String, usize>,
    len: usize,
}

impl Layout {
    /// The layout of a model's parameters.
    pub fn of(spec: &ModelSpec) -> Self {
        let mut len = 0;
        let tensors: Vec<_> = spec
            .tensors()
            .into_iter()
            .map(|tensor| {
                let start = len;
                len += tensor.len();
                (tensor, start..len)
            })
            .collect();
        let names = tensors.iter().map(|(tensor, _): &(TensorSpec, _)| tensor.name.clone());
        let by_name = names.zip(0..).collect();
        Self { tensors, by_name, len }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tensors in storage order.
    pub fn tensors(&self) -> &[(TensorSpec, Range<usize>)] {
        &self.tensors
    }

    /// A tensor and where it lies.
    pub fn tensor(&self, name: &str) -> Option<&(TensorSpec, Range<usize>)> {
        self.by_name.get(name).map(|&index| &self.tensors[index])
    }

    /// Where a tensor lies.
    pub fn range(&self, name: &str) -> Option<Range<usize>> {
        self.tensor(name).map(|(_, range)| range.clone())
    }
}

/// A model's weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Shape and constants.
    pub spec: ModelSpec,
    /// Where each tensor lies in `data`.
    pub layout: Layout,
    /// The weights.
    pub data: Vec<f32>,
}

impl Params {
    /// All zero.
    pub fn zeros(spec: ModelSpec) -> Self {
        let layout = Layout::of(&spec);
        let data = vec![0.0; layout.len()];
        Self { spec, layout, data }
    }

    /// A tensor by its Hugging Face name.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.layout.range(name).map(|range| &self.data[range])
    }

    /// Every tensor with its values, in storage order.
    pub fn tensors(&self) -> impl Iterator<Item = (&TensorSpec, &[f32])> {
        self.tensors_of(&self.data)
    }

    /// Every tensor with its part of another buffer of this layout, such as the gradients.
    pub fn tensors_of<'a>(&'a self, data: &'a [f32]) -> impl Iterator<Item = (&'a TensorSpec, &'a [f32])> {
        self.layout.tensors().iter().map(|(tensor, range)| (tensor, &data[range.clone()]))
    }
}
