//! Events of Rollouts, the lines in the log that say the same, and the notifications of those that people are
//! told of.

use kube::{Resource, ResourceExt as _};
use tidegate_api::{NamespacedName, Rollout, status::RolloutStatus};
use tidegate_engine::{
    decision::Decision, event::Event as Transition, notification, observed::Identity,
};

use super::context::Context;
use crate::{
    clock,
    kubernetes::events::{Event, EventRecorder, Severity},
};

/// Tells what a decision brings about, whose status is written.
pub(super) fn tell(ctx: &Context, rollout: &Rollout, decision: &Decision) {
    for event in &decision.events {
        publish(&ctx.events, rollout, event);
    }
    let NamespacedName { namespace, name } = NamespacedName::of(rollout);
    let identity = Identity {
        cluster: ctx.cluster.clone(),
        namespace,
        name,
        uid: rollout.uid().unwrap_or_default(),
        generation: rollout.metadata.generation.unwrap_or_default(),
    };
    let none = RolloutStatus::default();
    let before = rollout.status.as_ref().unwrap_or(&none);
    let due = notification::due(&identity, before, decision, clock::now());
    ctx.notifier.send(rollout, &due);
}

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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::json;
    use tidegate_api::Revision;

    use super::*;
    use crate::{
        kubernetes::testing::Asked,
        rollout::execute::persist,
        testing::{Bench, settle},
    };

    fn started() -> Decision {
        Decision {
            urgent: Vec::new(),
            status: RolloutStatus::default(),
            persist: true,
            unwritten: false,
            actions: Vec::new(),
            events: vec![
                Transition::Started {
                    attempt: 2,
                    revision: Revision::named("b2"),
                    commit: None,
                },
                Transition::CanaryUnready,
            ],
            requeue_at: None,
            waiting: None,
            sampling: None,
        }
    }

    /// Number of times that the Secret of the destination was read.
    async fn looked_up(bench: &Bench) -> usize {
        settle().await;
        let asked = bench.script.history();
        let secrets = asked
            .iter()
            .filter(|asked| asked.path.ends_with("/secrets/chat"));
        secrets.map(Asked::short).count()
    }

    #[tokio::test]
    async fn what_is_persisted_is_told_once_and_what_could_not_be_is_not() {
        let mut bench = Bench::new().await;
        let target = json!({ "secretRef": { "name": "chat" } });
        bench.rollout.spec.notifications = vec![serde_json::from_value(target).unwrap()];
        bench
            .script
            .fail("PUT rollouts/checkout/status", 409, "somebody was faster");
        let persisted = persist(&bench.ctx, &bench.subject(), &started()).await;
        assert!(persisted.is_err());
        assert_eq!(looked_up(&bench).await, 0, "it is decided again");

        persist(&bench.ctx, &bench.subject(), &started())
            .await
            .unwrap();
        assert_eq!(looked_up(&bench).await, 1, "one of the two is news");
    }
}
