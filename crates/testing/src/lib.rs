//! Real data for tests, and skips that are seen.
//!
//! A test whose data is not on this machine ends early and counts as passed. [`skipped`] makes that visible: it
//! writes `SKIPPED <test name>: <reason>` to stderr past the capture of the test runner, and adds the same line to the
//! file that `THINKTUNE_SKIPS` names, so that a script can count them.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Environment variable that names the folder of real data.
pub const DATA: &str = "THINKTUNE_DATA";
/// Environment variable that names the file which gains a line for each skip.
pub const SKIPS: &str = "THINKTUNE_SKIPS";

/// Returns a file or folder of real data, or `None` where it is not on this machine: the running test then counts as
/// skipped and should return.
pub fn real_data(name: &str) -> Option<PathBuf> {
    let path = data_folder().join(name);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("no {}; set {DATA} to the folder that holds {name}", path.display()));
    None
}

/// Returns the folder of real data: `THINKTUNE_DATA`, else `shared/data` beside the repository.
pub fn data_folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    std::env::var_os(DATA).map_or_else(beside, PathBuf::from)
}

/// Reports that the running test did not test what its name says, or not all of it. Call it at most once in a test.
pub fn skipped(reason: &str) {
    let thread = std::thread::current();
    let line = line(thread.name().unwrap_or("?"), reason);
    let _ = io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os(SKIPS) {
        append(Path::new(&path), &line);
    }
}

/// One line, whatever the reason holds.
fn line(test: &str, reason: &str) -> String {
    format!("SKIPPED {test}: {}\n", reason.replace(['\n', '\r'], " "))
}

/// Adds a line in one write, because several test processes may do so at once.
fn append(path: &Path, line: &str) {
    let written = OpenOptions::new().create(true).append(true).open(path);
    let written = written.and_then(|mut file| file.write_all(line.as_bytes()));
    written.unwrap_or_else(|error| panic!("{SKIPS} = {}: {error}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_is_one_line_with_the_test_name() {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        assert_eq!(
            line(&name, "no a;\nno b"),
            format!("SKIPPED {}: no a; no b\n", "tests::a_skip_is_one_line_with_the_test_name")
        );
    }

    #[test]
    fn lines_of_skips_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("skips");
        append(&path, &line("a", "x"));
        append(&path, &line("b", "y"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "SKIPPED a: x\nSKIPPED b: y\n");
    }
}
