//! Weights on disk: safetensors in Hugging Face layout, one file or shards, f32, bf16 or f16.

mod config;
mod dtype;
mod init;
mod params;
mod shard;
mod side_files;
mod write;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use safetensors::tensor::TensorInfo;
use thinktune_compute::{Backend, Precision};
use thinktune_policy::ModelError;
use thinktune_policy::model_files::{CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE, WrittenFile, shard_names};

use crate::ModelSpec;
use crate::decoder::Weights;
use crate::spec::TensorSpec;
pub use dtype::Dtype;
pub use init::init_random;
pub use params::{Layout, Params};
pub(crate) use shard::Shard;
use shard::zeroed;
pub use side_files::{copy_config, copy_side_files};
pub(crate) use write::{Read, Tensor, Values, write};

/// Reads the weights of a model directory: `model.safetensors`, or the shards its index names.
///
/// # Errors
/// A missing, truncated or foreign file; a tensor that is missing, of another shape than `config.json`
/// implies, or of a number format other than f32, bf16, f16. Tensors the model does not know are skipped with a warning.
pub fn load_params(dir: &Path) -> Result<Params, ModelError> {
    with_sources(dir, |spec, sources| {
        let layout = Layout::of(&spec);
        let mut data = zeroed(dir, layout.len())?;
        fill(&mut data, &sources)?;
        Ok(Params { spec, layout, data })
    })
}

/// Reads the weights of a model directory onto a device, a piece of a tensor at a time.
///
/// # Errors
/// As [`load_params`].
pub(crate) fn load_weights<B: Backend>(
    backend: &B,
    dir: &Path,
    precision: Precision,
) -> Result<Weights<B>, ModelError> {
    with_sources(dir, |spec, sources| {
        Weights::load(backend, &spec, precision, |index, first, out| {
            let Source { shard, info, dtype } = &sources[index];
            shard.read(info, *dtype, first, out)
        })
    })
}

/// Calls `work` with the shape of a model directory and where its tensors lie, in storage order.
fn with_sources<T>(
    dir: &Path,
    work: impl FnOnce(ModelSpec, Vec<Source<'_>>) -> Result<T, ModelError>,
) -> Result<T, ModelError> {
    let spec = ModelSpec::from_dir(dir)?;
    let files = weight_files(dir)?;
    let shards = files.iter().map(|path| Shard::open(path)).collect::<Result<Vec<_>, _>>()?;
    let mut found = Found::new(dir);
    for shard in &shards {
        found.add(shard)?;
    }
    let sources = spec.tensors().iter().map(|tensor| found.take(tensor)).collect::<Result<Vec<_>, _>>()?;
    found.warn_of_the_rest(&spec);
    work(spec, sources)
}

/// Writes all weights as `model.safetensors` into an existing directory. The same weights give the same bytes.
/// The file is not synced: who needs that to survive a crash syncs it.
///
/// # Errors
/// A file that cannot be written.
pub fn save_params(dir: &Path, params: &Params, dtype: Dtype) -> Result<(), ModelError> {
    let read = |at: Range<usize>, out: &mut [f32]| {
        out.copy_from_slice(&params.data[at]);
        Ok(())
    };
    save_tensors(dir, &params.layout, dtype, &read).map(drop)
}

/// Writes the tensors of `layout`, whose values `read` gives, piece by piece, when their turn comes.
///
/// # Errors
/// A file that cannot be written, and what `read` reports.
pub(crate) fn save_tensors(
    dir: &Path,
    layout: &Layout,
    dtype: Dtype,
    read: &Read,
) -> Result<WrittenFile, ModelError> {
    let tensors = layout.tensors().iter().map(|(tensor, at)| Tensor {
        name: &tensor.name,
        shape: &tensor.shape,
        values: Values::Numbers { at: at.clone(), dtype, read },
    });
    write((dir, WEIGHTS_FILE), tensors.collect(), Some("pt"))
}

/// The safetensors files of a directory: the single file, else those of the index, in order of name.
fn weight_files(dir: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let single = dir.join(WEIGHTS_FILE);
    if single.is_file() {
        return Ok(vec![single]);
    }
    let path = dir.join(INDEX_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(no_weights(dir)),
        Err(error) => return Err(ModelError::io(path, error)),
    };
    Ok(shard_names(&path, &text)?.into_iter().map(|name| dir.join(name)).collect())
}

fn no_weights(dir: &Path) -> ModelError {
    let other = ["pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth", "model.gguf"]
        .into_iter()
        .find(|name| dir.join(name).exists());
    let hint = other.map_or(String::new(), |name| {
        format!("; {name} is there, but only safetensors can be read: convert it first")
    });
    ModelError::bad_file(dir, format!("holds neither {WEIGHTS_FILE} nor {INDEX_FILE}{hint}"))
}

/// Every tensor the files hold, and the file each is in.
struct Found<'a> {
    dir: &'a Path,
    tensors: BTreeMap<String, (&'a Shard, &'a TensorInfo)>,
}

