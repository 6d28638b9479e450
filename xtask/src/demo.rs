//! `cargo xtask demo`: the cluster of the end-to-end tests, with a story to watch.
//!
//! Its gateway and its Prometheus are those that need no build: only the control plane is
//! compiled, beside Tidegate.

use anyhow::Result;

use crate::{
    e2e::{self, Profile},
    tools::{Gateway, Prometheus},
};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    e2e::harness(
        "demo",
        arguments,
        Profile::soonest()?,
        Gateway::Traefik,
        Prometheus::Debian,
    )
}
