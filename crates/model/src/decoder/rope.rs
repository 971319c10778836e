//! Angles of the rotary position embedding, with the frequency scaling of Llama 3.1.

use crate::ModelSpec;
use crate::spec::Llama3Scaling;

/// cos and sin of position x frequency, `[positions, d/2]`, grown on demand.
#[derive(Debug, Clone)]
pub(crate) struct RopeTable {
    frequencies: Vec<f32>,
    pub(crate) cos: Vec<f32>,
    pub(crate) sin: Vec<f32>,
}

impl RopeTable {
    pub(crate) fn new(spec: &ModelSpec) -> Self {
        let half = spec.head_dim / 2;
        let frequencies = (0..half)
            .map(|i| {
                let frequency = spec.rope_theta.powf(-(2.0 * i as f64) / spec.head_dim as f64);
                spec.rope_scaling.map_or(frequency, |scaling| scale_frequency(frequency, scaling)) as f32
            })
            .collect();
        Self { frequencies, cos: Vec::new(), sin: Vec::new() }
    }

    /// Number of positions in the table.
    pub(crate) fn positions(&self) -> usize {
        self.cos.len() / self.frequencies.len().max(1)
    }

    /// Makes sure that positions `0..count` are in the table. Angles are products in f32, as in
    /// transformers.
    pub(crate) fn reserve(&mut self, count: usize) {
        for position in self.positions()..count {
            for frequency in &self.frequencies {
                let angle = f64::from(position as f32 * frequency);
                self.cos.push(angle.cos() as f32);
                self.sin.push(angle.sin() as f32);
            }
        }
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
