//! The Rollout controller: observe, decide, execute.
//!
//! ```text
//!  watches ─▶ caches ─▶ observe ─▶ (engine: decide) ─▶ execute ─▶ API server
//!     └─requeue─▶ urgent lane ─▶ reconcile ◀─▶ samplers, records, which requeue, too
//! ```
//!
//! Everything that may take long runs beside it and requeues the Rollout when there is news: a
//! reconcile never awaits Prometheus, git, a hold or endpoints that settle.

mod attributions;
mod brake;
mod context;
mod events;
pub(crate) mod execute;
mod leftovers;
mod locks;
pub(crate) mod memory;
mod observations;
mod observe;
pub(crate) mod prometheus;
mod query_checks;
mod reconcile;
mod retries;
mod samplers;
mod surroundings;
mod templates;
pub(crate) mod urgent;
mod variables;
mod waits;
mod watches;
mod write_errors;

pub(crate) use self::{
    context::Context,
    leftovers::collect,
    reconcile::{after_error, reconcile},
    watches::start as start_watches,
};
