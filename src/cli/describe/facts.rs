//! Facts of a status that the live screen has no room for.

use jiff::Timestamp;
use ratatui::{style::Stylize as _, text::Line};
use tidegate_api::{
    CommitId,
    record::{PendingRecord, Record},
    status::{AcceptedIntervention, Attempt, Failover, Rejected, RolloutStatus, Shortcut},
};

use crate::cli::age;

/// Revision that git asks for, with who asked.
pub(super) fn wanted(status: &RolloutStatus, now: Timestamp) -> Vec<Line<'static>> {
    let wanted = status.wanted.iter().map(|wanted| {
        let origin = origin(wanted.commit.as_ref(), wanted.author.as_deref());
        let age = age::since(wanted.since, now);
        Line::from(format!(
            "  revision {}{origin}, for {age}",
            wanted.revision.short()
        ))
    });
    wanted.collect()
}

/// The last promoted revision, with who asked for it.
pub(super) fn stable(status: &RolloutStatus, now: Timestamp) -> Vec<Line<'static>> {
    let stable = status.stable.iter().map(|stable| {
        let source = &stable.source;
        let origin = origin(source.commit.as_ref(), source.author.as_deref());
        let age = age::since(stable.since, now);
        Line::from(format!(
            "  revision {}{origin}, for {age}",
            stable.revision.short()
        ))
    });
    stable.collect()
}

/// Number, revision, stage and images of the attempt.
pub(super) fn attempt(attempt: &Attempt, now: Timestamp) -> Vec<Line<'static>> {
    let mut lines = vec![
        Line::from(format!(
            "  attempt {} of revision {}, started {} ago",
            attempt.number,
            attempt.revision.short(),
            age::since(attempt.started_at, now)
        )),
        Line::from(format!(
            "  stage {:?} for {}",
            attempt.stage,
            age::since(attempt.stage_since, now)
        )),
    ];
    if !attempt.images.is_empty() {
        lines.push(Line::from(format!(
            "  images {}",
            attempt.images.join(", ")
        )));
    }
    if let Some(config) = &attempt.config {
        let copies = config.copies.iter();
        let copies: Vec<_> = copies
            .map(|copy| format!("{} (the canary reads {})", copy.object(), copy.copy))
            .collect();
        lines.push(Line::from(format!("  config {}", copies.join(", "))));
    }
    match attempt.shortcut {
        Some(Shortcut::KnownGood) => {
            lines.push(Line::from(
                "  holds and gates are skipped: the revision was promoted before",
            ));
        }
        Some(Shortcut::Promote) => {
            lines.push(Line::from(
                "  holds and approvals are skipped: somebody asked for promotion",
            ));
        }
        None => {}
    }
    if let Some(since) = attempt.unready_since {
        let age = age::since(since, now);
        lines.push(Line::from(format!("  the canary lacks ready endpoints for {age}")).yellow());
    }
    if let Some(ending) = &attempt.ending {
        lines.push(Line::from(format!(
            "  it ends {:?} ({:?}): {}",
            ending.outcome, ending.reason, ending.message
        )));
    }
    lines
}

/// Times in which all traffic was on the canary because stable was down.
pub(super) fn failovers(attempt: &Attempt, now: Timestamp) -> Vec<Line<'static>> {
    let failovers = attempt.failovers.iter();
    failovers
        .map(|failover| Line::from(failover_line(failover, now)).yellow())
        .collect()
}

fn failover_line(failover: &Failover, now: Timestamp) -> String {
    let began = age::since(failover.since, now);
    let ended = match (failover.until, failover.stable_ready_since) {
        (Some(until), _) => format!(
            "lasted {}",
            age::length(until.duration_since(failover.since))
        ),
        (None, Some(ready)) => format!("stable is ready again for {}", age::since(ready, now)),
        (None, None) => "stable has no ready endpoint".to_owned(),
    };
    format!("  in step {}, {began} ago: {ended}", failover.step)
}

/// Times at which the canary lost all its ready endpoints.
pub(super) fn readiness_losses(attempt: &Attempt, now: Timestamp) -> Vec<Line<'static>> {
    let losses = attempt.readiness_lost_at.iter();
    losses
        .map(|at| Line::from(format!("  {} ago", age::since(*at, now))).yellow())
        .collect()
}

/// Revisions that are not tried again.
pub(super) fn rejected(status: &RolloutStatus, now: Timestamp) -> Vec<Line<'static>> {
    let rejected = status.rejected.iter();
    rejected
        .map(|rejected| Line::from(rejected_line(rejected, now)))
        .collect()
}

fn rejected_line(rejected: &Rejected, now: Timestamp) -> String {
    format!(
        "  revision {}{} in attempt {}, {} ago: {}",
        rejected.revision.short(),
        origin(rejected.commit.as_ref(), None),
        rejected.attempt,
        age::since(rejected.at, now),
        rejected.message
    )
}

/// Time until the next attempt, after one without a verdict.
pub(super) fn backoff(status: &RolloutStatus, now: Timestamp) -> Vec<Line<'static>> {
    let backoff = status.backoff.iter().map(|backoff| {
        Line::from(format!(
            "  revision {} is tried again in {} ({} tries): {}",
            backoff.revision.short(),
            age::length(backoff.until.duration_since(now)),
            backoff.tries,
            backoff.message
        ))
    });
    backoff.collect()
}

/// What people asked for.
pub(super) fn interventions(status: &RolloutStatus, now: Timestamp) -> Vec<Line<'static>> {
    let interventions = status.interventions.iter();
    interventions
        .map(|accepted| Line::from(intervention(accepted, now)))
        .collect()
}

fn intervention(accepted: &AcceptedIntervention, now: Timestamp) -> String {
    let step = accepted
        .step
        .map(|step| format!(" of step {step}"))
        .unwrap_or_default();
    format!(
        "  {:?}{step} in attempt {}, {} ago, by {}: {}",
        accepted.action,
        accepted.attempt,
        age::since(accepted.at, now),
        accepted.by,
        accepted.reason
    )
}

/// Records that are not in git yet.
pub(super) fn pending(status: &RolloutStatus) -> Vec<Line<'static>> {
    let records = status.pending_records.iter();
    records
        .map(|pending| Line::from(pending_line(pending)).yellow())
        .collect()
}

fn pending_line(pending: &PendingRecord) -> String {
    let (what, head) = match &pending.record {
        Record::Started(record) => ("the start", &record.head),
        Record::Outcome(record) => ("the outcome", &record.head),
    };
    let restore = if pending.restore.is_some() {
        ", with a restore"
    } else {
        ""
    };
    format!(
        "  {what} of attempt {} for {}{restore}",
        head.attempt, pending.config_repo
    )
}

/// Names the commit and its author, as far as they are known.
fn origin(commit: Option<&CommitId>, author: Option<&str>) -> String {
    let commit = commit.map(|commit| format!(" from commit {}", commit.short()));
    let author = author.map(|author| format!(" by {author}"));
    commit.unwrap_or_default() + &author.unwrap_or_default()
}
