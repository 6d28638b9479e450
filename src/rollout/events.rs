//! Events of Rollouts, and the lines in the log that say the same.

use kube::Resource;
use tidegate_api::Rollout;
use tidegate_engine::event::Event as Transition;

use crate::kubernetes::events::{Event, EventRecorder, Severity};

/// Publishes what has happened to a Rollout.
pub(super) fn publish(recorder: &EventRecorder, rollout: &Rollout, transition: &Transition) {
    tracing::info!(reason = transition.reason(), "{transition}");
    let event = Event {
        severity: if transition.is_warning() {
            Severity::Warning
        } else {
            Severity::Normal
        },
        reason: transition.reason().to_owned(),
        action: "Release",
        note: transition.to_string(),
        related: None,
    };
    recorder.publish(rollout.object_ref(&()), event);
}
