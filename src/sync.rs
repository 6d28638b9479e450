//! git → cluster.
pub mod governance;
pub mod manifest;
pub mod plan;
