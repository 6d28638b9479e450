//! Objects of an app that somebody deletes: each comes back at once, and not at the next comparison
//! of everything.

use anyhow::{Context as _, Result};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind},
};

use crate::{
    eventually::until_true,
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, NAME, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(deleted_by_hand, run)];

/// Deletes one after the other.
async fn run(context: Context) -> Result<()> {
    let bed = Testbed::open(context, &Shop::new()).await?;
    let kinds = [
        ApiResource::erase::<Service>(&()),
        ApiResource::from_gvk(&GroupVersionKind::gvk(
            "gateway.networking.k8s.io",
            "v1",
            "HTTPRoute",
        )),
        ApiResource::erase::<Deployment>(&()),
    ];
    for kind in kinds {
        let api: Api<DynamicObject> =
            Api::namespaced_with(bed.context.client(), &bed.context.namespace, &kind);
        let uid = api.get(NAME).await?.uid().context("it has a uid")?;
        api.delete(NAME, &DeleteParams::background()).await?;
        until_true(&format!("the {} is back", kind.kind), LIMIT, || async {
            let live = api.get_opt(NAME).await?;
            Ok(live.is_some_and(|live| live.uid().as_ref() != Some(&uid)))
        })
        .await?;
        bed.gateway_serves("v1").await?;
    }
    Ok(())
}
