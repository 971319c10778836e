//! Models opened on a device: the only place that knows which devices there are.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use thinktune_compute::{Backend, Precision};
use thinktune_cpu::Cpu;
use thinktune_policy::model_files::WrittenFile;
use thinktune_policy::{
    AdamW, Batcher, Completion, Generate, GenerateProgress, ModelError, Prompt, Sampling, Score, TokenBatch,
    TokenScores, Train, UpdateReport,
};

use crate::frozen::Frozen;
use crate::memory::{Budget, Recompute};
use crate::on_device::{Learning, ReadOnly};
use crate::student::Student;
use crate::{Dtype, ModelSpec, Params};

/// A device that a model can be asked to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub enum Device {
    /// The fastest that is there: the CPU, until there is another.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU, by number.
    Cuda(usize),
}

impl Device {
    /// The device itself in place of `auto`.
    ///
    /// # Errors
    /// A device that this program or this machine does not have, with those that are there.
    pub fn resolve(self) -> Result<Self, ModelError> {
        match self {
            Device::Auto | Device::Cpu => Ok(Device::Cpu),
            Device::Cuda(_) => Err(ModelError::BadInput(format!(
                "device `{self}`: this build has no support for NVIDIA GPUs; there is: {}",
                Self::present().map(|device| format!("`{device}`")).join(", ")
            ))),
        }
    }

    /// The devices that are there, fastest first.
    pub fn present() -> [Self; 1] {
        [Device::Cpu]
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// A text that names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no device: expected `auto`, `cpu`, or `cuda:N` with the number of a GPU; there is: `cpu`")]
pub struct UnknownDevice(String);

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        match text {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            _ => text
                .strip_prefix("cuda:")
                .filter(|index| index.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|index| index.parse().ok())
                .map(Device::Cuda)
                .ok_or_else(|| UnknownDevice(text.to_owned())),
        }
    }
}

/// A model in this process whose weights stay as they are: a teacher, a KL reference, a model to evaluate. It
/// holds its matrices once, in the precision it computes in; copies share them.
pub struct FrozenModel {
    on_device: Box<dyn ReadOnly>,
}

impl FrozenModel {
    /// Loads `config.json` and the safetensors of a directory in Hugging Face layout onto a device.
    ///
    /// # Errors
    /// What [`load_params`](crate::load_params) reports, and a device that is not there.
    pub fn load(dir: &Path, device: Device, precision: Precision) -> Result<Self, ModelError> {
        match device.resolve()? {
            Device::Auto | Device::Cpu | Device::Cuda(_) => Self::load_on(Cpu::new(), dir, precision),
        }
    }

    /// Loads a model onto a backend.
    ///
    /// # Errors
    /// What [`load_params`](crate::load_params) reports.
    pub fn load_on<B: Backend>(backend: B, dir: &Path, precision: Precision) -> Result<Self, ModelError> {
        let weights = crate::checkpoint::load_weights(&backend, dir, precision)?;
        Ok(Self { on_device: Box::new(Frozen::new(backend, weights.into())) })
    }

    /// Keeps within a budget of memory.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.on_device.set_budget(budget);
        self
    }

    /// Another model of the same weights, which are in memory once.
    #[must_use]
    pub fn share(&self) -> Self {
        Self { on_device: self.on_device.share() }
    }

    /// The model's running batch, which requests join and leave.
    pub fn into_batcher(self) -> Box<dyn Batcher> {
        self.on_device.into_batcher()
    }

    /// Shape and constants.
    pub fn spec(&self) -> &ModelSpec {
        self.on_device.spec()
    }

    /// Bytes of its matrices.
    pub fn weight_bytes(&self) -> u64 {
        self.on_device.weight_bytes()
    }

    /// Logits of every position. `[T] -> [T, V]`
    ///
    /// # Errors
    /// An id outside the vocabulary, or a sequence longer than the context.
    pub fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.on_device.logits(tokens)
    }
}

impl Generate for FrozenModel {
    fn generate(
        &mut self,
        prompts: &[Prompt],
        sampling: &Sampling,
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Vec<Completion>>, ModelError> {
        self.on_device.generate(prompts, sampling, progress)
    }
}

impl Score for FrozenModel {
    fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.on_device.score(batch)
    }
}

/// A model in this process that learns: parameters in f32, and, once it is trained, gradients and optimizer
/// state; beside them what a [`FrozenModel`] has, brought up to date after every update.
pub struct LocalModel {
    on_device: Box<dyn Learning>,
}

impl LocalModel {
    /// A model of these weights on a device.
    ///
    /// # Errors
    /// A device that is not there, or has no memory for it.
    pub fn new(params: Params, device: Device, precision: Precision) -> Result<Self, ModelError> {
        match device.resolve()? {
            Device::Auto | Device::Cpu | Device::Cuda(_) => Self::on(Cpu::new(), params, precision),
        }
    }

