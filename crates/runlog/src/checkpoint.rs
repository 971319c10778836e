//! Checkpoints: a folder whose MANIFEST.json lists the length and SHA-256 of every file in it, and how long
//! the deterministic logs were when it was written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::RunError;
use crate::files::{beside, files_below, hash_file, names, read_text, remove_dir, sync_dir, sync_parent};

/// Name of the manifest within a checkpoint.
pub(crate) const MANIFEST: &str = "MANIFEST.json";
/// Name of the caller's state within a checkpoint.
pub(crate) const STATE: &str = "state.json";
/// Version of the manifest's format.
const FORMAT: u32 = 1;

/// A complete checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Steps done when it was written.
    pub step: u64,
    /// Its folder: weights in Hugging Face layout, the optimizer's state, `state.json`, `MANIFEST.json`.
    pub dir: PathBuf,
}

impl Checkpoint {
    /// The small state the caller saved with it.
    ///
    /// # Errors
    /// `state.json` is missing or is not an `S`.
    pub fn state<S: DeserializeOwned>(&self) -> Result<S, RunError> {
        let path = self.dir.join(STATE);
        serde_json::from_str(&read_text(&path)?).map_err(|e| RunError::bad_file(path, e.to_string()))
    }

    /// Checks every file against the manifest.
    ///
    /// # Errors
    /// The first file that is missing or differs, in one sentence.
    pub fn verify(&self) -> Result<(), RunError> {
        Manifest::read(&self.dir)?.verify(&self.dir)
    }
}

/// Folder name of the checkpoint after `step` steps.
pub(crate) fn name_of(step: u64) -> String {
    format!("step_{step:06}")
}

/// Step of a `step_NNNNNN` name.
pub(crate) fn step_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("step_")?;
    if digits.len() < 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Complete checkpoints in a folder, oldest first (complete by name; [`Checkpoint::verify`] checks the bytes).
pub(crate) fn list(dir: &Path) -> Result<Vec<Checkpoint>, RunError> {
    let mut found: Vec<Checkpoint> = names(dir)?
        .iter()
        .filter_map(|name| step_of(name).map(|step| Checkpoint { step, dir: dir.join(name) }))
        .filter(|checkpoint| checkpoint.dir.is_dir())
        .collect();
    found.sort_by_key(|checkpoint| checkpoint.step);
    Ok(found)
}

/// The manifest of a checkpoint folder: its files with their lengths and checksums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    /// Steps done.
    pub step: u64,
    /// Bytes of each deterministic log when the checkpoint was written.
    pub logs: BTreeMap<String, u64>,
    files: BTreeMap<String, FileEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileEntry {
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Reads the manifest of a checkpoint folder.
    pub fn read(dir: &Path) -> Result<Self, RunError> {
        let path = dir.join(MANIFEST);
        let manifest: Self = serde_json::from_str(&read_text(&path)?)
            .map_err(|e| RunError::bad_file(&path, format!("not a manifest: {e}")))?;
        if manifest.format != FORMAT {
            let message = format!("manifest format {}, this version reads {FORMAT}", manifest.format);
            return Err(RunError::bad_file(path, message));
        }
        Ok(manifest)
    }

    /// Checks every listed file's length and checksum.
    pub fn verify(&self, dir: &Path) -> Result<(), RunError> {
        for (name, expected) in &self.files {
            let path = dir.join(name);
            let (bytes, sha256) = hash_file(&path)?;
            if bytes != expected.bytes {
                let message = format!("{bytes} bytes, expected {}", expected.bytes);
                return Err(RunError::bad_file(path, message));
            }
            if sha256 != expected.sha256 {
                let message = format!("checksum mismatch (sha256 {sha256}, expected {})", expected.sha256);
                return Err(RunError::bad_file(path, message));
            }
        }
        Ok(())
    }
}

/// A file in a checkpoint whose checksum its writer knows, so that it is not read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHash {
    /// Its name in the checkpoint's folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Lower-case hexadecimal SHA-256 of its bytes.
    pub sha256: String,
}

