//! Tidegate against a real control plane, gateway, Prometheus and git server.
//!
//! ```text
//! cli ──▶ scenario ──▶ scenarios::*        what is tried, one file each
//!  │          │
//!  └──────────┴──▶ cluster                 etcd, Kubernetes, Contour and Envoy, Prometheus
//!                     │
//!                     └──▶ process         a child with its log, gone when dropped
//!                          http_client     plain and trusting clients
//!                          eventually      a condition with a deadline
//! ```
//!
//! Everything runs as a child process in the network namespace that `cargo xtask e2e` makes; none
//! of the parts is a mock. What a client saw and what the API server's audit log says are the
//! truth of a scenario, never Tidegate's own status.

pub mod cli;
pub mod cluster;
pub mod eventually;
pub mod http_client;
pub mod process;
pub mod scenario;
pub mod scenarios;
