//! A safetensors file, written in place.
//!
//! `safetensors::serialize_to_file` writes a temporary file that only its owner may read and renames it, so it loses
//! the permissions that the user's umask gives. The header is made by the library; the bytes are the same.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use thinktune_policy::ModelError;

use super::dtype::Dtype;

/// Reads a part of the values.
pub(super) type Read<'a> = dyn Fn(Range<usize>) -> Result<Vec<f32>, ModelError> + 'a;

/// A tensor that is read and converted when its turn to be written comes, so that only one copy is in memory at a time.
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a [usize],
    /// Where its values lie.
    pub(super) at: Range<usize>,
    pub(super) dtype: Dtype,
}

/// Writes tensors, sorted by name, as a file of PyTorch's layout.
pub(super) fn write(path: &Path, mut tensors: Vec<Tensor<'_>>, read: &Read) -> Result<(), ModelError> {
    tensors.sort_by(|a, b| a.name.cmp(b.name));
    let header = header(&tensors)
        .map_err(|error| ModelError::bad_file(path, format!("cannot be written: {error}")))?;
    let failed = |error| ModelError::io(path, error);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).map_err(failed)?);
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
    out.write_all(&header).map_err(failed)?;
    for tensor in tensors {
        let values = read(tensor.at)?;
        out.write_all(&tensor.dtype.encode(&values)).map_err(failed)?;
    }
    out.flush().map_err(failed)
}

/// The header as JSON, filled up with spaces to a multiple of eight bytes.
fn header(tensors: &[Tensor<'_>]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut end = 0;
    let infos = tensors.iter().map(|tensor| {
        let begin = end;
        end += tensor.at.len() * tensor.dtype.bytes();
        let (dtype, shape) = (tensor.dtype.stored(), tensor.shape.to_vec());
        (tensor.name.to_owned(), TensorInfo { dtype, shape, data_offsets: (begin, end) })
    });
    let format = [("format".to_owned(), "pt".to_owned())].into();
    let metadata = Metadata::new(Some(format), infos.collect())?;
    let mut bytes = serde_json::to_vec(&metadata)?;
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    #[test]
    fn the_bytes_are_those_of_the_library() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
        let values: Vec<f32> = (0..12).map(|i| i as f32 / 7.0).collect();
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let named = |name, shape| Tensor { name, shape, at: 0..12, dtype };
            write(&ours, vec![named("b.weight", &[3, 4]), named("a.weight", &[12])], &|at| {
                Ok(values[at].to_vec())
            })
            .unwrap();
            let bytes = dtype.encode(&values);
            let view = |shape| TensorView::new(dtype.stored(), shape, &bytes).unwrap();
            let tensors = [("b.weight", view(vec![3, 4])), ("a.weight", view(vec![12]))];
            let format = [("format".to_owned(), "pt".to_owned())].into();
            safetensors::serialize_to_file(tensors, Some(format), &theirs).unwrap();
            assert_eq!(std::fs::read(&ours).unwrap(), std::fs::read(&theirs).unwrap());
        }
    }

    #[test]
    #[cfg(unix)]
    fn the_file_has_the_permissions_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (ours, plain) = (dir.path().join("ours"), dir.path().join("plain"));
        write(&ours, Vec::new(), &|_| Ok(Vec::new())).unwrap();
        std::fs::write(&plain, "").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
