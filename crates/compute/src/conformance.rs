//! Placeholder while the trait settles.
