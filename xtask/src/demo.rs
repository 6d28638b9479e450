//! `cargo xtask demo`: the cluster of the end-to-end tests, with a story to watch.
//!
//! Its gateway and its Prometheus are those that need no build: only the control plane is
//! compiled, beside Tidegate.

use anyhow::Result;

use crate::{
    e2e::{self, Profile},
    tools::{Gateway, Parts, Prometheus},
};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let parts = Parts {
        gateways: &[Gateway::Traefik],
        prometheus: Prometheus::Debian,
        fake_pods: false,
        flux: false,
        ssh: false,
    };
    e2e::harness("demo", arguments, Profile::soonest()?, parts)
}
