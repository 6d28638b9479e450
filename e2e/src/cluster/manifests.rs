//! Applying what others ship as YAML.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{conditions::is_crd_established, wait::await_condition},
};

/// Time that the API server may take to serve a new kind.
const ESTABLISHED_LIMIT: Duration = Duration::from_mins(1);

/// Field manager of the applied objects.
pub(super) const FIELD_MANAGER: &str = "tidegate-e2e";

/// Applies every CRD of every YAML file in a folder, and waits until all are served.
pub(super) async fn apply_crds(admin: &Client, folder: &Path) -> Result<()> {
    let crds = read_crds(folder)?;
    try_join_all(crds.iter().map(|crd| apply_crd(admin, crd))).await?;
    Ok(())
}

fn read_crds(folder: &Path) -> Result<Vec<CustomResourceDefinition>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut crds = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // The editors' schemas lie in a folder beside.
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let unreadable = format!("{} cannot be read", path.display());
        let text = fs::read_to_string(&path).context(unreadable.clone())?;
        crds.extend(
            serde_saphyr::from_multiple::<CustomResourceDefinition>(&text)
                .context(unreadable.clone())?,
        );
    }
    Ok(crds)
}

async fn apply_crd(admin: &Client, crd: &CustomResourceDefinition) -> Result<()> {
    let name = crd.name_any();
    let api: Api<CustomResourceDefinition> = Api::all(admin.clone());
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let mut crd = crd.clone();
    crd.status = None;
    api.patch(&name, &params, &Patch::Apply(&crd))
        .await
        .with_context(|| format!("the CRD {name} cannot be applied"))?;
    let established = await_condition(api, &name, is_crd_established());
    tokio::time::timeout(ESTABLISHED_LIMIT, established)
        .await
        .with_context(|| format!("the CRD {name} was not established in time"))?
        .with_context(|| format!("the CRD {name} cannot be watched"))?;
    Ok(())
}
