//! Tidegate against real parts: what stands beside the control plane.

pub mod demo_app;
pub mod fault_proxy;
pub mod git_server;
pub mod http_client;
pub mod load;
pub mod node_agent;
pub mod process;
