//! Which sizes a model can have.

use thinktune_policy::ModelError;

use crate::ModelSpec;

/// Most layers accepted: far above any published model, low enough that listing tensors is harmless.
const MAX_LAYERS: usize = 4096;
/// Largest single size accepted: token ids and tensor sides fit 31 bits.
const MAX_SIZE: usize = i32::MAX as usize;
/// Most parameters accepted: what a flat f32 buffer of 2^48 bytes holds.
const MAX_PARAMETERS: usize = 1 << 46;

impl ModelSpec {
    /// Checks sizes and constants against each other; a spec read from a file has passed.
    ///
    /// # Errors
    /// The first impossible value, by its name in `config.json`.
    pub fn check(&self) -> Result<(), ModelError> {
        self.first_fault().map_or(Ok(()), |fault| Err(ModelError::BadInput(fault)))
    }

    pub(super) fn first_fault(&self) -> Option<String> {
        let sizes = [
            ("vocab_size", self.vocab_size, MAX_SIZE),
            ("hidden_size", self.width, MAX_SIZE),
            ("num_hidden_layers", self.layers, MAX_LAYERS),
            ("num_attention_heads", self.heads, MAX_SIZE),
            ("num_key_value_heads", self.kv_heads, MAX_SIZE),
            ("head_dim", self.head_dim, MAX_SIZE),
            ("intermediate_size", self.ffn, MAX_SIZE),
            ("max_position_embeddings", self.context, MAX_SIZE),
        ];
        if let Some((key, value, most)) =
            sizes.into_iter().find(|(_, value, most)| !(1..=*most).contains(value))
        {
            return Some(format!("`{key}` is {value}, expected an integer from 1 to {most}"));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Some(format!(
                "`num_key_value_heads` is {}, expected a divisor of `num_attention_heads` = {}",
                self.kv_heads, self.heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Some(format!(
                "`head_dim` is {}, expected an even number (rope turns pairs)",
                self.head_dim
            ));
        }
        if !(self.norm_eps > 0.0 && self.norm_eps.is_finite()) {
            return Some(format!("`rms_norm_eps` is {}, expected a positive number", self.norm_eps));
        }
        match self.checked_parameters() {
            Some(count) if count <= MAX_PARAMETERS => None,
            _ => Some(format!(
                "`hidden_size` {}, `intermediate_size` {}, `num_attention_heads` {}, `head_dim` {}, `vocab_size` {} and \
                 `num_hidden_layers` {} together ask for more than {MAX_PARAMETERS} parameters; check the sizes",
                self.width, self.ffn, self.heads, self.head_dim, self.vocab_size, self.layers
            )),
        }
    }

    /// An upper bound of [`ModelSpec::parameters`] that cannot overflow.
    fn checked_parameters(&self) -> Option<usize> {
        let q_width = self.heads.checked_mul(self.head_dim)?;
        let attention = self.width.checked_add(1)?.checked_mul(q_width.checked_mul(4)?)?;
        let mlp = self.width.checked_mul(self.ffn)?.checked_mul(3)?;
        let norms = self.width.checked_mul(2)?.checked_add(self.head_dim.checked_mul(2)?)?;
        let layer = attention.checked_add(mlp)?.checked_add(norms)?;
        let embedding = self.vocab_size.checked_add(1)?.checked_mul(self.width)?.checked_mul(2)?;
        layer.checked_mul(self.layers)?.checked_add(embedding)
    }
}
