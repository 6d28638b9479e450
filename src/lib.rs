//! Tidegate: progressive delivery for Kubernetes that keeps git true.
//!
//! # The map
//!
//! A commit to a config repo comes in on the left, and its outcome goes back there:
//!
//! ```text
//!  git ──fetch──▶ sync ──apply──▶ cluster
//!   ▲                                │ watches
//!   │        observe ◀───────────────┘        ◀── metrics (readings)
//!   │           │
//!   │        decide        tidegate-engine: pure; all the judgement is there
//!   │           │
//!   │        execute ──▶ traffic (Services, routes), workloads, status
//!   │           │
//!   └─outcomes──┘          queued: git being down never delays traffic
//! ```
//!
//! | where | what it owns |
//! |---|---|
//! | `crates/api` ([`tidegate_api`]) | what people write and read: custom resources, records, names |
//! | `crates/engine` ([`tidegate_engine`]) | every decision, as pure functions: no IO, no async, no clock |
//! | `crates/git` ([`tidegate_git`]) | the git program and its objects: fetch, records, restore commits; YAML as kubectl reads it |
//! | `crates/metrics` ([`tidegate_metrics`]) | Prometheus: queries, readings, samplers; no git, no Kubernetes |
//! | `crates/render` | Kustomize overlays and Helm charts of a commit: rendering, and the edit that restores a template |
//! | `sync` | the ConfigRepo controller: read a commit, plan, apply, prune |
//! | `kubernetes` | clients, watches, caches, and the small structs in them; leadership |
//! | `traffic` | one file per router |
//! | `workload` | one file per kind of workload: its caches, watches and writes |
//! | `rollout` | the Rollout controller: observe, decide, execute |
//! | `records` | records on their way to git: one queue and one writer per ConfigRepo |
//! | `notifications` | what people are told in their chat: one queue and one sender per destination |
//! | `caches`, `requeue`, `sync_trigger`, `repository`, `rendering`, `hosts`, `counters` | what both controllers share |
//! | `controller` | builds both controllers and runs them |
//! | `server` | health and metrics over HTTP |
//! | [`cli`] | one file per command |
//! | [`telemetry`] | logging |
//! | [`clock`] | the only place that asks what time it is |
//!
//! # The arrows
//!
//! `api ← engine ← metrics ← everything here`, `git ← everything here`, and inside this crate
//! `kubernetes ← traffic, workload ← records, notifications ← sync, rollout ← controller ← cli`: a module knows what
//! stands to its left and nothing to its right. The git crate knows neither Kubernetes nor any other
//! of our crates. `traffic` and `workload` do not know each other, nor do `sync` and `rollout`: what
//! one of these tells the other goes through `sync_trigger`. What happens next is decided in the
//! engine alone; the modules here gather what it needs and do what it says.

mod caches;
mod causes;
pub mod cli;
pub mod clock;
mod controller;
mod counters;
mod hosts;
mod kubernetes;
mod notifications;
mod records;
mod rendering;
mod repository;
mod requeue;
mod rollout;
mod server;
mod sync;
mod sync_trigger;
pub mod telemetry;
#[cfg(test)]
mod testing;
mod traffic;
mod workload;
