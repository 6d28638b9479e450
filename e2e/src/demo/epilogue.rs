//! The report at the end: the clients' answers, the records and the restore commit, from git.

use anyhow::{Context as _, Result};
use tidegate_api::{
    CommitId,
    record::{GateRecord, OutcomeRecord, RestoreResult},
};

use crate::{
    load::Report,
    testbed::{RECORDS, Testbed},
};

/// Number of characters of an id that a person needs.
const SHORT: usize = 7;

/// The beginning of an id.
pub(super) fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// Prints the clients' answers.
pub(super) fn clients(when: &str, report: &Report) {
    println!(
        "\nThe clients {when}: {} failed.\n  {report}",
        report.failures().len()
    );
}

/// Every outcome in git, one line and its evidence each.
pub(super) async fn records(bed: &Testbed) -> Result<()> {
    println!("\nWhat git says of it, on the branch {RECORDS}:");
    let mut records = bed.outcomes().await?;
    records.sort_by_key(|record| record.head.attempt);
    for record in &records {
        println!("{}", told(record));
    }
    Ok(())
}

/// The config branch's log, and the commit that put the last good template back.
pub(super) async fn restore(bed: &Testbed, record: &OutcomeRecord) -> Result<()> {
    println!("\nThe config branch:");
    for commit in bed.repo.log("main").await? {
        let subject = commit.message.lines().next().unwrap_or_default();
        println!("  {} {subject} ({})", short(&commit.id), commit.author);
    }
    if let Some(RestoreResult::Restored { commit }) = &record.restore {
        let shown = bed
            .repo
            .show(commit.as_str())
            .await
            .context("the restore commit cannot be shown")?;
        println!("\nThe restore commit:\n\n{}", shown.trim_end());
    }
    Ok(())
}

fn told(record: &OutcomeRecord) -> String {
    let OutcomeRecord {
        head,
        outcome,
        reason,
        message,
        ..
    } = record;
    let commit = head.source.commit.as_ref().map_or("-", CommitId::short);
    let mut lines = vec![
        format!("  attempt {}: {outcome} ({})", head.attempt, reason),
        format!(
            "    {} from commit {commit}, revision {}",
            head.images.join(", "),
            head.revision.short()
        ),
        format!("    {message}"),
    ];
    let weights: Vec<_> = record
        .steps
        .iter()
        .map(|step| step.weight.to_string())
        .collect();
    if !weights.is_empty() {
        lines.push(format!("    weights: {}", weights.join(", ")));
    }
    lines.extend(
        record
            .gates
            .iter()
            .filter(|gate| gate.status.readings > 0)
            .map(evidence),
    );
    lines.join("\n")
}

fn evidence(gate: &GateRecord) -> String {
    let status = &gate.status;
    format!(
        "    gate {}: {:?}, {}, {} readings in the last step",
        status.name, status.verdict, status.message, status.readings
    )
}
