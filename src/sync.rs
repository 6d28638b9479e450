//! git → cluster: the objects of a config repository are applied, except fields that a Rollout masks.
//!
//! ```text
//!   ConfigRepo ──▶ reconcile ──┬─ look                   beside the reconciles
//!                              │    └─ source ──▶ manifest    the branch's head as objects, and which
//!                              │                         commits asked for templates (git)
//!                              ├─ barred: claims, rights     objects that are not this ConfigRepo's to apply
//!                              ├─ run
//!                              │    ├─ governance, plan  objects to apply and to prune (pure)
//!                              │    ├─ removal           objects that leave later, or when acknowledged (pure)
//!                              │    ├─ apply, drift
//!                              │    │    └─ revisions    git's templates wait as ControllerRevisions
//!                              │    └─ prune
//!                              ├─ provenance             commits of what others apply, where nothing is applied
//!                              ├─ report, remarks        the condition Ready
//!                              ├─ events
//!                              └─ recording              the condition RecordsWritten
//! ```
//!
//! Sync decides nothing about releases: `tidegate_engine::governed` says which template is in force,
//! and how a pinned Service or a split route looks. The sentences are in `wording`. It reads git through [`tidegate_git`], and writes in
//! the name of the `ConfigRepo`'s account; only `ControllerRevision`s, events and its own status are
//! written in Tidegate's own name.

mod apply;
mod barred;
mod budget;
mod claims;
mod cluster;
mod config;
mod controller;
mod drift;
mod events;
mod failure;
mod governance;
mod look;
pub(crate) mod manifest;
mod memory;
mod order;
mod ownership;
mod plan;
mod provenance;
mod prune;
mod reconcile;
mod recording;
mod remarks;
mod removal;
mod replicas;
mod report;
mod revisions;
mod rights;
mod run;
mod seen;
mod source;
mod unreleased;
mod wording;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub(crate) use controller::{Context, after_error, reconcile};
pub(crate) use look::LookSettings;
