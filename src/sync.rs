//! git → cluster: what a namespace's config repository says is applied, except what a Rollout
//! holds.
//!
//! ```text
//!   ConfigRepo ──▶ reconcile ──┬─ source ──▶ manifest    the branch's head as objects, and which
//!                              │                         commits asked for templates (git)
//!                              ├─ synchronise
//!                              │    ├─ governance, plan  what is applied, what is pruned (pure)
//!                              │    ├─ apply, drift
//!                              │    │    └─ revisions    git's templates wait as ControllerRevisions
//!                              │    └─ prune
//!                              ├─ report, events         the condition Ready
//!                              └─ recording              the condition RecordsWritten
//! ```
//!
//! Sync judges nothing: which template is in force, and what a pinned Service or a split route
//! look like, `tidegate_engine::governed` says. It reads git through [`tidegate_git`], and writes in
//! the name of the `ConfigRepo`'s account; only `ControllerRevision`s, events and its own status are
//! written in Tidegate's own name.

mod apply;
mod cluster;
mod controller;
mod drift;
mod events;
mod failure;
mod governance;
mod manifest;
mod memory;
mod plan;
mod prune;
mod reconcile;
mod recording;
mod report;
mod revisions;
mod source;
mod synchronise;
mod wording;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub(crate) use controller::{Context, after_error, reconcile};
