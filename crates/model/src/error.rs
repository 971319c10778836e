//! Faults of devices as errors of models.

use thinktune_compute::ComputeError;
use thinktune_policy::ModelError;

/// The error of a model whose device failed.
pub(crate) fn of_device(error: ComputeError) -> ModelError {
    ModelError::Device(error.to_string())
}
