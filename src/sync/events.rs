//! What people are told beside the status: what has changed in its conditions, and drift.
//! Best effort; nothing waits for an event that cannot be written.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource as _,
    runtime::events::{Event, EventType, Recorder},
};
use tidegate_api::{
    Condition, ConfigRepo,
    condition::ConditionStatus,
    config_repo::ConfigRepoStatus,
    reason::{ConditionType, ReasonCode as _, RepoEventReason},
};
use tidegate_engine::revision::short;

use super::{drift::Drift, recording, report::Report};
use crate::kubernetes::event;

/// How many drifted objects have an event of their own.
const DRIFT_EVENTS: usize = 10;

/// Tells where the reason or the commit has changed.
pub(super) async fn change(
    events: &Recorder,
    repo: &ConfigRepo,
    before: &ConfigRepoStatus,
    report: &Report,
) {
    let was = Condition::find(&before.conditions, ConditionType::Ready);
    let commit = before
        .applied
        .as_ref()
        .map(|applied| applied.commit.as_str());
    let is_new_commit = report
        .applied
        .as_ref()
        .is_some_and(|(applied, _)| Some(applied.as_str()) != commit);
    if !is_new_commit && was.is_some_and(|was| was.reason == report.reason.as_str()) {
        return;
    }
    // The recorder counts events that are alike in all but their note as one.
    let action = match &report.applied {
        Some((commit, _)) => format!("Apply {}", short(commit)),
        None => "Hold".to_owned(),
    };
    let event = Event {
        type_: if report.ready {
            EventType::Normal
        } else {
            EventType::Warning
        },
        reason: report.reason.to_string(),
        note: Some(event::note(&report.message)),
        action,
        secondary: None,
    };
    publish(events, repo, &event).await;
}

/// Tells where records cannot be written to git any more, for another reason, or can be again.
pub(super) async fn recording(
    events: &Recorder,
    repo: &ConfigRepo,
    before: &ConfigRepoStatus,
    after: &ConfigRepoStatus,
) {
    let Some(is) = recording::condition_of(after) else {
        return;
    };
    if recording::condition_of(before).is_some_and(|was| was.reason == is.reason) {
        return;
    }
    let event = Event {
        type_: if is.status == ConditionStatus::True {
            EventType::Normal
        } else {
            EventType::Warning
        },
        reason: is.reason.clone(),
        note: Some(event::note(&is.message)),
        action: "Record".to_owned(),
        secondary: None,
    };
    publish(events, repo, &event).await;
}

/// Tells what differed from git, and who had written it.
pub(super) async fn drift(events: &Recorder, repo: &ConfigRepo, drift: &[Drift]) {
    for one in drift.iter().take(DRIFT_EVENTS) {
        let drifted = ObjectReference {
            api_version: Some(one.key.api_version.clone()),
            kind: Some(one.key.kind.clone()),
            name: Some(one.key.name.clone()),
            namespace: repo.metadata.namespace.clone(),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: EventType::Warning,
            reason: RepoEventReason::DriftCorrected.to_string(),
            note: Some(event::note(&one.to_string())),
            action: "Apply".to_owned(),
            secondary: Some(drifted),
        };
        publish(events, repo, &event).await;
    }
}

async fn publish(events: &Recorder, repo: &ConfigRepo, event: &Event) {
    if let Err(error) = events.publish(event, &repo.object_ref(&())).await {
        tracing::debug!(%error, "an event was not written");
    }
}
