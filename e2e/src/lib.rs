//! Tidegate against real parts: what stands beside the control plane.
//!
//! ```text
//! load ──▶ gateway ──▶ demo_app ◀── node_agent ──▶ API server ◀── fault_proxy ◀── Tidegate
//!                                                                                    │
//!                                                            git_server ◀────────────┘
//! ```
//!
//! Each stands on its own and knows of the others at most the demo app; `process` and
//! `http_client` are beneath them all.

pub mod demo_app;
pub mod fault_proxy;
pub mod git_server;
pub mod http_client;
pub mod load;
pub mod node_agent;
pub mod process;
