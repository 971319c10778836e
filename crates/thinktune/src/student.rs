//! The model folder that a run starts from.

use std::path::{Path, PathBuf};

use serde_json::Value;
use thinktune_method::run::file_hash;
use thinktune_model::{Dtype, LocalModel, ModelSpec, copy_config, copy_side_files, init_random};
use thinktune_policy::ModelError;
use thinktune_runlog::FileHash;
use thinktune_text::ChatTokenizer;

use crate::config::Init;
use crate::plan::Plan;

/// A model's folder and what was read of it, its weights aside.
pub struct Student {
    /// The folder.
    pub dir: PathBuf,
    /// Shape.
    pub spec: ModelSpec,
    /// Tokenizer and chat template.
    pub tokenizer: ChatTokenizer,
}

impl Student {
    /// Reads everything but the weights.
    ///
    /// # Errors
    /// A file that is missing or foreign; a tokenizer whose ids exceed the vocabulary.
    pub fn open(dir: &Path, date: &str) -> anyhow::Result<Self> {
        let spec = ModelSpec::from_dir(dir)?;
        let tokenizer = ChatTokenizer::load(dir, date)?;
        tokenizer.check_vocab(spec.vocab_size)?;
        Ok(Self { dir: dir.into(), spec, tokenizer })
    }

    /// Loads the weights, or draws random ones, as the plan says.
    ///
    /// # Errors
    /// Weights that are missing or foreign.
    pub fn load(&self, plan: &Plan) -> anyhow::Result<LocalModel> {
        Ok(match plan.init {
            Init::Pretrained => LocalModel::load(&self.dir, plan.device, plan.precision)?,
            Init::Random => {
                let params = init_random(self.spec.clone(), plan.seed);
                LocalModel::new(params, plan.device, plan.precision)?
            }
        })
    }

    /// Copies what makes a folder of weights a model folder: tokenizer and configuration, the latter for weights of
    /// that precision.
    ///
    /// # Errors
    /// A file that cannot be copied.
    pub fn copy_side_files(&self, to: &Path, dtype: Dtype) -> Result<(), ModelError> {
        copy_config(&self.dir, to, dtype)?;
        copy_side_files(&self.dir, to)
    }

    /// Writes `model`, trained from this student, in the precision the student came in. Returns the checksum of the
    /// weights.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn export(&self, model: &LocalModel, to: &Path) -> Result<Vec<FileHash>, ModelError> {
        let dtype = dtype_of(&self.dir);
        let weights = model.save_weights(to, dtype)?;
        self.copy_side_files(to, dtype)?;
        Ok(vec![file_hash(weights)])
    }
}

/// Returns true for the files a model folder is read for: weights, configuration, tokenizer, chat template.
pub fn is_model_file(name: &str) -> bool {
    !name.contains('/') && [".safetensors", ".json", ".jinja"].iter().any(|ending| name.ends_with(ending))
}

/// The precision `config.json` names; f32 where it names none.
fn dtype_of(dir: &Path) -> Dtype {
    let text = std::fs::read_to_string(dir.join("config.json")).unwrap_or_default();
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    let name = ["dtype", "torch_dtype"].iter().find_map(|key| config[*key].as_str());
    let known = [Dtype::Bf16, Dtype::F16].into_iter().find(|dtype| Some(dtype.torch_name()) == name);
    known.unwrap_or(Dtype::F32)
}