/// A checkpoint about to be written.
pub(crate) struct NewCheckpoint<'a> {
    /// Its folder; one already there under that name is replaced.
    pub dir: &'a Path,
    /// Steps done.
    pub step: u64,
    /// Bytes of each deterministic log.
    pub logs: BTreeMap<String, u64>,
    /// The caller's state, if any: the content of `state.json`.
    pub state: Option<&'a [u8]>,
}

impl NewCheckpoint<'_> {
    /// Writes the folder: into `.NAME.tmp` beside it, every file synced and listed in the manifest, then renamed.
    pub fn write<E>(self, writer: impl FnOnce(&Path) -> Result<Vec<FileHash>, E>) -> Result<(), RunError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let dir = self.dir;
        let tmp = beside(dir);
        let filled = self.fill(&tmp, writer);
        if filled.is_err() {
            // Give the space back: the disk may be full. The error that counts is the first one.
            let _ = fs::remove_dir_all(&tmp);
        }
        filled?;
        if dir.exists() {
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            let old = dir.with_file_name(format!(".{name}.old.tmp"));
            fs::rename(dir, &old).map_err(|e| RunError::io("replace", dir, e))?;
            fs::rename(&tmp, dir).map_err(|e| RunError::io("write", dir, e))?;
            fs::remove_dir_all(&old).map_err(|e| RunError::io("remove", &old, e))?;
        } else {
            fs::rename(&tmp, dir).map_err(|e| RunError::io("write", dir, e))?;
        }
        sync_parent(dir)
    }

    /// Fills the folder beside the real one, the manifest last.
    fn fill<E>(
        self,
        tmp: &Path,
        writer: impl FnOnce(&Path) -> Result<Vec<FileHash>, E>,
    ) -> Result<(), RunError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if tmp.exists() {
            fs::remove_dir_all(tmp).map_err(|e| RunError::io("remove", tmp, e))?;
        }
        fs::create_dir_all(tmp).map_err(|e| RunError::io("create", tmp, e))?;
        let what = self.dir.display().to_string();
        let known = writer(tmp).map_err(|source| RunError::Writer { what, source: source.into() })?;
        if let Some(state) = self.state {
            let path = tmp.join(STATE);
            fs::write(&path, state).map_err(|e| RunError::io("write", path, e))?;
        }
        let mut files = BTreeMap::new();
        for name in files_below(tmp)? {
            let path = tmp.join(&name);
            sync_file(&path)?;
            let entry = entry(&path, known.iter().find(|file| file.name == name))?;
            files.insert(name, entry);
        }
        let manifest = Manifest { format: FORMAT, step: self.step, logs: self.logs, files };
        let path = tmp.join(MANIFEST);
        let mut text =
            serde_json::to_vec_pretty(&manifest).map_err(|e| RunError::bad_file(&path, e.to_string()))?;
        text.push(b'\n');
        fs::write(&path, text).map_err(|e| RunError::io("write", &path, e))?;
        sync_file(&path)?;
        sync_dir(tmp)
    }
}

/// Length and checksum of a file; `known` spares reading it where the length agrees.
fn entry(path: &Path, known: Option<&FileHash>) -> Result<FileEntry, RunError> {
    let length = fs::metadata(path).map_err(|e| RunError::io("read", path, e))?.len();
    match known.filter(|file| file.bytes == length) {
        Some(FileHash { bytes, sha256, .. }) => Ok(FileEntry { bytes: *bytes, sha256: sha256.clone() }),
        None => {
            let (bytes, sha256) = hash_file(path)?;
            Ok(FileEntry { bytes, sha256 })
        }
    }
}

fn sync_file(path: &Path) -> Result<(), RunError> {
    let file = File::options().write(true).open(path);
    file.and_then(|file| file.sync_all()).map_err(|e| RunError::io("write", path, e))
}

/// Removes all but the newest `keep` checkpoints (at least one stays).
pub(crate) fn retain(dir: &Path, keep: usize) -> Result<(), RunError> {
    let found = list(dir)?;
    let spare = found.len().saturating_sub(keep.max(1));
    for checkpoint in &found[..spare] {
        remove_dir(&checkpoint.dir)?;
    }
    Ok(())
}
