//! Two ConfigRepos bring the same object: the second is refused by name, and gets it once the first
//! lets it go.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use tidegate_api::{
    Condition, ConfigRepo,
    reason::{ConditionType, SyncReason},
};

use crate::{
    eventually::until_true,
    git_server::Change,
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(same_object_twice, run)];

/// The ConfigMap of both.
fn settings(color: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{color: {color}}}\n"
    )
}

/// Condition `Ready` of the second ConfigRepo.
async fn ready(bed: &Testbed) -> Result<Condition> {
    let repo = bed.api::<ConfigRepo>().get("other").await?;
    let status = repo.status.context("it has no status")?;
    let ready = Condition::find(&status.conditions, ConditionType::Ready);
    ready.cloned().context("it says nothing")
}

async fn color(bed: &Testbed) -> Result<String> {
    let data = bed.api::<ConfigMap>().get("settings").await?.data;
    let color = data.and_then(|mut data| data.remove("color"));
    color.context("the ConfigMap has a color")
}

/// Brings an object twice, and moves it.
async fn run(context: Context) -> Result<()> {
    let bed = Testbed::open(context, &Shop::new()).await?;
    let own = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own}\n";
    let changes = [
        Change::write("shop/settings.yaml", settings("blue")),
        Change::write("other/own.yaml", own),
    ];
    bed.repo.commit(changes, "Settings").await?;
    until_true("the first brings it", LIMIT, || async {
        Ok(color(&bed).await.is_ok_and(|color| color == "blue"))
    })
    .await?;
    let mut other = serde_json::to_value(bed.api::<ConfigRepo>().get("shop").await?.spec)?;
    other["path"] = json!("other");
    other["records"] = json!({ "branch": "tidegate/other" });
    bed.create::<ConfigRepo>(json!({ "metadata": { "name": "other" }, "spec": other }))
        .await?;
    bed.repo
        .commit(
            [Change::write("other/settings.yaml", settings("red"))],
            "The same once more",
        )
        .await?;
    until_true("the second is refused", LIMIT, || async {
        Ok(ready(&bed)
            .await
            .is_ok_and(|ready| ready.reason == SyncReason::ObjectConflict.to_string()))
    })
    .await?;
    let said = ready(&bed).await?.message;
    ensure!(
        said.contains("ConfigMap/settings: ConfigRepo shop brings it already"),
        "it says: {said}"
    );
    bed.api::<ConfigMap>().get("own").await?;
    bed.config_repo_is(SyncReason::Applied).await?;
    ensure!(color(&bed).await? == "blue", "the second has written it");

    let uid = bed.api::<ConfigMap>().get("settings").await?.metadata.uid;
    let changes = [Change::delete("shop/settings.yaml")];
    bed.repo.commit(changes, "Move it").await?;
    until_true("the second has it", LIMIT, || async {
        let applied = ready(&bed).await?.reason == SyncReason::Applied.to_string();
        Ok(applied && color(&bed).await.is_ok_and(|color| color == "red"))
    })
    .await?;
    bed.config_repo_is(SyncReason::Applied).await?;
    let now = bed.api::<ConfigMap>().get("settings").await?.metadata.uid;
    ensure!(now == uid, "it was deleted on the way");
    Ok(())
}
