//! Findings as people and programs read them: one file per format.

use super::Report;

pub(super) mod github;
pub(super) mod sarif;
pub(super) mod text;

/// Returns the findings as JSON.
pub(super) fn json(report: &Report) -> String {
    let text = serde_json::to_string_pretty(report).expect("findings are JSON");
    text + "\n"
}
