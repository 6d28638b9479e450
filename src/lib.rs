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
//! | [`sync`] | git → cluster: read a commit, plan, apply, prune |
//! | `kubernetes` | clients, caches, and the small structs in them |
//! | `traffic` | one file per router |
//! | [`rollout`] | watches, observe, decide, execute, leadership |
//! | `server` | health and metrics over HTTP |
//! | [`cli`] | one file per command |
//! | [`telemetry`] | logging |
//! | [`clock`] | the only place that asks what time it is |
//!
//! # The arrows
//!
//! `api ← engine ← metrics ← everything here`, `git ← everything here`, and inside this crate
//! `kubernetes ← traffic, sync ← rollout ← cli`: a module knows what stands to its left and nothing
//! to its right. The git crate knows neither Kubernetes nor any other of our crates; `traffic` does
//! not know it. The choice of what happens next is made in the engine alone; what is here gathers
//! what it needs and does what it says.

pub mod cli;
pub mod clock;
mod kubernetes;
pub mod rollout;
mod server;
pub mod sync;
pub mod telemetry;
mod traffic;
