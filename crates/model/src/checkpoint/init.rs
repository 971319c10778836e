//! Random initial weights.

use thinktune_policy::rng::normal;
use thinktune_policy::{SampleKey, SampleRng, Stream};

use super::Params;
use crate::ModelSpec;

/// Random weights: matrices normal(0, 0.02), norms 1, biases 0.
pub fn init_random(spec: ModelSpec, seed: u64) -> Params {
    let mut params = Params::zeros(spec);
    for (index, (tensor, range)) in params.layout.tensors().iter().enumerate() {
        let values = &mut params.data[range.clone()];
        if tensor.name.ends_with("norm.weight") {
            values.fill(1.0);
        } else if tensor.decays() {
            let key = SampleKey { stream: Stream::Init, step: 0, question: index as u32, sample: 0 };
            let rng = SampleRng::new(seed, key);
            for (i, value) in values.iter_mut().enumerate() {
                *value = 0.02 * normal(&rng, i as u32);
            }
        }
    }
    params
}
