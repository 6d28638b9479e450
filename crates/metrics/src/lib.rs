//! Prometheus: queries, readings, samplers.
//!
//! ```text
//! QueryTemplate ──expand──▶ Query ──▶ Prometheus (two instant queries) ──▶ Sample ──▶ Reading
//! (as a gate has it)        (parsed,  (one HTTP client for all)                       (sampler)
//!                            knows its
//!                            selectors)
//! CounterQuery ─────────────────────▶ Prometheus (a range of both versions) ─▶ Counters ─▶ intervals
//! ```
//!
//! This crate owns the queries of the gates: how they are written, sent, bounded and read, and every
//! way in which that can fail. It does not judge: the engine decides which values are good. It knows
//! nothing of git, and serves no metrics of Tidegate's own.

pub mod buckets;
pub mod cases;
pub mod counter_query;
pub mod credentials;
mod expression;
mod history;
pub mod http;
pub mod namespace_label;
pub mod outline;
pub mod preflight;
pub mod prometheus;
pub mod query;
pub mod query_error;
pub mod query_result;
mod quotient;
pub mod sample;
pub mod sampler;
pub mod scrape_interval;
pub mod template;

#[cfg(test)]
mod tests;

use std::sync::Arc;

/// Source of the time; nothing in here reads a clock of its own.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;
