//! The mode `Observe`: Kubernetes rolls each template out by itself, nothing of Tidegate is on any object, and status,
//! event and command line say what would have become of the release. Enforced, it adopts what runs.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    events::v1::Event,
};
use kube::{
    ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tidegate_api::{
    Rollout, names,
    reason::{ConditionType, Finding},
    status::{ObservedFinding, Phase, RolloutStatus},
};

use super::{
    approval::tidegate,
    regression::{BAD, TOTAL},
};
use crate::{
    eventually::until_true,
    scenario::{Context, Scenario, scenario},
    testbed::{CANARY, LIMIT, NAME, Release, Shop, Testbed, is_paused},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(observe, by_sync),
    scenario!(observe_by_kubectl, by_kubectl),
];

/// Requests per second.
const RATE: u32 = 100;

fn shop(mode: &str) -> Shop {
    Shop::new().with_rollout(json!({
        "mode": mode,
        "steps": [{ "weight": 20, "hold": "3s" }, { "weight": 50, "hold": "3s" }],
    }))
}

/// A ConfigRepo applies the workload: observed from the first commit on, then enforced by a commit that brings another
/// template with it.
async fn by_sync(context: Context) -> Result<()> {
    let mut bed = Testbed::new(context).await?;
    bed.declare(&shop("Observe")).await?;
    bed.start_tidegate().await?;
    bed.until("what runs is observed", |status| {
        status.phase == Phase::Observing && is(status, ConditionType::Ready, "RolledOut")
    })
    .await?;
    bed.gateway_serves("v1").await?;
    let clients = bed.clients(RATE);
    let deployments = bed.history_of_shops::<Deployment>();

    let v2 = shop("Observe").with(Release::good("v2"));
    bed.commit(&v2, "Release v2").await?;
    let good = found(&bed, 1, Finding::WouldHavePromoted).await?;
    println!("      {}", good.message);
    bed.gateway_serves("v2").await?;

    let v3 = shop("Observe").with(Release::bad("v3"));
    bed.commit(&v3, "Release v3, which is bad").await?;
    let bad = found(&bed, 2, Finding::WouldHaveRolledBack).await?;
    println!("      {}", bad.message);
    ensure!(
        bad.message.contains("gate \"errors\" breached: ")
            && bad.message.contains(" after its first pod was ready"),
        "it does not say why: {}",
        bad.message
    );
    bed.gateway_serves("v3").await?;
    says(&bed, "would have been rolled back").await?;
    tidegate(&bed, &["describe", NAME]).await?;
    let described = std::fs::read_to_string(bed.context.dir.join("cli.log"))?;
    let is_told = |finding: &str| described.contains(finding);
    ensure!(
        is_told("release 2 WouldHaveRolledBack") && is_told("release 1 WouldHavePromoted"),
        "describe does not have it: {described}"
    );
    is_left_alone(&bed).await?;
    ensure!(
        bed.shares()?.weights().is_empty(),
        "the route was split: {:?}",
        bed.shares()?
    );
    for (at, deployment) in deployments.states().iter() {
        ensure!(!is_paused(deployment), "at {at} the Deployment was paused");
    }
    let report = clients.report();
    report.none_failed_beside("v3")?;
    println!("      {} answers, all failures of v3", report.total());

    // The mode and a template in one commit: what runs is adopted, and the template goes through the steps.
    let v4 = shop("Enforce").with(Release::good("v4"));
    bed.commit(&v4, "Enforce, and release v4").await?;
    bed.promoted(1).await?;
    bed.gateway_serves("v4").await?;
    ensure!(
        bed.shares()?.weights() == [20.0, 50.0, 100.0],
        "it did not go by the steps: {:?}",
        bed.shares()?
    );
    bed.commit(&v4.with(Release::bad("v5")), "Release v5, which is bad")
        .await?;
    bed.rolled_back(2).await?;
    bed.gateway_serves("v4").await?;
    clients.stop().await;
    Ok(())
}

/// People apply the workload: one that was held is let go, rolls out what comes, and is held again. Its gate compares the
/// new pods with the old ones while there are any, and then judges by a limit: of a minute nobody knows what is usual.
async fn by_kubectl(context: Context) -> Result<()> {
    let mut bed = Testbed::new(context).await?;
    let counted = json!([{
        "name": "errors",
        "interval": "1s",
        "maxSampleAge": "10s",
        "regression": { "bad": BAD, "total": TOTAL, "minRequests": 100, "burstiness": 1, "maxBadRatio": 0.05 },
    }]);
    let shop = |mode| shop(mode).with_rollout(json!({ "gates": counted }));
    let enforced = shop("Enforce");
    bed.has_no_repo(&enforced).await;
    bed.kubectl_apply(&enforced, &[]).await?;
    bed.holds_what_runs().await?;
    let pods = bed.pod_uids().await?;
    let clients = bed.clients(RATE);

    set_mode(&bed, "Observe").await?;
    bed.until("it observes", |status| {
        status.phase == Phase::Observing && is(status, ConditionType::Ready, "RolledOut")
    })
    .await?;
    is_left_alone(&bed).await?;
    bed.no_mark_is_left().await?;
    ensure!(bed.pod_uids().await? == pods, "pods were restarted");

    bed.kubectl_apply(&shop("Observe").with(Release::bad("v2")), &[])
        .await?;
    let bad = found(&bed, 1, Finding::WouldHaveRolledBack).await?;
    println!("      {}", bad.message);
    ensure!(
        bad.message
            .contains(" : 1 against the canary, threshold 100 : 1"),
        "it was not found by what was counted: {}",
        bad.message
    );
    bed.workload_rolled_out().await?;
    is_left_alone(&bed).await?;

    set_mode(&bed, "Enforce").await?;
    bed.is_held().await?;
    bed.kubectl_apply(&enforced.with(Release::good("v3")), &[])
        .await?;
    bed.ended_well(1).await?;
    bed.gateway_serves("v3").await?;
    clients.stop().await;
    Ok(())
}

/// Waits for the finding of a release.
async fn found(bed: &Testbed, release: u32, finding: Finding) -> Result<ObservedFinding> {
    let of = move |status: &RolloutStatus| {
        let observation = status.observation.as_ref()?;
        let mut findings = observation.findings.iter();
        findings.find(|one| one.release == release).cloned()
    };
    let what = format!("release {release} has a finding");
    let status = bed.until(&what, |status| of(status).is_some()).await?;
    let found = of(&status).context("the finding is gone")?;
    ensure!(found.finding == finding, "{found:?}");
    Ok(found)
}

/// Nothing of Tidegate is on the workload, the Service or the route, and no object of its own is there.
async fn is_left_alone(bed: &Testbed) -> Result<()> {
    bed.is_at_rest().await?;
    until_true("no revision is kept", LIMIT, || async {
        let kept = bed
            .api::<ControllerRevision>()
            .list(&ListParams::default())
            .await?;
        Ok(kept.items.is_empty())
    })
    .await?;
    let rollout = bed.api::<Rollout>().get(NAME).await?;
    ensure!(
        rollout.finalizers().is_empty(),
        "the Rollout has a finalizer"
    );
    let workload = bed.api::<Deployment>().get(NAME).await?;
    let is_held = workload.annotations().contains_key(names::HELD_ANNOTATION);
    ensure!(!is_paused(&workload) && !is_held, "the Deployment is held");
    let canary = bed.api::<Deployment>().get_opt(CANARY).await?;
    ensure!(canary.is_none(), "there is a canary");
    Ok(())
}

async fn says(bed: &Testbed, sentence: &str) -> Result<()> {
    until_true(&format!("an event says {sentence:?}"), LIMIT, || async {
        let events = bed.api::<Event>().list(&ListParams::default()).await?;
        let mut notes = events.iter().filter_map(|event| event.note.as_deref());
        Ok(notes.any(|note| note.contains(sentence)))
    })
    .await
}

async fn set_mode(bed: &Testbed, mode: &str) -> Result<()> {
    let patch = Patch::Merge(json!({ "spec": { "mode": mode } }));
    let rollouts = bed.api::<Rollout>();
    rollouts
        .patch(NAME, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

fn is(status: &RolloutStatus, type_: ConditionType, reason: &str) -> bool {
    let condition = tidegate_api::Condition::find(&status.conditions, type_);
    condition.is_some_and(|condition| condition.is_true() && condition.reason == reason)
}
