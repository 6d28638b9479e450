//! Tidegate against a real control plane, gateway, Prometheus and git server.
//!
//! ```text
//! cli ──▶ scenario ──▶ scenarios::*      one file each; and the demo
//!             │             │
//!             ▼             ▼
//!          cluster     load ──▶ gateway ──▶ demo_app
//!             │                                 ▲
//!             └──▶ node_agent ──────────────────┘
//!
//! API server ◀── fault_proxy ◀── Tidegate ──▶ git_server
//! ```
//!
//! `cluster` starts etcd, Kubernetes, a gateway and Prometheus as child processes in the network
//! namespace that `cargo xtask e2e` makes, and the node agent that makes pods of
//! processes; none of the parts is a mock. Each of the others stands on its own and knows at most
//! the demo app; `process`, `http_client` and `eventually` are beneath them all. What a client saw
//! and what the API server's audit log says are the truth of a scenario, never Tidegate's status.

pub mod bench;
pub mod chart;
pub mod cli;
pub mod cluster;
pub mod demo;
pub mod demo_app;
pub mod eventually;
pub mod fault_proxy;
pub mod git_server;
pub mod http_client;
pub mod load;
pub mod manifests;
pub mod node_agent;
pub mod process;
pub mod scenario;
pub mod scenarios;
pub mod testbed;
