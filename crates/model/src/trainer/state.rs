//! The optimizer's state on disk.

use std::path::Path;

use safetensors::tensor::{Dtype as StDtype, SafeTensors, TensorView};
use thinktune_compute::Backend;
use thinktune_policy::ModelError;

use super::Trainer;
use crate::error::of_device;

/// File of the optimizer's state inside a checkpoint.
const OPTIMIZER_FILE: &str = "optimizer.safetensors";

impl<B: Backend> Trainer<B> {
    /// Writes the moments, and the number of updates, into a checkpoint directory.
    pub(crate) fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let count = self.layout.len();
        let bytes = |moment: &B::Buffer| -> Result<Vec<u8>, ModelError> {
            // moments that were never made are zeros
            let len = self.backend.len(moment);
            let mut values = vec![0.0f32; len];
            self.backend.download(moment, 0..len, &mut values).map_err(of_device)?;
            let mut bytes = Vec::with_capacity(4 * count);
            bytes.extend(values.iter().flat_map(|x| x.to_le_bytes()));
            bytes.resize(4 * count, 0);
            Ok(bytes)
        };
        let (first, second) = (bytes(&self.first_moment)?, bytes(&self.second_moment)?);
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

    /// Reads what [`save`](Self::save) wrote; the state is as before where that fails.
    pub(crate) fn load(&mut self, dir: &Path) -> Result<(), ModelError> {
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
        let floats = |bytes: Vec<u8>| {
            let values = bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
            self.backend.upload(values).map_err(of_device)
        };
        let size = 4 * self.layout.len();
        let first = floats(read("first_moment", size)?)?;
        let second = floats(read("second_moment", size)?)?;
        let updates = read("updates", 8)?;
        (self.first_moment, self.second_moment) = (first, second);
        self.updates = updates.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).sum();
        Ok(())
    }
}
