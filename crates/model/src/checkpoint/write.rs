//! A safetensors file, written in place, piece by piece, and hashed as it is written.
//!
//! `safetensors::serialize_to_file` writes a temporary file that only its owner may read and renames it, so it loses
//! the permissions that the user's umask gives, and it wants every tensor in memory at once. The header is made by the
//! library; the bytes are the same.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use safetensors::tensor::{Dtype as StoredDtype, Metadata, TensorInfo};
use sha2::{Digest, Sha256};
use thinktune_policy::ModelError;
use thinktune_policy::model_files::WrittenFile;

use super::dtype::Dtype;

/// Numbers that are read and converted at a time.
const PIECE: usize = 1 << 20;

/// Fills a slice with a part of the values.
pub(crate) type Read<'a> = dyn Fn(Range<usize>, &mut [f32]) -> Result<(), ModelError> + 'a;

/// A tensor of a file.
pub(crate) struct Tensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: &'a [usize],
    pub(crate) values: Values<'a>,
}

/// Where the values of a tensor come from when its turn to be written comes. Only a piece of them is in memory at a
/// time.
pub(crate) enum Values<'a> {
    /// Numbers that `read` gives, written as `dtype`.
    Numbers { at: Range<usize>, dtype: Dtype, read: &'a Read<'a> },
    /// A single number.
    Count(u64),
}

impl Values<'_> {
    fn stored(&self) -> StoredDtype {
        match self {
            Self::Numbers { dtype, .. } => dtype.stored(),
            Self::Count(_) => StoredDtype::U64,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Numbers { at, dtype, .. } => at.len() * dtype.bytes(),
            Self::Count(_) => 8,
        }
    }

    fn write(&self, out: &mut impl Write, path: &Path) -> Result<(), ModelError> {
        let failed = |error| ModelError::io(path, error);
        match self {
            Self::Count(count) => out.write_all(&count.to_le_bytes()).map_err(failed),
            Self::Numbers { at, dtype, read } => {
                let mut piece = vec![0.0; PIECE.min(at.len())];
                for start in at.clone().step_by(PIECE) {
                    let end = (start + PIECE).min(at.end);
                    let values = &mut piece[..end - start];
                    read(start..end, values)?;
                    out.write_all(&dtype.encode(values)).map_err(failed)?;
                }
                Ok(())
            }
        }
    }
}

/// Writes tensors as the file `name` of a folder, in the library's order: the widest numbers first, then by name.
/// `format` is PyTorch's mark, which weights carry.
pub(crate) fn write(
    (dir, name): (&Path, &str),
    mut tensors: Vec<Tensor<'_>>,
    format: Option<&str>,
) -> Result<WrittenFile, ModelError> {
    let path = &dir.join(name);
    tensors.sort_by(|a, b| {
        let bits = |tensor: &Tensor<'_>| std::cmp::Reverse(tensor.values.stored().bitsize());
        bits(a).cmp(&bits(b)).then_with(|| a.name.cmp(b.name))
    });
    let header = header(&tensors, format)
        .map_err(|error| ModelError::bad_file(path, format!("cannot be written: {error}")))?;
    let failed = |error| ModelError::io(path, error);
    let mut out = Hashing::new(BufWriter::with_capacity(1 << 20, File::create(path).map_err(failed)?));
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
    out.write_all(&header).map_err(failed)?;
    for tensor in &tensors {
        tensor.values.write(&mut out, path)?;
    }
    out.flush().map_err(failed)?;
    Ok(WrittenFile { name: name.to_owned(), bytes: out.bytes, sha256: out.sha256() })
}

/// The header as JSON, filled up with spaces to a multiple of eight bytes.
fn header(tensors: &[Tensor<'_>], format: Option<&str>) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut end = 0;
    let infos = tensors.iter().map(|tensor| {
        let begin = end;
        end += tensor.values.bytes();
        let (dtype, shape) = (tensor.values.stored(), tensor.shape.to_vec());
        (tensor.name.to_owned(), TensorInfo { dtype, shape, data_offsets: (begin, end) })
    });
    let format = format.map(|format| [("format".to_owned(), format.to_owned())].into());
    let metadata = Metadata::new(format, infos.collect())?;
    let mut bytes = serde_json::to_vec(&metadata)?;
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
}

/// Counts and hashes what passes through.
struct Hashing<W> {
    to: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Hashing<W> {
    fn new(to: W) -> Self {
        Self { to, hash: Sha256::new(), bytes: 0 }
    }

    fn sha256(self) -> String {
        self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    /// Longer than a piece, and no multiple of it.
    const LEN: usize = PIECE + 12;

    #[test]
    fn the_bytes_are_those_of_the_library() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
        let values: Vec<f32> = (0..2 * LEN).map(|i| i as f32 / 7.0).collect();
        let read = |at: Range<usize>, out: &mut [f32]| {
            out.copy_from_slice(&values[at]);
            Ok(())
        };
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let tensor = |name, shape, first: usize| {
                let at = first..first + LEN;
                Tensor { name, shape, values: Values::Numbers { at, dtype, read: &read } }
            };
            let updates = Tensor { name: "updates", shape: &[1], values: Values::Count(7) };
            let tensors =
                vec![updates, tensor("b.weight", &[4, LEN / 4], 0), tensor("a.weight", &[LEN], LEN)];
            let written = write((dir.path(), "ours"), tensors, Some("pt")).unwrap();

            let bytes = dtype.encode(&values);
            let (b, a) = bytes.split_at(LEN * dtype.bytes());
            let view = |shape, data| TensorView::new(dtype.stored(), shape, data).unwrap();
            let count = 7u64.to_le_bytes();
            let tensors = [
                ("b.weight", view(vec![4, LEN / 4], b)),
                ("a.weight", view(vec![LEN], a)),
                ("updates", TensorView::new(StoredDtype::U64, vec![1], &count).unwrap()),
            ];
            let format = [("format".to_owned(), "pt".to_owned())].into();
            safetensors::serialize_to_file(tensors, Some(format), &theirs).unwrap();
            let found = std::fs::read(&ours).unwrap();
            assert!(found == std::fs::read(&theirs).unwrap(), "{dtype:?}");
            let hash: String = Sha256::digest(&found).iter().map(|byte| format!("{byte:02x}")).collect();
            let expected = WrittenFile { name: "ours".into(), bytes: found.len() as u64, sha256: hash };
            assert_eq!(written, expected);
        }
    }

    #[test]
    #[cfg(unix)]
    fn the_file_has_the_permissions_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        write((dir.path(), "ours"), Vec::new(), None).unwrap();
        std::fs::write(dir.path().join("plain"), "").unwrap();
        let mode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("ours"), mode("plain"));
    }
}
