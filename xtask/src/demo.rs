//! `cargo xtask demo`: the cluster of the end-to-end tests, with a story to watch.

use anyhow::Result;

use crate::e2e;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    e2e::harness("demo", arguments)
}
