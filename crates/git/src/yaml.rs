//! YAML as kubectl reads it, into JSON values. Sync and restore read with the same rules, so that
//! a template has the same revision for both.
//!
//! kubectl reads YAML 1.1 as go-yaml has it, so unquoted `yes`, `on`, `y` and their opposites are
//! booleans, `0644` is octal (as file modes are written), `1e3` and `1_000` are the number 1000,
//! and a date stays a text. A number without a fraction is an integer, however it was written.
//! `.nan` and `.inf`, which JSON does not have, are refused. Keys are always texts, as written.

use serde_json::{Map, Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, Error, Options};

/// The API server refuses objects that are nested more deeply than any of ours.
pub const MAX_DEPTH: usize = 64;
/// Documents, mappings, sequences and scalars of one file, those that aliases repeat included.
pub const MAX_NODES: usize = 200_000;
/// Documents of one file.
pub const MAX_DOCUMENTS: usize = 1_024;
/// Anchors, and aliases, of one file: far more than people write.
pub const MAX_ALIASES: usize = 1_000;

/// The value of a text of one document.
pub fn value(text: &str) -> Result<Value, Error> {
    let mut value = serde_saphyr::from_str_with_options(text, options())?;
    whole_numbers(&mut value);
    Ok(value)
}

/// How serde-saphyr is to read. What it reads is not done before [`whole_numbers`].
pub fn options() -> Options {
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        legacy_octal_numbers: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
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

/// Makes `1e3` what JSON and the API server call an integer.
pub fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = whole(number) {
                *number = whole;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => Map::values_mut(fields).for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn whole(number: &Number) -> Option<Number> {
    /// Up to here every whole number is a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|_| number.is_f64())?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole, and within the exact range"
    )]
    (float.fract() == 0.0 && float.abs() <= EXACT).then(|| Number::from(float as i64))
}
