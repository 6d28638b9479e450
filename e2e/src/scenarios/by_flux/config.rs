//! Config under names with a hash, as kustomize generates it: Flux prunes the old one with the commit that brings
//! the new one, and stable's pods still need it.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{ResourceExt as _, api::DeleteParams};
use serde_json::json;

use super::{RATE, shop};
use crate::{
    eventually::until_true,
    git_server::Change,
    scenario::Context,
    testbed::{APP_FILE, LIMIT, NAME, PRUNE, Release, Shop, Testbed},
};

/// The value of the annotation with which Flux keeps what has left git.
const KEPT: &str = "disabled";

/// Tries it.
pub(super) async fn run(context: Context) -> Result<()> {
    let shop = shop();
    let mut bed = Testbed::new(context).await?;
    bed.has_no_repo(&shop).await;
    let files = with_config(&bed, &shop, "one");
    bed.repo.commit(files, "Open the shop").await?;
    bed.bring_by_flux(json!({})).await?;
    let old = config_of_template(&bed).await?;
    until_true("stable's config is kept", LIMIT, || is_kept(&bed, &old)).await?;

    let clients = bed.clients(RATE);
    let bad = with_config(&bed, &shop.with(Release::bad("v2")), "two");
    let commit = bed.repo.commit(bad, "Release v2").await?;
    bed.flux_has_applied(&commit).await?;
    bed.ended_badly(1).await?;
    bed.is_held().await?;
    bed.attempt_has_left_no_mark().await?;
    let new = config_of_template(&bed).await?;
    ensure!(new != old, "{old} is named by either template");
    bed.flux_has_looked().await?;
    ensure!(is_kept(&bed, &old).await?, "{old} is not kept any longer");

    let lost = bed.pods_of("v1").await?;
    let lost = lost.first().context("stable has pods")?.name_any();
    let pods = bed.api::<Pod>();
    pods.delete(&lost, &DeleteParams::default()).await?;
    until_true("stable's pod is replaced", LIMIT, || async {
        let ready = bed.pods_of("v1").await?;
        let ready = ready
            .iter()
            .filter(|pod| pod.name_any() != lost && is_ready(pod));
        Ok(ready.count() == 2)
    })
    .await?;
    ensure!(is_kept(&bed, &old).await?, "{old} is not kept any longer");
    clients.stop().await.none_failed_beside("v2")?;
    goes_with_what_named_it(&bed, &shop, &old).await
}

/// Flux has forgotten what it was told to keep, so Tidegate deletes it when stable no longer needs it.
async fn goes_with_what_named_it(bed: &Testbed, shop: &Shop, old: &str) -> Result<()> {
    let clients = bed.clients(RATE);
    let good = with_config(bed, &shop.with(Release::good("v3")), "three");
    let commit = bed.repo.commit(good, "Release v3").await?;
    bed.flux_has_applied(&commit).await?;
    bed.ended_well(2).await?;
    bed.gateway_serves("v3").await?;
    let new = config_of_template(bed).await?;
    until_true("the new config is kept", LIMIT, || is_kept(bed, &new)).await?;
    until_true("the old config is gone", LIMIT, || async {
        Ok(bed.api::<ConfigMap>().get_opt(old).await?.is_none())
    })
    .await?;
    clients.stop().await.none_failed()
}

/// Name of the `ConfigMap` that the workload's template names.
async fn config_of_template(bed: &Testbed) -> Result<String> {
    let workload = bed.api::<Deployment>().get(NAME).await?;
    let pod = workload.spec.and_then(|spec| spec.template.spec);
    let containers = pod.into_iter().flat_map(|pod| pod.containers);
    let sources = containers.flat_map(|container| container.env_from.unwrap_or_default());
    let mut names = sources.filter_map(|source| Some(source.config_map_ref?.name));
    names.next().context("the template names a ConfigMap")
}

/// Returns true where a `ConfigMap` is there, and would be if it left git.
async fn is_kept(bed: &Testbed, name: &str) -> Result<bool> {
    let config = bed.api::<ConfigMap>().get(name).await?;
    Ok(config.annotations().get(PRUNE).map(String::as_str) == Some(KEPT))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| &status.conditions);
    let mut conditions = conditions.flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The files of the shop, whose template names a generated `ConfigMap` with this text.
fn with_config(bed: &Testbed, shop: &Shop, greeting: &str) -> Vec<Change> {
    let files = shop.files(&bed.context.namespace);
    let resources: Vec<_> = files
        .iter()
        .map(|(path, _)| path.trim_start_matches("shop/"))
        .collect();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
        "configMapGenerator": [{ "name": "greeting", "literals": [format!("GREETING={greeting}")] }],
    });
    let generator = Change::write("shop/kustomization.yaml", kustomization.to_string());
    let files = files.into_iter().map(|(path, text)| {
        let is_app = path == APP_FILE;
        let named = text.replace(
            "        env:\n",
            "        envFrom: [{configMapRef: {name: greeting}}]\n        env:\n",
        );
        Change::write(path, if is_app { named } else { text })
    });
    files.chain([generator]).collect()
}
