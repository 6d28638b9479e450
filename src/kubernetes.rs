//! Kubernetes as the rest of the program sees it: clients, watches and caches, the small structs in
//! them, leadership.
//!
//! Nothing here decides, and nothing here knows what a Rollout is.

pub(crate) mod applier;
pub(crate) mod apply;
pub(crate) mod cache;
pub(crate) mod caller;
pub(crate) mod carried;
pub(crate) mod clients;
pub(crate) mod config;
mod connection;
pub(crate) mod events;
pub(crate) mod fence;
pub(crate) mod leadership;
pub(crate) mod managed_fields;
pub(crate) mod patch;
pub(crate) mod pod_template;
pub(crate) mod schema;
#[cfg(test)]
pub(crate) mod testing;
mod unread;
pub(crate) mod watch;
pub(crate) mod watched;
pub(crate) mod writer;
