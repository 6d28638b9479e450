//! Notifications: which events people are told of in their chat, and what a receiver learns of each.
//!
//! Fewer than there are events: steps, corrections and warnings can be looked up, and whoever is told of each
//! soon reads none. Each is about a transition of the status that is being persisted, so that a reconcile that
//! changes nothing has none, and neither has a new leader.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use tidegate_api::{
    CommitId, Condition, Revision,
    notification::{Notification, NotificationType, Severity, VERSION},
    reason::{ConditionType, Finding, ReasonCode as _, StableDegradedReason},
    record::Outcome,
    status::{Attempt, RolloutStatus},
};

use crate::{
    decision::Decision,
    event::Event,
    observed::Identity,
    stall::{self, Stall},
};

/// Time for which stable must have had all its pods for their loss to be news. An autoscaler takes some and gives
/// some many times in a release.
const CALM: SignedDuration = SignedDuration::from_mins(5);

/// Length of an id: 128 bits in hex.
const ID_LENGTH: usize = 32;

/// What is told, before it is said of whom and when.
struct News {
    worth: Worth,
    severity: Severity,
    about: Release,
    message: String,
}

/// Words that programs read in it.
struct Worth {
    type_: NotificationType,
    outcome: Option<Outcome>,
    reason: Option<&'static str>,
}

/// Release that is told of.
#[derive(Default)]
struct Release {
    attempt: Option<u32>,
    revision: Option<Revision>,
    commit: Option<CommitId>,
    author: Option<String>,
}

/// Returns the notifications that are due once the status of a decision is persisted over the one before.
pub fn due(
    identity: &Identity,
    before: &RolloutStatus,
    decision: &Decision,
    now: Timestamp,
) -> Vec<Notification> {
    let after = &decision.status;
    let mut news = Vec::new();
    for event in &decision.events {
        if let Some(worth) = worth(event, before, &decision.events, now) {
            news.push(News::of(event, worth, before, after));
        }
    }
    if decision.persist {
        news.extend(degraded(before, after));
    }
    news.into_iter()
        .map(|news| news.notification(identity, now))
        .collect()
}

/// Returns the words of the notification that an event is worth, if it is.
fn worth(event: &Event, before: &RolloutStatus, events: &[Event], now: Timestamp) -> Option<Worth> {
    let plain = |type_| Worth {
        type_,
        outcome: None,
        reason: None,
    };
    match event {
        Event::Started { .. } => Some(plain(NotificationType::Started)),
        Event::AwaitingApproval { .. } => Some(plain(NotificationType::AwaitingApproval)),
        Event::FailedOver { .. } => Some(plain(NotificationType::FailedOver)),
        Event::FailoverEnded { .. } => Some(plain(NotificationType::FailoverEnded)),
        Event::RollingBack { termination } => match termination.outcome {
            Outcome::RolledBack | Outcome::Aborted => Some(Worth {
                type_: NotificationType::RollingBack,
                outcome: Some(termination.outcome),
                reason: Some(termination.reason.as_str()),
            }),
            // Nothing is wrong, or there is nothing to go back to: the end says it all.
            Outcome::Superseded | Outcome::Failed | Outcome::Promoted => None,
        },
        Event::Ended { ending, .. } => Some(Worth {
            type_: NotificationType::Ended,
            outcome: Some(ending.outcome),
            reason: Some(ending.reason.as_str()),
        }),
        Event::Stalled { stall } if is_news(stall, before, events, now) => Some(Worth {
            type_: NotificationType::Stalled,
            outcome: None,
            reason: Some(stall.reason().as_str()),
        }),
        Event::Found { finding } if finding.finding != Finding::Superseded => Some(Worth {
            type_: NotificationType::Observed,
            outcome: None,
            reason: Some(finding.finding.as_str()),
        }),
        Event::Stalled { .. }
        | Event::Found { .. }
        | Event::ReleaseObserved { .. }
        | Event::Adopted { .. }
        | Event::StepEntered { .. }
        | Event::Promoting { .. }
        | Event::InterventionAccepted { .. }
        | Event::DriftCorrected { .. }
        | Event::CanaryUnready
        | Event::StableRecreated
        | Event::StableRestarted { .. }
        | Event::RevisionRestored { .. }
        | Event::LeftoversFound
        | Event::Suspended
        | Event::Unsuspended
        | Event::PreflightWarning { .. } => None,
    }
}

