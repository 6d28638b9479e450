//! SARIF 2.1.0, which code scanning of GitHub, GitLab and Azure reads.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::lint::{Check, Finding};

/// Schema of the format.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// Returns a log with one run.
pub(in crate::cli::lint) fn log(findings: &[Finding]) -> String {
    let rules: Vec<Value> = Check::ALL.into_iter().map(rule).collect();
    let results: Vec<Value> = findings.iter().map(result).collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "tidegate lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    let text = serde_json::to_string_pretty(&log).expect("a log is JSON");
    text + "\n"
}

fn rule(check: Check) -> Value {
    json!({
        "id": check.as_str(),
        "shortDescription": { "text": check.about() },
        "defaultConfiguration": { "level": check.severity().as_str() },
    })
}

fn result(finding: &Finding) -> Value {
    let subject = finding.subject();
    let text = if subject.is_empty() {
        finding.message.clone()
    } else {
        format!("{subject}: {}", finding.message)
    };
    let index = Check::ALL.iter().position(|check| *check == finding.check);
    json!({
        "ruleId": finding.check.as_str(),
        "ruleIndex": index,
        "level": finding.severity.as_str(),
        "message": { "text": text },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&finding.file) },
            "region": { "startLine": finding.place.line, "startColumn": finding.place.column },
        } }],
    })
}

/// Escapes what may not stand in a path of a URI.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}
