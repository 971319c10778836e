//! What the program asks of a model, whatever device it is on.

use std::path::Path;

use thinktune_compute::Precision;
use thinktune_policy::model_files::WrittenFile;
use thinktune_policy::{Batcher, Generate, ModelError, Score, Train};

use crate::checkpoint::{Dtype, Params};
use crate::memory::{Budget, Recompute};
use crate::spec::ModelSpec;

/// What [`FrozenModel`](crate::FrozenModel) asks of a model on whatever device.
pub(crate) trait ReadOnly: Generate + Score + Send {
    fn share(&self) -> Box<dyn ReadOnly>;
    fn set_budget(&mut self, budget: Budget);
    fn into_batcher(self: Box<Self>) -> Box<dyn Batcher>;
    fn spec(&self) -> &ModelSpec;
    fn weight_bytes(&self) -> u64;
    fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ModelError>;
}

/// What [`LocalModel`](crate::LocalModel) asks of a model on whatever device.
pub(crate) trait Learning: Generate + Score + Train + Send {
    fn set_source(&mut self, dir: &Path);
    fn set_precision(&mut self, precision: Precision);
    fn set_recompute(&mut self, recompute: Recompute);
    fn set_budget(&mut self, budget: Budget);
    fn save_weights(&self, dir: &Path, dtype: Dtype) -> Result<WrittenFile, ModelError>;
    fn export(&self, dir: &Path, dtype: Dtype) -> Result<WrittenFile, ModelError>;
    fn frozen(&mut self) -> Result<Box<dyn ReadOnly>, ModelError>;
    fn spec(&self) -> &ModelSpec;
    fn params(&self) -> Result<Params, ModelError>;
    fn precision(&self) -> Precision;
    fn gradients(&self) -> Result<Vec<f32>, ModelError>;
    fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ModelError>;
}
