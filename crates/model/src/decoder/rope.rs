//! Angles of the rotary position embedding, with the frequency scaling of Llama 3.1.

use thinktune_compute::{Backend, ComputeError, RopeTable};

use crate::ModelSpec;
use crate::spec::Llama3Scaling;

/// cos and sin of position x frequency on a device, grown on demand.
pub(crate) struct Rope<B: Backend> {
    frequencies: Vec<f32>,
    cos: Vec<f32>,
    sin: Vec<f32>,
    pub(crate) table: RopeTable<B::Buffer>,
}

impl<B: Backend> Rope<B> {
    pub(crate) fn new(spec: &ModelSpec) -> Self {
        let half = spec.head_dim / 2;
        let frequencies = (0..half)
            .map(|i| {
                let frequency = spec.rope_theta.powf(-(2.0 * i as f64) / spec.head_dim as f64);
                spec.rope_scaling.map_or(frequency, |scaling| scale_frequency(frequency, scaling)) as f32
            })
            .collect();
        Self { frequencies, cos: Vec::new(), sin: Vec::new(), table: RopeTable::default() }
    }

    /// Makes sure that positions `0..count` are in the table. Angles are products in f32, as in
    /// transformers.
    ///
    /// # Errors
    /// No memory on the device.
    pub(crate) fn reserve(&mut self, backend: &B, count: usize) -> Result<(), ComputeError> {
        let have = self.cos.len() / self.frequencies.len().max(1);
        if count <= have {
            return Ok(());
        }
        for position in have..count {
            for frequency in &self.frequencies {
                let angle = f64::from(position as f32 * frequency);
                self.cos.push(angle.cos() as f32);
                self.sin.push(angle.sin() as f32);
            }
        }
        self.table.cos = backend.upload(self.cos.clone())?;
        self.table.sin = backend.upload(self.sin.clone())?;
        Ok(())
    }
}

/// Llama 3.1: long wavelengths are divided by `factor`, short ones kept, those between blended.
fn scale_frequency(frequency: f64, scaling: Llama3Scaling) -> f64 {
    let wavelength = std::f64::consts::TAU / frequency;
    let context = scaling.original_context as f64;
    if wavelength < context / scaling.high_freq_factor {
        frequency
    } else if wavelength > context / scaling.low_freq_factor {
        frequency / scaling.factor
    } else {
        let smooth = (context / wavelength - scaling.low_freq_factor)
            / (scaling.high_freq_factor - scaling.low_freq_factor);
        (1.0 - smooth) * frequency / scaling.factor + smooth * frequency
    }
}
