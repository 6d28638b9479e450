//! Tidegate.

pub mod metrics;
