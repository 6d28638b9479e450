//! A shop in a Kustomize overlay: it is rendered and applied, and a rollback edits the overlay where it set what was bad.

use anyhow::{Result, ensure};
use serde_json::json;
use tidegate_api::{CommitId, record::RestoreResult};

use crate::{
    git_server::Change,
    scenario::{Context, Scenario, scenario},
    testbed::{Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(overlay, run)];

const OVERLAY: &str = "shop/kustomization.yaml";

async fn run(context: Context) -> Result<()> {
    let shop = Shop::new();
    let mut bed = Testbed::new(context).await?;
    bed.has_no_repo(&shop).await;
    let base = shop.files(&bed.context.namespace).into_iter();
    let base: Vec<_> = base
        .map(|(path, text)| (path.replacen("shop/", "base/", 1), text))
        .collect();
    let names: Vec<_> = base
        .iter()
        .map(|(path, _)| path.trim_start_matches("base/").to_owned())
        .collect();
    let kustomization = json!({ "resources": names }).to_string();
    let mut changes: Vec<_> = base
        .into_iter()
        .map(|(path, text)| Change::write(path, text))
        .collect();
    changes.push(Change::write("base/kustomization.yaml", kustomization));
    changes.push(Change::write(OVERLAY, overlay("v1", "0")));
    bed.repo.commit(changes, "Open the shop").await?;
    bed.create_config_repo(json!({})).await?;
    bed.start_tidegate().await?;
    bed.is_open(&shop).await?;

    let clients = bed.clients(200);
    let good = commit(&bed, "v2", "0").await?;
    let record = bed.promoted(2).await?;
    ensure!(
        record.head.source.commit.as_ref().map(CommitId::as_str) == Some(good.as_str()),
        "{record:?}"
    );
    bed.gateway_serves("v2").await?;

    commit(&bed, "v3", "0.3").await?;
    let record = bed.rolled_back(3).await?;
    let Some(RestoreResult::Restored { commit }) = record.restore else {
        anyhow::bail!("the template was not restored: {:?}", record.restore);
    };
    ensure!(
        bed.repo.head().await?.as_deref() == Some(commit.as_str())
            && bed.repo.file_at("main", OVERLAY).await? == Some(overlay("v2", "0")),
        "the overlay is not as it was, byte for byte"
    );
    bed.gateway_serves("v2").await?;
    clients.stop().await.none_failed_beside("v3")?;
    Ok(())
}

async fn commit(bed: &Testbed, tag: &str, error_rate: &str) -> Result<String> {
    let change = Change::write(OVERLAY, overlay(tag, error_rate));
    Ok(bed.repo.commit([change], &format!("Release {tag}")).await?)
}

/// The overlay as a person writes it, with comments.
fn overlay(tag: &str, error_rate: &str) -> String {
    format!(
        "# What this cluster runs.
resources: [../base]
images:
- name: tidegate.dev/demo-app
  newTag: {tag}  # by CI
patches:
- target: {{kind: Deployment}}
  patch: |
    - {{op: replace, path: /spec/template/spec/containers/0/env/0/value, value: \"{error_rate}\"}}
"
    )
}
