//! Tidegate.
pub mod git;
pub mod sync;
