//! A safetensors file: its header is read at once, its tensors one by one where they are wanted, so that a
//! checkpoint is never in memory as a whole beside what is made of it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype as StoredDtype, Metadata, TensorInfo};
use thinktune_policy::ModelError;
use thinktune_policy::model_files::INDEX_FILE;

use crate::Dtype;

/// Longest header that is believed.
const LONGEST_HEADER: u64 = 100 << 20;

/// A file and what its header says.
pub(crate) struct Shard {
    pub(super) path: PathBuf,
    /// Where the tensors' bytes begin.
    data: u64,
    metadata: Metadata,
}

impl Shard {
    /// Reads the header, and checks that the file holds what it names.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let message =
                    format!("not found, though {INDEX_FILE} names it; download or copy the missing shard");
                return Err(ModelError::bad_file(path, message));
            }
            Err(error) => return Err(ModelError::io(path, error)),
        };
        let io = |error| ModelError::io(path, error);
        let length = file.metadata().map_err(io)?.len();
        let truncated = || {
            let message = format!(
                "is truncated or damaged: its header does not fit its {length} bytes; download or copy it again"
            );
            ModelError::bad_file(path, message)
        };
        let mut size = [0; 8];
        if length < 8 {
            return Err(truncated());
        }
        file.read_exact(&mut size).map_err(io)?;
        let size = u64::from_le_bytes(size);
        if size > LONGEST_HEADER {
            let message = format!(
                "is not a safetensors file: its first bytes stand for a header of {size} bytes, more than any has"
            );
            return Err(ModelError::bad_file(path, message));
        }
        if 8 + size > length {
            return Err(truncated());
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).map_err(io)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| {
            ModelError::bad_file(
                path,
                format!("is not a safetensors file: its header is no table of tensors ({error})"),
            )
        })?;
        let data = 8 + size;
        for (name, info) in metadata.tensors() {
            match byte_range(info) {
                Some(end) if end <= length - data => {}
                Some(_) => return Err(truncated()),
                None => {
                    let message = format!(
                        "tensor `{name}` of shape {:?} and type {} does not fit its place {:?} in the file; the file is \
                         damaged: download or copy it again",
                        info.shape, info.dtype, info.data_offsets
                    );
                    return Err(ModelError::bad_file(path, message));
                }
            }
        }
        Ok(Self { path: path.to_owned(), data, metadata })
    }

    /// Names and descriptions of all tensors.
    pub(super) fn tensors(&self) -> impl Iterator<Item = (String, &TensorInfo)> {
        self.metadata.tensors().into_iter()
    }

    /// The file from byte `offset` of the tensors' bytes on.
    fn at(&self, offset: usize) -> Result<File, ModelError> {
        let io = |error| ModelError::io(&self.path, error);
        let mut file = File::open(&self.path).map_err(io)?;
        file.seek(SeekFrom::Start(self.data + offset as u64)).map_err(io)?;
        Ok(file)
    }

    /// Reads a tensor's numbers from the one at `first` on, as many as `out` takes.
    pub(super) fn read(
        &self,
        info: &TensorInfo,
        dtype: Dtype,
        first: usize,
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        let mut file = self.at(info.data_offsets.0 + first * dtype.bytes())?;
        let mut bytes = vec![0; PIECE.min(out.len()) * dtype.bytes()];
        for out in out.chunks_mut(PIECE) {
            let bytes = &mut bytes[..out.len() * dtype.bytes()];
            file.read_exact(bytes).map_err(|error| ModelError::io(&self.path, error))?;
            dtype.decode(bytes, out);
        }
        Ok(())
    }

    /// Reads a tensor of `len` f32 numbers by its name.
    ///
    /// # Errors
    /// A file without it; a tensor of another length or type.
    pub(crate) fn floats(&self, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        let info = self.expect(name, StoredDtype::F32, &[len])?;
        self.load(info, Dtype::F32)
    }

    /// Reads a tensor of a single whole number by its name.
    ///
    /// # Errors
    /// As [`floats`](Self::floats).
    pub(crate) fn count(&self, name: &str) -> Result<u64, ModelError> {
        let info = self.expect(name, StoredDtype::U64, &[1])?;
        let mut bytes = [0; 8];
        let mut file = self.at(info.data_offsets.0)?;
        file.read_exact(&mut bytes).map_err(|error| ModelError::io(&self.path, error))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn expect(&self, name: &str, dtype: StoredDtype, shape: &[usize]) -> Result<&TensorInfo, ModelError> {
        let Some(info) = self.metadata.info(name) else {
            let message = format!("holds no tensor `{name}`: expected the optimizer's state");
            return Err(ModelError::bad_file(&self.path, message));
        };
        if info.dtype != dtype || info.shape != shape {
            let message = format!(
                "tensor `{name}` is {:?} of {}, expected {shape:?} of {dtype} for this model",
                info.shape, info.dtype
            );
            return Err(ModelError::bad_file(&self.path, message));
        }
        Ok(info)
    }

    /// Reads a tensor into memory of its own.
    pub(super) fn load(&self, info: &TensorInfo, dtype: Dtype) -> Result<Vec<f32>, ModelError> {
        let mut values = zeroed(&self.path, info.shape.iter().product())?;
        self.read(info, dtype, 0, &mut values)?;
        Ok(values)
    }
}

/// Numbers read at a time.
const PIECE: usize = 1 << 18;

/// End of a tensor's bytes, if they are as many as its shape needs.
fn byte_range(info: &TensorInfo) -> Option<u64> {
    let (start, end) = info.data_offsets;
    let count = info.shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size))?;
    let bits = count.checked_mul(info.dtype.bitsize())?;
    (bits % 8 == 0 && end.checked_sub(start)? == bits / 8).then_some(end as u64)
}

/// A zeroed buffer, or an error where the machine has no room for it.
pub(super) fn zeroed(dir: &Path, len: usize) -> Result<Vec<f32>, ModelError> {
    let mut data = Vec::new();
    data.try_reserve_exact(len).map_err(|_| {
        let message = format!(
            "its {len} parameters need {} bytes of memory, which are not available",
            len.saturating_mul(4)
        );
        ModelError::bad_file(dir, message)
    })?;
    data.resize(len, 0.0);
    Ok(data)
}
