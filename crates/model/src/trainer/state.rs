//! The optimizer's state on disk.

use std::ops::Range;
use std::path::Path;

use thinktune_compute::Backend;
use thinktune_policy::ModelError;
use thinktune_policy::model_files::WrittenFile;

use super::Trainer;
use crate::checkpoint::{Dtype, Read, Shard, Tensor, Values, write};
use crate::error::of_device;

/// File of the optimizer's state inside a checkpoint.
const OPTIMIZER_FILE: &str = "optimizer.safetensors";
const FIRST: &str = "first_moment";
const SECOND: &str = "second_moment";
const UPDATES: &str = "updates";

impl<B: Backend> Trainer<B> {
    /// Writes the moments, and the number of updates, into a checkpoint directory, a piece at a time.
    pub(crate) fn save(&self, dir: &Path) -> Result<WrittenFile, ModelError> {
        let shape = [self.layout.len()];
        let first = self.moment_reader(&self.first_moment);
        let second = self.moment_reader(&self.second_moment);
        let moment = |name, read| {
            let values = Values::Numbers { at: 0..shape[0], dtype: Dtype::F32, read };
            Tensor { name, shape: &shape, values }
        };
        let updates = Tensor { name: UPDATES, shape: &[1], values: Values::Count(self.updates) };
        write((dir, OPTIMIZER_FILE), vec![moment(FIRST, &*first), moment(SECOND, &*second), updates], None)
    }

    /// Reads parts of a moment; one that was never made is zeros.
    fn moment_reader<'a>(&'a self, moment: &'a B::Buffer) -> Box<Read<'a>> {
        Box::new(move |at: Range<usize>, out: &mut [f32]| {
            if self.backend.len(moment) == 0 {
                out.fill(0.0);
                return Ok(());
            }
            self.backend.download(moment, at, out).map_err(of_device)
        })
    }

    /// Reads what [`save`](Self::save) wrote, into memory that becomes the moments; the state is as before where that
    /// fails.
    pub(crate) fn load(&mut self, dir: &Path) -> Result<(), ModelError> {
        let file = Shard::open(&dir.join(OPTIMIZER_FILE))?;
        let moment = |name| {
            let values = file.floats(name, self.layout.len())?;
            self.backend.upload(values).map_err(of_device)
        };
        let (first, second) = (moment(FIRST)?, moment(SECOND)?);
        let updates = file.count(UPDATES)?;
        (self.first_moment, self.second_moment) = (first, second);
        self.updates = updates;
        Ok(())
    }
}