/// Where a tensor is and how its numbers are to be read.
struct Source<'a> {
    shard: &'a Shard,
    info: &'a TensorInfo,
    dtype: Dtype,
}

impl<'a> Found<'a> {
    fn new(dir: &'a Path) -> Self {
        Self { dir, tensors: BTreeMap::new() }
    }

    fn add(&mut self, shard: &'a Shard) -> Result<(), ModelError> {
        for (name, info) in shard.tensors() {
            if let Some((other, _)) = self.tensors.insert(name.clone(), (shard, info)) {
                let message = format!("holds `{name}`, which {} holds as well", other.path.display());
                return Err(ModelError::bad_file(&shard.path, message));
            }
        }
        Ok(())
    }

    fn take(&mut self, wanted: &TensorSpec) -> Result<Source<'a>, ModelError> {
        let name = &wanted.name;
        let Some((shard, info)) = self.tensors.remove(name) else {
            let message = format!(
                "no file holds the tensor `{name}` of shape {:?}; the weights are incomplete or belong to another {CONFIG_FILE}",
                wanted.shape
            );
            return Err(ModelError::bad_file(self.dir, message));
        };
        if info.shape != wanted.shape {
            let message = format!(
                "tensor `{name}` has shape {:?}, expected {:?} by {CONFIG_FILE}",
                info.shape, wanted.shape
            );
            return Err(ModelError::bad_file(&shard.path, message));
        }
        let Some(dtype) = Dtype::read(info.dtype) else {
            let message = format!("tensor `{name}` is stored as {}, expected F32, BF16 or F16", info.dtype);
            return Err(ModelError::bad_file(&shard.path, message));
        };
        Ok(Source { shard, info, dtype })
    }

    /// Names what was not asked for, save what many checkpoints carry to no purpose.
    fn warn_of_the_rest(&self, spec: &ModelSpec) {
        let harmless = |name: &str| {
            name.ends_with("rotary_emb.inv_freq") || (spec.tied_head && name == "lm_head.weight")
        };
        let extra: Vec<&str> =
            self.tensors.keys().map(String::as_str).filter(|name| !harmless(name)).collect();
        if !extra.is_empty() {
            let few = extra.iter().take(3).copied().collect::<Vec<_>>().join(", ");
            tracing::warn!(
                "{}: ignored {} tensors the model does not use, such as {few}",
                self.dir.display(),
                extra.len()
            );
        }
    }
}

fn fill(mut data: &mut [f32], sources: &[Source<'_>]) -> Result<(), ModelError> {
    let mut parts = Vec::with_capacity(sources.len());
    for source in sources {
        let (part, rest) = std::mem::take(&mut data).split_at_mut(source.info.shape.iter().product());
        parts.push((part, source));
        data = rest;
    }
    parts.into_par_iter().try_for_each(|(part, source)| source.shard.read(source.info, source.dtype, 0, part))
}
