//! Devices by name, and what is there.

use std::fmt;
use std::str::FromStr;

use thinktune_policy::ModelError;

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
