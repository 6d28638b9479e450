//! YAML as kubectl reads it, into JSON values. Sync and restore read with the same rules, so that
//! a template has the same revision for both.
//!
//! kubectl reads YAML 1.1 as go-yaml does, so unquoted `yes`, `on`, `y` and their opposites are
//! booleans, `0644` is octal (as file modes are written), `1e3` and `1_000` are the number 1000,
//! and a date stays a string. A number without a fraction is an integer, however it was written.
//! `.nan` and `.inf`, which JSON does not have, are rejected. Keys are always strings, as written.

use serde_json::{Map, Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, Error, Options};

/// Maximum depth of nesting. Objects of Kubernetes stay far below.
pub const MAX_DEPTH: usize = 64;
/// Maximum number of documents, mappings, sequences and scalars in a file, those that aliases
/// repeat included.
pub const MAX_NODES: usize = 200_000;
/// Maximum number of documents in a file.
pub const MAX_DOCUMENTS: usize = 1_024;
/// Maximum number of anchors, and of aliases, in a file: far more than people write.
pub const MAX_ALIASES: usize = 1_000;

/// Maximum size of all scalars in a file, those that aliases repeat included: twice that of a file.
pub const MAX_TEXT_BYTES: usize = 8 * 1024 * 1024;

/// Reads a text of one document.
///
/// Fails for a text that is not YAML, that exceeds a limit, or that JSON cannot represent.
pub fn from_str(text: &str) -> Result<Value, Error> {
    let mut value = serde_saphyr::from_str_with_options(text, options())?;
    normalize_integers(&mut value);
    Ok(value)
}

/// Options for serde-saphyr. Its values still have to go through [`normalize_integers`].
pub fn options() -> Options {
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        legacy_octal_numbers: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_total_scalar_bytes: MAX_TEXT_BYTES,
            max_documents: MAX_DOCUMENTS,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_merge_keys: MAX_ALIASES,
            max_recorded_anchor_events: MAX_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: 16,
            max_alias_expansions_per_anchor: MAX_ALIASES,
        },
    }
}

/// Makes every number without a fraction an integer, as the API server does: `1e3` is `1000`.
pub fn normalize_integers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = whole(number) {
                *number = whole;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalize_integers),
        Value::Object(fields) => Map::values_mut(fields).for_each(normalize_integers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Returns the integer that a float without a fraction stands for.
fn whole(number: &Number) -> Option<Number> {
    /// Up to here every integer has a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !number.is_f64() {
        return None;
    }
    let float = number.as_f64()?;
    if float.fract() != 0.0 || float.abs() > EXACT {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole, and within the exact range"
    )]
    Some(Number::from(float as i64))
}
