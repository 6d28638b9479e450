//! How the rest of the program sees Kubernetes: clients, caches, and the small structs in them.
//!
//! Nothing here decides, and nothing here knows what a Rollout is.

pub(crate) mod cache;
pub(crate) mod clients;
pub(crate) mod event;
pub(crate) mod fence;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod watched;
