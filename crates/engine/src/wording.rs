//! Wording: every sentence that people read of the engine's types, in one place.
//!
//! Rules answer with types; here they become text, as events, condition messages, lines of the
//! command line and records have it. A message has the shape *state or action: cause; remedy*.
//! Shares are percentages, durations are written like `4m30s`, and times by RFC 3339 without
//! fractions.
//!
//! | module | its types |
//! |---|---|
//! | `waiting` | conditions that a Rollout waits for |
//! | `termination` | causes of an attempt's end |
//! | `preflight` | obstacles, stalls and warnings |
//! | `interventions` | answers to Interventions |
//! | `event` | events |

mod event;
mod interventions;
mod preflight;
mod termination;
mod waiting;

use std::fmt;

use jiff::SignedDuration;
use tidegate_api::{
    CommitId, Duration,
    record::Outcome,
    status::{Failover, Observation, RolloutStatus, Superseded},
    workload::WorkloadRef,
};

use crate::{
    attempt::RestoreObstacle,
    conditions::cause::{MissingPods, Unavailable},
    event::Event,
    field_conflict::FieldConflict,
    idle::observing::InTheWay,
    observed::{Candidate, RetainedPod},
    route::{PendingParent, PendingRoute, Refusal},
    waiting::WaitingOn,
};

/// State of a Rollout that is suspended.
pub(crate) const SUSPENDED: &str = "suspended: set spec.suspend to false to continue";

/// Addition to the message of an attempt whose Rollout is only to observe.
pub(crate) const OBSERVES_LATER: &str =
    "; spec.mode is Observe: this attempt goes on to its end, or until an Abort Intervention";

/// Returns the requester of an Intervention, for a sentence.
pub(crate) fn requester(by: &str) -> &str {
    if by.is_empty() { "someone" } else { by }
}

/// Returns the commit that asks for a revision, for the end of a clause; nothing where none is known.
fn requested_by(commit: Option<&CommitId>) -> String {
    match commit {
        Some(commit) => format!(" (requested by commit {})", commit.short()),
        None => String::new(),
    }
}

/// Returns the state of a workload that is left to itself, between two releases.
fn observing(observation: &Observation) -> String {
    let state = format!("observing: revision {} runs", observation.revision.short());
    match observation.findings.first() {
        Some(finding) => {
            let finding = finding.clone();
            format!("{state}; {}", Event::Found { finding })
        }
        None => state,
    }
}

/// Returns the state of a Rollout that has nothing to do: an attempt that ended badly since stable
/// was promoted is not forgotten, though git may ask for stable again.
pub(crate) fn at_rest(status: &RolloutStatus) -> String {
    if let Some(observation) = &status.observation {
        return observing(observation);
    }
    let Some(stable) = &status.stable else {
        return "no revision is stable yet".to_owned();
    };
    let state = format!("revision {} is stable", stable.revision.short());
    let failed = status.last_outcome.as_ref().filter(|last| {
        let is_failure = match last.ending.outcome {
            Outcome::RolledBack | Outcome::Aborted | Outcome::Failed => true,
            Outcome::Promoted | Outcome::Superseded => false,
        };
        is_failure && last.ending.at > stable.since
    });
    match failed {
        Some(last) => format!(
            "{state}; attempt {} for revision {} ended: {}: {}",
            last.attempt,
            last.revision.short(),
            last.ending.outcome,
            last.ending.message
        ),
        None => state,
    }
}

/// Returns the state of a workload that runs another revision than stable's though no attempt runs.
pub(crate) fn another_runs(workload: &WorkloadRef, deleting: bool) -> String {
    if deleting {
        format!("{workload} runs another revision than stable's, and the Rollout is being deleted")
    } else {
        WaitingOn::StableRevision {
            workload: workload.clone(),
        }
        .to_string()
    }
}

/// Returns the state of stable in a failover; `lacks` says which pods are missing.
pub(crate) fn failed_over(failover: &Failover, ready: u32, lacks: &str) -> String {
    let since = failover.since;
    if ready > 0 {
        return format!(
            "all traffic is on the canary since {since:.0}; stable has ready pods again and gets its \
             share back once enough of them have been ready for 30s"
        );
    }
    format!("all traffic is on the canary since {since:.0}: {lacks}")
}

