//! Releases of a workload that is left to itself, as lines.

use jiff::Timestamp;
use ratatui::{
    style::{Color, Style},
    text::{Line, Span},
};
use tidegate_api::{
    reason::Finding,
    status::{ObservedFinding, ObservedRelease, RolloutStatus},
};

use super::{attempt, part};
use crate::cli::age;

/// Adds the release that is observed, its gates, and what was found of those before.
pub(in crate::cli) fn parts(
    lines: &mut Vec<Line<'static>>,
    status: &RolloutStatus,
    now: Timestamp,
) {
    let Some(observation) = &status.observation else {
        return;
    };
    if let Some(release) = &observation.release {
        part(lines, "Observed release", vec![release_line(release, now)]);
        let gates = attempt::gates(&release.plan, &release.gates, now);
        part(lines, "Gates", gates);
    }
    let findings = observation.findings.iter();
    let findings = findings.map(|finding| finding_line(finding, now));
    part(lines, "Findings", findings.collect());
}

fn release_line(release: &ObservedRelease, now: Timestamp) -> Line<'static> {
    let pods = match release.ready_since {
        Some(since) => format!("its first pod ready for {}", age::since(since, now)),
        None => "no pod ready yet".to_owned(),
    };
    Line::from(format!(
        "  release {} of revision {} (pod-template-hash {}), began {} ago, {pods}",
        release.number,
        release.revision.short(),
        release.pod_template_hash,
        age::since(release.started_at, now)
    ))
}

fn finding_line(finding: &ObservedFinding, now: Timestamp) -> Line<'static> {
    let style = match finding.finding {
        Finding::WouldHavePromoted => Style::new().fg(Color::Green),
        Finding::WouldHaveRolledBack => Style::new().fg(Color::Red),
        Finding::Inconclusive | Finding::Superseded => Style::new().fg(Color::Yellow),
    };
    Line::from(vec![
        Span::from(format!("  release {} ", finding.release)),
        Span::styled(finding.finding.to_string(), style),
        Span::from(format!(
            " {} ago, revision {} (pod-template-hash {}): {}",
            age::since(finding.at, now),
            finding.revision.short(),
            finding.pod_template_hash,
            finding.message
        )),
    ])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_observed_and_what_was_found_is_told() {
        let status = json!({ "observation": {
            "podTemplateHash": "7d9f", "revision": "b7bc06a6f4d1", "releases": 2,
            "release": {
                "number": 2, "podTemplateHash": "5c4b", "revision": "e9d4e664b72c",
                "startedAt": "2026-11-30T10:00:00Z", "readySince": "2026-11-30T10:00:10Z",
                "plan": {
                    "workload": { "kind": "Deployment", "name": "checkout" }, "traffic": { "replicas": {} },
                    "steps": [{ "weight": 10, "hold": "5m" }],
                    "gates": [{ "name": "errors", "threshold": { "query": "errors", "max": 0.01 } }],
                },
            },
            "findings": [{
                "release": 1, "podTemplateHash": "7d9f", "revision": "b7bc06a6f4d1", "finding": "WouldHaveRolledBack",
                "message": "gate \"errors\" breached: 0.2 (max 0.01), 92s after its first pod was ready",
                "at": "2026-11-29T10:00:00Z",
            }],
        } });
        let status = serde_json::from_value(status).unwrap();
        let mut lines = Vec::new();
        parts(&mut lines, &status, "2026-11-30T10:01:00Z".parse().unwrap());
        let text: Vec<_> = lines.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        Observed release
          release 2 of revision e9d4e664b7 (pod-template-hash 5c4b), began 60s ago, its first pod ready for 50s

        Gates
          errors               Pending   max 0.01, 0 readings

        Findings
          release 1 WouldHaveRolledBack 24h ago, revision b7bc06a6f4 (pod-template-hash 7d9f): gate "errors" breached: 0.2 (max 0.01), 92s after its first pod was ready
        "#);
    }
}
