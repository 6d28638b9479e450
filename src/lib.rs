//! Tidegate.

pub mod metrics;
pub mod git;
