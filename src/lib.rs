//! Tidegate.
pub mod git;
