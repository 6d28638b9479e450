//! A quota that has no room for the canary: the status says so, nobody is hurt, and the release goes
//! on by itself once there is room.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::DeleteParams;
use serde_json::json;
use tidegate_api::{
    Condition,
    condition::ConditionStatus,
    reason::{ConditionType, ReasonCode as _, StallReason},
    record::Outcome,
};

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(write_refused, run)];

/// The quota.
const QUOTA: &str = "full";

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "2s" }] }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(50);
    let hard = json!({ "hard": { "count/deployments.apps": "1" } });
    bed.create::<ResourceQuota>(json!({ "metadata": { "name": QUOTA }, "spec": hard }))
        .await?;
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.until("the quota is named in the status", |status| {
        let stalled = Condition::find(&status.conditions, ConditionType::Stalled);
        stalled.is_some_and(|stalled| {
            let says = stalled.reason == StallReason::WriteDenied.as_str()
                && stalled
                    .message
                    .contains(&format!("exceeded quota: {QUOTA}"));
            stalled.status == ConditionStatus::True && says
        })
    })
    .await?;
    bed.api::<ResourceQuota>()
        .delete(QUOTA, &DeleteParams::default())
        .await?;
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    bed.until("nothing is refused any more", |status| {
        let stalled = Condition::find(&status.conditions, ConditionType::Stalled);
        stalled.is_some_and(|stalled| stalled.status == ConditionStatus::False)
    })
    .await?;
    let report = clients.stop().await;
    report.none_failed()
}
