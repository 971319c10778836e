//! Settings and report of one optimizer update.

/// Settings of one optimizer update: AdamW with decoupled weight decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate of this update.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled decay of matrices; vectors (norms, biases) are spared.
    pub weight_decay: f32,
    /// Gradients are scaled down to this global norm; infinite = off.
    pub max_grad_norm: f32,
}

/// What an update did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct UpdateReport {
    /// Global L2 norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Number of updates made so far, this one included.
    pub updates: u64,
}
