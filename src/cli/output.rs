//! Objects as JSON and as YAML, for programs.

use std::io::{self, Write as _};

use anyhow::Context as _;
use serde::Serialize;

/// Prints a text. A reader that has seen enough is an error, and no panic.
pub(super) fn print(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

/// Returns an object, or several, as JSON.
pub(super) fn json(object: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(object)? + "\n")
}

/// Returns an object, or several, as YAML.
pub(super) fn yaml(object: &impl Serialize) -> anyhow::Result<String> {
    // By way of JSON, whose numbers and texts the API server reads.
    let value = serde_json::to_value(object)?;
    serde_saphyr::to_string(&value).context("cannot be written as YAML")
}
