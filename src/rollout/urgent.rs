//! The urgent lane: what lowers risk goes out ahead of all other work of other Rollouts.
//!
//! Reconciles run a few at a time, and each may wait for a dozen writes. Where a hundred canaries breach
//! at once, most would wait their turn while they still get all their traffic. So when a Rollout whose
//! canary has traffic is requeued, it is decided on at once, and the urgent effects of that decision (those
//! that only lower risk, [`tidegate_engine::decision::Decision::urgent`]) are executed. Its reconcile
//! follows in its turn, finds them done, writes the status and does the rest.

use std::sync::Arc;

use futures::StreamExt as _;
use tidegate_api::{NamespacedName, Rollout};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{context::Context, reconcile};
use crate::{
    caches::Caches,
    requeue::{RequeueReceiver, RequeueSender},
};

/// Number of Rollouts of which urgent effects are executed at a time: one request each.
const CONCURRENCY: usize = 256;

/// Passes on what is requeued, each Rollout once its urgent effects are executed. Ends when nothing
/// can be requeued any more.
pub(crate) async fn run(ctx: Arc<Context>, requeued: RequeueReceiver, next: RequeueSender) {
    UnboundedReceiverStream::new(requeued)
        .for_each_concurrent(CONCURRENCY, |id| {
            let (ctx, next) = (&ctx, &next);
            async move {
                if may_have_traffic(&ctx.caches, &id) {
                    execute_urgent(ctx, &id).await;
                }
                next.requeue(id);
            }
        })
        .await;
}

/// Executes the urgent effects of the decision that is due. What fails is left to the reconcile.
async fn execute_urgent(ctx: &Context, id: &NamespacedName) {
    let _lock = ctx.memory.locks.lock(id).await;
    let Some(guarded) = ctx.caches.rollouts.get(&id.namespace, &id.name) else {
        return;
    };
    let (Ok(rollout), Ok(epoch)) = (&guarded.0, ctx.fence.epoch()) else {
        return;
    };
    if let Err(error) = reconcile::execute_urgent(ctx, rollout, epoch).await {
        let NamespacedName { namespace, name } = id;
        tracing::debug!(%namespace, %name, %error, "urgent effect failed, left to the reconcile");
    }
}

/// Returns true if the canary has traffic, or had it until a moment ago.
fn may_have_traffic(caches: &Caches, id: &NamespacedName) -> bool {
    let guarded = caches.rollouts.get(&id.namespace, &id.name);
    guarded.is_some_and(|guarded| guarded.0.as_ref().is_ok_and(has_had_traffic))
}

fn has_had_traffic(rollout: &Rollout) -> bool {
    let attempt = rollout
        .status
        .as_ref()
        .and_then(|status| status.attempt.as_ref());
    attempt.is_some_and(|attempt| attempt.traffic_since.is_some())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use kube::core::DeserializeGuard;
    use serde_json::{Value, json};

    use super::*;
    use crate::{requeue, testing::Bench};

    /// The canary has 10 % by its status and its route.
    async fn stepping() -> Bench {
        let bench = Bench::new().await;
        let mut rollout = bench.script.get("rollouts/checkout").unwrap();
        let at = "2026-01-01T00:00:00Z";
        rollout["metadata"]["finalizers"] = json!([tidegate_api::names::FINALIZER]);
        rollout["status"] = json!({
            "stable": { "revision": "a1", "podTemplateHash": "abc", "since": at },
            "attempt": {
                "number": 2, "id": "2", "sequence": 2, "revision": "b2", "startedAt": at, "epoch": 3,
                "plan": rollout["spec"].clone(), "stage": "Stepping", "stageSince": at, "step": 1,
                "weight": 10, "trafficSince": at, "confirmedAt": at,
                "steps": [{ "weight": 10, "enteredAt": at, "confirmedAt": at }],
            },
        });
        let rollout = read(bench.script.put("rollouts/checkout", rollout));
        bench
            .ctx
            .caches
            .rollouts
            .keep_answer(DeserializeGuard(Ok(rollout)));
        bench
    }

    fn read<T: serde::de::DeserializeOwned>(object: Value) -> T {
        serde_json::from_value(object).unwrap()
    }

    async fn run_lane(bench: Bench) -> (Vec<String>, Value) {
        let (requeue_tx, requeue_rx) = requeue::channel();
        let (next_tx, mut next_rx) = requeue::channel();
        let script = bench.script.clone();
        requeue_tx.requeue(NamespacedName::new("shop", "checkout"));
        drop(requeue_tx);
        run(Arc::new(bench.ctx), requeue_rx, next_tx).await;
        let passed_on = next_rx.recv().await;
        assert_eq!(passed_on, Some(NamespacedName::new("shop", "checkout")));
        (script.short_writes(), script.get("httproutes/web").unwrap())
    }

    #[tokio::test]
    async fn a_canary_without_ready_endpoints_loses_its_traffic_before_its_turn_and_nothing_else_is_written()
     {
        let bench = stepping().await;
        let route =
            tidegate_api::route::RouteRef::new(tidegate_api::route::RouteKind::HttpRoute, "web");
        let given = crate::traffic::RouteChange {
            namespace: "shop",
            route: &route,
            weight: Some(tidegate_engine::weight::Weight::from_hundredths(1000)),
            epoch: Some(3),
        };
        let routers = &bench.ctx.caches.routers;
        routers
            .set(&bench.ctx.clients.writing, &bench.plan, &given)
            .await
            .unwrap();
        bench.script.writes();
        let (writes, route) = run_lane(bench).await;
        assert_eq!(writes, ["PATCH httproutes/web"]);
        assert_eq!(route["spec"]["rules"][0]["backendRefs"][1]["weight"], 0);
    }

    #[tokio::test]
    async fn a_rollout_whose_canary_has_no_traffic_is_passed_on() {
        let (writes, _) = run_lane(Bench::new().await).await;
        assert_eq!(writes, Vec::<String>::new());
    }
}
