//! Config is released as a template is: a ConfigMap alone changes, the canary reads a copy, and stable keeps what it has
//! until promotion, also in a pod that is made anew meanwhile. A bad one touches nothing.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use serde_json::json;
use tidegate_api::{
    CommitId,
    intervention::Action,
    names,
    record::{Outcome, RestoreResult},
    status::Stage,
};

use crate::{
    eventually::until_true,
    scenario::{Context, Scenario, scenario},
    testbed::{CONFIG, LIMIT, NAME, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(released_config, run),
    scenario!(config_put_back, put_back),
];

/// The shop whose pods say that they are of this color, and fail so often.
fn shop(color: &str, error_rate: &str) -> Shop {
    let steps = json!([{ "weight": 50, "hold": "5s" }]);
    let shop = Shop::new().with_rollout(json!({ "steps": steps }));
    shop.with_config(json!({ "VERSION": color, "ERROR_RATE": error_rate }))
}

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let bed = Testbed::open(context, &shop("blue", "0")).await?;
    bed.gateway_serves("blue").await?;
    ensure!(mark(&bed).await?.is_none(), "a first deploy bears no mark");
    let seen = bed.history::<ConfigMap>("");
    let clients = bed.clients(200);
    let commit = bed
        .commit(&shop("green", "0"), "Change the config alone")
        .await?;
    let status = bed.first_step(2).await?;
    ensure!(
        color(&bed, CONFIG).await? == "blue",
        "stable's config has changed"
    );
    let attempt = status.attempt.context("an attempt")?;
    let config = attempt.config.context("it releases config")?;
    ensure!(
        color(&bed, &config.copies[0].copy).await? == "green",
        "the copy is another"
    );
    lose_a_stable_pod(&bed).await?;
    let record = bed.promoted(2).await?;
    ensure!(
        record.head.source.commit.as_ref().map(CommitId::as_str) == Some(commit.as_str()),
        "the record names another commit: {:?}",
        record.head.source
    );
    ensure!(
        record.head.config.len() == 1,
        "the record names {:?}",
        record.head.config
    );
    bed.is_at_rest().await?;
    ensure!(
        color(&bed, CONFIG).await? == "green",
        "the config is not promoted"
    );
    ensure!(
        mark(&bed).await? == Some(config.digest),
        "nothing has rolled the pods"
    );
    bed.gateway_serves("green").await?;
    let report = clients.stop().await;
    report.none_failed()?;
    let versions: Vec<_> = report.versions().keys().copied().collect();
    ensure!(versions == ["blue", "green"], "{versions:?} have answered");
    no_copy_is_left(&bed).await?;

    let pods = bed.pod_uids().await?;
    let clients = bed.clients(200);
    bed.commit(&shop("red", "0.3"), "Change it for the worse")
        .await?;
    let record = bed.rolled_back(3).await?;
    println!(
        "      breach from the start: {}",
        bed.reaction(&record).await?
    );
    bed.all_went_back(&clients, "green").await?;
    ensure!(
        matches!(&record.restore, Some(RestoreResult::Refused { why }) if why.contains(CONFIG)),
        "a template alone was put back in git: {:?}",
        record.restore
    );
    bed.is_at_rest().await?;
    ensure!(
        bed.pod_uids().await? == pods,
        "a pod of stable was replaced"
    );
    ensure!(
        color(&bed, CONFIG).await? == "green",
        "stable's config has changed"
    );
    ensure!(
        seen.states().iter().all(|(_, config)| {
            let data = config.data.as_ref();
            let is_red = data.is_some_and(|data| data.get("VERSION").is_some_and(|of| of == "red"));
            config.name_any() != CONFIG || !is_red
        }),
        "stable could have read what was rolled back"
    );

    // Back in git it is what is stable, and what waited goes with it.
    bed.commit(&shop("green", "0"), "Revert").await?;
    bed.until("what is stable is wanted", |status| {
        let stable = status.stable.as_ref().map(|stable| &stable.revision);
        status.wanted.as_ref().map(|wanted| &wanted.revision) == stable
    })
    .await?;
    ensure!(
        bed.status().await?.attempts == 3,
        "a revert of nothing was released"
    );
    no_copy_is_left(&bed).await
}

/// Tries a rollback in the middle of a promotion.
async fn put_back(context: Context) -> Result<()> {
    let bed = Testbed::open(context, &shop("blue", "0")).await?;
    let clients = bed.clients(100);
    bed.commit(&shop("green", "0"), "Change the config alone")
        .await?;
    bed.until("stable is being updated", |status| {
        let attempt = status.attempt.as_ref();
        attempt.is_some_and(|attempt| attempt.stage == Stage::UpdatingStable)
    })
    .await?;
    bed.ask(Action::Abort, 2, None).await?;
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::Aborted, "{record:?}");
    bed.is_at_rest().await?;
    ensure!(
        color(&bed, CONFIG).await? == "blue",
        "the config was not put back"
    );
    ensure!(mark(&bed).await?.is_none(), "the template was not put back");
    bed.gateway_serves("blue").await?;
    clients.stop().await.none_failed()
}

async fn color(bed: &Testbed, name: &str) -> Result<String> {
    let config = bed.api::<ConfigMap>().get(name).await?;
    let color = config.data.and_then(|mut data| data.remove("VERSION"));
    color.context("it has a color")
}

/// The digest of config that the workload's pods bear.
async fn mark(bed: &Testbed) -> Result<Option<String>> {
    let workload = bed.api::<Deployment>().get(NAME).await?;
    let template = workload.spec.and_then(|spec| spec.template.metadata);
    let annotations = template.and_then(|metadata| metadata.annotations);
    Ok(annotations.and_then(|mut all| all.remove(names::CONFIG_ANNOTATION)))
}

/// A pod of stable is deleted; the one in its place serves what stable served.
async fn lose_a_stable_pod(bed: &Testbed) -> Result<()> {
    let pods = bed.pods().await?;
    let is_stables = |pod: &&Pod| !pod.labels().contains_key(names::TRACK_LABEL);
    let pod = pods.iter().find(is_stables).context("a pod of stable")?;
    let api = bed.api::<Pod>();
    api.delete(&pod.name_any(), &DeleteParams::default())
        .await?;
    Ok(())
}

async fn no_copy_is_left(bed: &Testbed) -> Result<()> {
    let labelled = ListParams::default().labels(&format!("{}={NAME}", names::ROLLOUT_LABEL));
    let configs = bed.api::<ConfigMap>();
    until_true("no copy of the config is left", LIMIT, || async {
        Ok(configs.list(&labelled).await?.items.is_empty())
    })
    .await
}
