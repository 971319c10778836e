//! The demo's two models, inside the program.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

macro_rules! model_files {
    ($model:literal) => {
        [
            (
                "config.json",
                include_bytes!(concat!("../../../../../assets/word-problems/", $model, "/config.json"))
                    .as_slice(),
            ),
            (
                "generation_config.json",
                include_bytes!(concat!(
                    "../../../../../assets/word-problems/",
                    $model,
                    "/generation_config.json"
                )),
            ),
            (
                "tokenizer.json",
                include_bytes!(concat!("../../../../../assets/word-problems/", $model, "/tokenizer.json")),
            ),
            (
                "tokenizer_config.json",
                include_bytes!(concat!(
                    "../../../../../assets/word-problems/",
                    $model,
                    "/tokenizer_config.json"
                )),
            ),
            (
                "model.safetensors",
                include_bytes!(concat!("../../../../../assets/word-problems/", $model, "/model.safetensors")),
            ),
        ]
    };
}

const STUDENT: [(&str, &[u8]); 5] = model_files!("student");
const TEACHER: [(&str, &[u8]); 5] = model_files!("teacher");

/// Writes `student/` and `teacher/` into `dir`, files that are already there with the same bytes aside.
///
/// # Errors
/// A file that cannot be written.
pub fn write(dir: &Path) -> anyhow::Result<()> {
    for (model, files) in [("student", STUDENT), ("teacher", TEACHER)] {
        let model = dir.join(model);
        fs::create_dir_all(&model).with_context(|| format!("cannot create {}", model.display()))?;
        for (name, bytes) in files {
            let path = model.join(name);
            if fs::read(&path).is_ok_and(|found| found == bytes) {
                continue;
            }
            fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}
