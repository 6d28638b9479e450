//! What Prometheus says about a release.
//!
//! ```text
//! Template ──expand──▶ Question ──▶ Prometheus (two instant queries) ──▶ Sample ──▶ Reading
//! (a gate's query)     (parsed,     (one HTTP client for all)                       (sampler)
//!                       knows its
//!                       selectors)
//! ```
//!
//! This crate owns the queries of the gates: how they are written, asked, bounded and read, and
//! every way in which that can fail. It does not judge: whether a value is good is the engine's to
//! say. It serves no metrics of Tidegate's own either.

pub mod answer;
pub mod cases;
pub mod credentials;
pub mod http;
pub mod preflight;
pub mod prometheus;
pub mod query_error;
pub mod question;
pub mod sample;
pub mod sampler;
pub mod template;

#[cfg(test)]
mod tests;

use std::sync::Arc;

/// Where the time comes from; nothing in here reads a clock of its own.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;