/// Returns true for a stall that is news, and that the end of the attempt does not say.
fn is_news(stall: &Stall, before: &RolloutStatus, events: &[Event], now: Timestamp) -> bool {
    let mut events = events.iter();
    stall::is_news(stall, before, now) && !events.any(|event| matches!(event, Event::Ended { .. }))
}

/// Returns the news that stable has lost pods while an attempt runs. It has no event of its own, and at rest it is
/// whoever watches the workload who is to be told.
fn degraded(before: &RolloutStatus, after: &RolloutStatus) -> Option<News> {
    let attempt = after.attempt.as_ref()?;
    let was = Condition::find(&before.conditions, ConditionType::StableDegraded)?;
    let is = Condition::find(&after.conditions, ConditionType::StableDegraded)?;
    let calm = is
        .last_transition_time
        .duration_since(was.last_transition_time);
    let lacks = StableDegradedReason::InsufficientReadyReplicas.as_str();
    if was.is_true() || !is.is_true() || is.reason != lacks || calm < CALM {
        return None;
    }
    Some(News {
        worth: Worth {
            type_: NotificationType::StableDegraded,
            outcome: None,
            reason: None,
        },
        severity: Severity::Warning,
        about: Release::of(attempt),
        message: is.message.clone(),
    })
}

// === impl Release ===

impl Release {
    /// The attempt that an event names or that is running, or what git asks for.
    fn of_event(event: &Event, before: &RolloutStatus, after: &RolloutStatus) -> Self {
        if let Event::Found { finding } = event {
            return Self {
                revision: Some(finding.revision.clone()),
                ..Self::default()
            };
        }
        let mut attempts = [&after.attempt, &before.attempt].into_iter().flatten();
        let attempt = if let Event::Started { attempt, .. } | Event::Ended { attempt, .. } = event {
            attempts.find(|one| one.number == *attempt)
        } else {
            after.attempt.as_ref()
        };
        match (attempt, &after.wanted) {
            (Some(attempt), _) => Self::of(attempt),
            (None, Some(wanted)) => Self {
                attempt: None,
                revision: Some(wanted.revision.clone()),
                commit: wanted.commit.clone(),
                author: wanted.author.clone(),
            },
            (None, None) => Self::default(),
        }
    }

    fn of(attempt: &Attempt) -> Self {
        Self {
            attempt: Some(attempt.number),
            revision: Some(attempt.revision.clone()),
            commit: attempt.source.commit.clone(),
            author: attempt.source.author.clone(),
        }
    }
}

// === impl News ===

impl News {
    fn of(event: &Event, worth: Worth, before: &RolloutStatus, after: &RolloutStatus) -> Self {
        let severity = if event.is_warning() {
            Severity::Warning
        } else {
            Severity::Normal
        };
        Self {
            worth,
            severity,
            about: Release::of_event(event, before, after),
            message: event.to_string(),
        }
    }

    fn notification(self, identity: &Identity, time: Timestamp) -> Notification {
        let Release {
            attempt,
            revision,
            commit,
            author,
        } = self.about;
        let mut notification = Notification {
            version: VERSION,
            id: String::new(),
            type_: self.worth.type_,
            severity: self.severity,
            time,
            cluster: identity.cluster.clone(),
            namespace: identity.namespace.clone(),
            rollout: identity.name.clone(),
            attempt,
            revision,
            commit,
            author,
            outcome: self.worth.outcome,
            reason: self.worth.reason.map(str::to_owned),
            message: self.message,
        };
        notification.id = id(&notification, &identity.uid);
        notification
    }
}

/// Returns SHA-256 over what tells a notification from every other, shortened.
fn id(notification: &Notification, uid: &str) -> String {
    let Notification {
        type_,
        time,
        cluster,
        message,
        ..
    } = notification;
    let digest = Sha256::digest(format!("{cluster}\n{uid}\n{type_}\n{time}\n{message}\n"));
    let hex = digest
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    hex[..ID_LENGTH].to_owned()
}
