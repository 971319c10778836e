//! Durable file operations: write beside, sync, rename; sync a folder; remove without leaving a half.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::RunError;

/// Ending of everything that is not complete yet.
pub(crate) const TMP: &str = ".tmp";

/// Returns the path of the incomplete form of `path`: `.NAME.tmp` beside it.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(TMP);
    path.with_file_name(name)
}

/// Replaces a file's content in one step: readers see the old bytes or the new ones.
///
/// # Errors
/// The file cannot be written; what was there is intact.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let tmp = beside(path);
    let write = || -> io::Result<()> {
        let mut file = File::create(&tmp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&tmp, path)
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&tmp);
        RunError::io("write", path, source)
    })?;
    sync_parent(path)
}

/// Makes the names in a file's folder durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), RunError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable. Windows keeps them so by itself.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), RunError> {
    if cfg!(unix) {
        File::open(dir).and_then(|file| file.sync_all()).map_err(|e| RunError::io("sync", dir, e))?;
    }
    Ok(())
}

/// Creates a folder and its parents.
pub(crate) fn create_dir(dir: &Path) -> Result<(), RunError> {
    fs::create_dir_all(dir).map_err(|e| RunError::io("create", dir, e))
}

/// Removes a folder so that a crash leaves a `.tmp` leftover, never half a folder under its real name.
pub(crate) fn remove_dir(dir: &Path) -> Result<(), RunError> {
    let tmp = beside(dir);
    if tmp.exists() {
        fs::remove_dir_all(&tmp).map_err(|e| RunError::io("remove", &tmp, e))?;
    }
    fs::rename(dir, &tmp).map_err(|e| RunError::io("remove", dir, e))?;
    fs::remove_dir_all(&tmp).map_err(|e| RunError::io("remove", &tmp, e))
}

/// Removes every incomplete file or folder directly within `dir`.
pub(crate) fn remove_leftovers(dir: &Path) -> Result<(), RunError> {
    for name in names(dir)? {
        if name.starts_with('.') && name.ends_with(TMP) {
            let path = dir.join(&name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|e| RunError::io("remove", &path, e))?;
        }
    }
    Ok(())
}

/// Names in a folder, sorted; empty where the folder does not exist.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, RunError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(RunError::io("read", dir, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| RunError::io("read", dir, e))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Every file below `dir`, as sorted paths relative to it with `/` between their parts.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<String>, RunError> {
    fn walk(dir: &Path, prefix: &str, out: &mut Vec<String>) -> Result<(), RunError> {
        for name in names(dir)? {
            let path = dir.join(&name);
            if path.is_dir() {
                walk(&path, &format!("{prefix}{name}/"), out)?;
            } else {
                out.push(format!("{prefix}{name}"));
            }
        }
        Ok(())
    }
    let mut out = Vec::new();
    walk(dir, "", &mut out)?;
    out.sort();
    Ok(out)
}

/// Length and SHA-256 of a file.
pub(crate) fn hash_file(path: &Path) -> Result<(u64, String), RunError> {
    let error = |e| RunError::io("read", path, e);
    let mut file = File::open(path).map_err(error)?;
    let (mut hasher, mut buffer, mut length) = (Sha256::new(), vec![0u8; 1 << 20], 0u64);
    loop {
        let read = file.read(&mut buffer).map_err(error)?;
        if read == 0 {
            return Ok((length, hex(&hasher.finalize())));
        }
        length += read as u64;
        hasher.update(&buffer[..read]);
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a whole text file.
pub(crate) fn read_text(path: &Path) -> Result<String, RunError> {
    fs::read_to_string(path).map_err(|e| RunError::io("read", path, e))
}