    /// A model of these weights on a backend.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn on<B: Backend>(backend: B, params: Params, precision: Precision) -> Result<Self, ModelError> {
        Ok(Self { on_device: Box::new(Student::new(backend, params, precision)?) })
    }

    /// Loads `config.json` and the safetensors of a directory in Hugging Face layout onto a device. The configuration
    /// and the tokenizer of the directory go along when the model is saved.
    ///
    /// # Errors
    /// What [`load_params`](crate::load_params) reports, and a device that is not there.
    pub fn load(dir: &Path, device: Device, precision: Precision) -> Result<Self, ModelError> {
        device.resolve()?;
        Ok(Self::new(crate::load_params(dir)?, device, precision)?.with_source(dir))
    }

    /// The directory whose configuration and tokenizer go along when this model is saved.
    #[must_use]
    pub fn with_source(mut self, dir: &Path) -> Self {
        self.on_device.set_source(dir);
        self
    }

    /// Computes matrix products in this precision; parameters, gradients and moments stay f32.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.on_device.set_precision(precision);
        self
    }

    /// Whether layers are recomputed in the backward pass instead of kept.
    #[must_use]
    pub fn with_recompute(mut self, recompute: Recompute) -> Self {
        self.on_device.set_recompute(recompute);
        self
    }

    /// Keeps within a budget of memory; so do the models that are [frozen](Self::frozen) from now on.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.on_device.set_budget(budget);
        self
    }

    /// Writes the weights, and the configuration and tokenizer of the directory it came from, so that
    /// transformers opens the result. Returns the file of the weights.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn export(&self, dir: &Path, dtype: Dtype) -> Result<WrittenFile, ModelError> {
        self.on_device.export(dir, dtype)
    }

    /// Writes the weights alone.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save_weights(&self, dir: &Path, dtype: Dtype) -> Result<WrittenFile, ModelError> {
        self.on_device.save_weights(dir, dtype)
    }

    /// A model of the weights as they are now, which stay when this one is trained. As long as this one is not,
    /// both read the same memory.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn frozen(&mut self) -> Result<FrozenModel, ModelError> {
        Ok(FrozenModel { on_device: self.on_device.frozen()? })
    }

    /// Shape and constants.
    pub fn spec(&self) -> &ModelSpec {
        self.on_device.spec()
    }

    /// A copy of the weights.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn params(&self) -> Result<Params, ModelError> {
        self.on_device.params()
    }

    /// What matrix products are computed in.
    pub fn precision(&self) -> Precision {
        self.on_device.precision()
    }

    /// The gradients gathered since the last update, in the layout of the parameters; empty before
    /// the first `backward`.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn gradients(&self) -> Result<Vec<f32>, ModelError> {
        self.on_device.gradients()
    }

    /// Logits of every position. `[T] -> [T, V]`
    ///
    /// # Errors
    /// An id outside the vocabulary, or a sequence longer than the context.
    pub fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.on_device.logits(tokens)
    }
}

impl Generate for LocalModel {
    fn generate(
        &mut self,
        prompts: &[Prompt],
        sampling: &Sampling,
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Vec<Completion>>, ModelError> {
        self.on_device.generate(prompts, sampling, progress)
    }
}

impl Score for LocalModel {
    fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.on_device.score(batch)
    }
}

impl Train for LocalModel {
    fn token_budget(&self) -> usize {
        self.on_device.token_budget()
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.on_device.forward(batch)
    }

    fn backward(&mut self, d_logprobs: &[f32]) -> Result<(), ModelError> {
        self.on_device.backward(d_logprobs)
    }

    fn update(&mut self, settings: &AdamW) -> Result<UpdateReport, ModelError> {
        self.on_device.update(settings)
    }

    fn save_state(&self, dir: &Path) -> Result<Vec<WrittenFile>, ModelError> {
        self.on_device.save_state(dir)
    }

    fn load_state(&mut self, dir: &Path) -> Result<(), ModelError> {
        self.on_device.load_state(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        for name in ["auto", "cpu", "cuda:0", "cuda:12"] {
            assert_eq!(name.parse::<Device>().unwrap().to_string(), name);
        }
        for name in ["", "CPU", "cuda", "cuda:", "cuda:-1", "cuda:+1", "gpu", "cuda:99999999999999999999"] {
            assert!(name.parse::<Device>().unwrap_err().to_string().contains("expected `auto`"), "{name}");
        }
    }

    #[test]
    fn absent_device_says_what_is_there() {
        assert_eq!(Device::Auto.resolve().unwrap(), Device::Cpu);
        let error = Device::Cuda(0).resolve().unwrap_err().to_string();
        assert!(error.contains("`cuda:0`") && error.contains("there is: `cpu`"), "{error}");
    }
}