/// Returns the addition to a message about an attempt while a newer revision waits for its end.
pub(crate) fn newer_revision(newer: &Candidate) -> String {
    let revision = newer.revision.short();
    match &newer.source.commit {
        Some(commit) => format!(
            "; revision {revision} (commit {}) waits for the end of this attempt",
            commit.short()
        ),
        None => format!("; revision {revision} waits for the end of this attempt"),
    }
}

/// Tells of the pod of a failed canary that is retained for inspection.
pub(crate) fn retained_pod(pod: &RetainedPod) -> String {
    format!(
        "; the pod {} of the failed canary is retained for inspection until {:.0}",
        pod.name, pod.until
    )
}

/// Returns the addition to a message while commits come faster than releases end.
pub(crate) fn superseded(superseded: &Superseded) -> String {
    format!(
        "; superseded {} times since {:.0}: onNewRevision: Wait has an attempt end before the next",
        superseded.times, superseded.since
    )
}

/// Returns a duration as people write it.
fn span(duration: SignedDuration) -> Duration {
    Duration::from(duration.unsigned_abs())
}

/// Returns a field manager, for a sentence.
fn writer(manager: Option<&str>) -> &str {
    manager.unwrap_or("an unknown field manager")
}

/// Returns routes, for a sentence.
fn routes(routes: &[PendingRoute]) -> String {
    list(routes.iter().map(|one| &one.route))
}

/// Adds the gateways that are in the way, with what they say.
fn in_the_way(f: &mut fmt::Formatter<'_>, routes: &[PendingRoute]) -> fmt::Result {
    let parents = routes.iter().flat_map(|route| &route.parents);
    for (index, parent) in parents.enumerate() {
        f.write_str(if index == 0 { ": " } else { "; " })?;
        write!(f, "{parent}")?;
    }
    Ok(())
}

impl fmt::Display for PendingParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parent, refusal } = self;
        let Some(refusal) = refusal else {
            return write!(f, "{parent} has not answered");
        };
        let Refusal {
            condition,
            reason,
            message,
        } = refusal;
        write!(f, "{parent} says {condition} is False, {reason}")?;
        if message.is_empty() {
            return Ok(());
        }
        write!(f, " ({message})")
    }
}

impl fmt::Display for FieldConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            manager,
            times,
        } = self;
        let writer = writer(manager.as_deref());
        write!(
            f,
            "{field} was modified by {writer} {times} times in 5m and reverted each time; stop that \
             controller from managing this field"
        )
    }
}

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a release would not begin: ")?;
        match self {
            Self::Obstacle(obstacle) => obstacle.fmt(f),
            Self::Query { problem } => f.write_str(problem),
            Self::Track { gate } => write!(
                f,
                "gate {gate:?} selects by {{{{track}}}}, which no pod bears without a canary: write {{{{pods}}}} to have it \
                 observed, too"
            ),
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceNotFound { service } => write!(
                f,
                "Service {service} does not exist; create it, or name another in spec.service"
            ),
            Self::RouteNotFound { route } => write!(
                f,
                "{route} does not exist; create it, or name another in spec.traffic"
            ),
            Self::StableNotReady => f.write_str("stable gets traffic and has no ready endpoint"),
            Self::CanaryNotReady => f.write_str("canary gets traffic and has no ready endpoint"),
            Self::NobodyAtWork => f.write_str("no pod of the workload is ready"),
        }
    }
}

impl fmt::Display for MissingPods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ready,
            wanted,
            revision,
            version,
        } = self;
        write!(
            f,
            "{ready} of {wanted} stable pods are ready (revision {}, version {version}); see why the \
             others are not, or commit a fix or a revert, which does not wait for them",
            revision.short()
        )
    }
}

impl fmt::Display for RestoreObstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGoodCommit { path } => write!(
                f,
                "no commit holds the stable template: it was adopted as it ran; commit it to `{path}`"
            ),
            Self::Config { config, commit } => {
                let commit = commit.as_ref().map_or("the commit", CommitId::short);
                write!(
                    f,
                    "the revision changes {}, too, and only a template is put back; revert {commit} by hand",
                    list(config)
                )
            }
        }
    }
}

/// Names things one after the other.
fn list(things: impl IntoIterator<Item: fmt::Display>) -> String {
    let things: Vec<_> = things.into_iter().map(|one| one.to_string()).collect();
    things.join(" and ")
}
