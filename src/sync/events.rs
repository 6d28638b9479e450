//! What people are told beside the status: what has changed in the condition `Ready`, and drift.
//! Best effort; nothing waits for an event that cannot be written.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource as _,
    runtime::events::{Event, EventType, Recorder},
};
use tidegate_api::{ConfigRepo, config_repo::ConfigRepoStatus};
use tidegate_engine::revision::short;

use super::{drift::Drift, report::Report};
use crate::kubernetes::event;

/// How many drifted objects have an event of their own.
const DRIFT_EVENTS: usize = 10;

/// Tells where the reason or the commit has changed.
pub(super) async fn change(events: &Recorder, repo: &ConfigRepo, before: &ConfigRepoStatus, report: &Report) {
    let was = before.conditions.iter().find(|condition| condition.type_ == "Ready");
    let commit = before.applied.as_ref().map(|applied| applied.commit.as_str());
    let is_new_commit = report.applied.as_ref().is_some_and(|(applied, _)| Some(applied.as_str()) != commit);
    if !is_new_commit && was.is_some_and(|was| was.reason == report.reason) {
        return;
    }
    // The recorder counts events that are alike in all but their note as one.
    let action = match &report.applied {
        Some((commit, _)) => format!("Apply {}", short(commit)),
        None => "Hold".to_owned(),
    };
    let event = Event {
        type_: if report.ready { EventType::Normal } else { EventType::Warning },
        reason: report.reason.to_owned(),
        note: Some(event::note(&report.message)),
        action,
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
            reason: "Drift".to_owned(),
            note: Some(event::note(&one.to_string())),
            action: "PutRight".to_owned(),
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
