//! Events of ConfigRepos: changes of their conditions, and drift.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use tidegate_api::{
    Condition, ConfigRepo,
    condition::ConditionStatus,
    config_repo::ConfigRepoStatus,
    reason::{ConditionType, ReasonCode as _, RepoEventReason},
};

use super::{drift::Drift, manifest::Key, recording, report::Report, wording};
use crate::kubernetes::events::{Event, EventRecorder, Severity};

/// Number of drifted objects that have an event of their own.
const DRIFT_EVENTS: usize = 10;

/// Number of deleted objects that have an event of their own.
const PRUNE_EVENTS: usize = 50;

/// Publishes a change of the condition `Ready`, or of the applied commit.
pub(super) fn change(
    recorder: &EventRecorder,
    repo: &ConfigRepo,
    before: &ConfigRepoStatus,
    report: &Report,
) {
    let was = Condition::find(&before.conditions, ConditionType::Ready);
    if report.is_race && was.is_some() {
        return;
    }
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
    let event = Event {
        severity: severity(report.ready),
        reason: report.reason.to_string(),
        action: "Apply",
        note: report.message.clone(),
        related: None,
    };
    recorder.publish(repo.object_ref(&()), event);
}

/// Publishes a change of the condition `RecordsWritten`.
pub(super) fn recording(
    recorder: &EventRecorder,
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
        severity: severity(is.status == ConditionStatus::True),
        reason: is.reason.clone(),
        action: "Record",
        note: is.message.clone(),
        related: None,
    };
    recorder.publish(repo.object_ref(&()), event);
}

/// Publishes what had drifted from git.
pub(super) fn drift(recorder: &EventRecorder, repo: &ConfigRepo, drift: &[Drift]) {
    for one in drift.iter().take(DRIFT_EVENTS) {
        let event = Event {
            severity: Severity::Warning,
            reason: RepoEventReason::DriftCorrected.to_string(),
            action: "Apply",
            note: wording::drifted(one, own(repo)),
            related: Some(reference(&one.key)),
        };
        recorder.publish(repo.object_ref(&()), event);
    }
}

/// Publishes what was deleted because it had left the repository.
pub(super) fn pruned(recorder: &EventRecorder, repo: &ConfigRepo, pruned: &[Key]) {
    for key in pruned.iter().take(PRUNE_EVENTS) {
        let event = Event {
            severity: Severity::Normal,
            reason: RepoEventReason::Pruned.to_string(),
            action: "Prune",
            note: wording::pruned(key, own(repo)),
            related: Some(reference(key)),
        };
        recorder.publish(repo.object_ref(&()), event);
    }
}

/// Namespace of a `ConfigRepo`.
fn own(repo: &ConfigRepo) -> &str {
    repo.metadata.namespace.as_deref().unwrap_or_default()
}

fn reference(key: &Key) -> ObjectReference {
    ObjectReference {
        api_version: Some(key.api_version.clone()),
        kind: Some(key.kind.clone()),
        name: Some(key.name.clone()),
        namespace: key.namespace.clone(),
        ..ObjectReference::default()
    }
}

fn severity(is_good: bool) -> Severity {
    if is_good {
        Severity::Normal
    } else {
        Severity::Warning
    }
}
