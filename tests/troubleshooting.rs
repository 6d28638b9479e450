//! The page about troubles has an entry for each reason of the catalogue that tells of one.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeSet, fs, path::Path};

/// Reasons that tell of nothing that is in the way, and phases.
const FINE: &[&str] = &[
    "Adopted",
    "Applied",
    "AwaitingApproval",
    "CleaningUp",
    "EndpointsReady",
    "Initial",
    "InterventionAccepted",
    "KnownGood",
    "NoConflict",
    "NotStalled",
    "NotSuspended",
    "Observing",
    "Paused",
    "PodsReady",
    "Progressing",
    "PromoteRequested",
    "Read",
    "Promoting",
    "Pruned",
    "ReleaseObserved",
    "Restored",
    "RevisionStable",
    "RolledOut",
    "RollingBack",
    "Stable",
    "Started",
    "StepEntered",
    "StepsPassed",
    "SufficientReadyReplicas",
    "Superseded",
    "SuspendRequested",
    "Unsuspended",
    "Waiting",
    "WouldHavePromoted",
    "Written",
];

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Returns the reasons of the generated page: of each table with that column.
fn reasons() -> BTreeSet<String> {
    let mut reasons = BTreeSet::new();
    let mut column = None;
    for line in page("docs/reference/conditions-and-events.md").lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if !line.starts_with('|') {
            column = None;
        } else if let Some(found) = cells.iter().position(|cell| *cell == "reason") {
            column = Some(found);
        } else if let Some(column) = column {
            let reason = cells[column].trim_matches('`');
            if !reason.starts_with('-') {
                reasons.insert(reason.to_owned());
            }
        }
    }
    reasons
}

#[test]
fn each_reason_that_tells_of_a_trouble_has_an_entry() {
    let text = page("docs/troubleshooting.md");
    let entries: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(str::to_owned)
        .collect();
    let mut expected = reasons();
    assert!(expected.len() > 50, "the catalogue was read: {expected:?}");
    for fine in FINE {
        assert!(expected.remove(*fine), "{fine} is no reason");
    }
    let missing: Vec<_> = expected.difference(&entries).collect();
    let unknown: Vec<_> = entries.difference(&expected).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "no entry: {missing:?}; of no reason: {unknown:?}"
    );
}
