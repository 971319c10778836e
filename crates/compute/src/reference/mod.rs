//! Placeholder while the trait settles.
pub struct Reference;
