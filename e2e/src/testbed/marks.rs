//! Marks that Tidegate puts on the objects of whoever applies the shop, and takes off again: annotations, and the
//! ownership of fields.

use anyhow::{Result, ensure};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Service},
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta},
};
use tidegate_api::names;

use super::{LIMIT, NAME, Testbed};
use crate::eventually::eventually;

/// Annotation by which Flux is told how to apply an object.
pub const SSA: &str = "kustomize.toolkit.fluxcd.io/ssa";

/// The value of [`SSA`] with which it passes the object by.
pub const IGNORE: &str = "Ignore";

/// Annotation by which Flux is told to keep an object that has left git.
pub const PRUNE: &str = "kustomize.toolkit.fluxcd.io/prune";

/// Prefix of the annotations of Tidegate itself.
const OWN: &str = "tidegate.io/";

// === impl Testbed ===

impl Testbed {
    /// Waits until nothing of an attempt is left on the objects that Flux applied: what remains is the pause.
    pub async fn attempt_has_left_no_mark(&self) -> Result<()> {
        self.attempt_has_left_no_mark_but(None).await
    }

    /// The same where git has this value of [`SSA`] on the route.
    pub async fn attempt_has_left_no_mark_but(&self, route_has: Option<&str>) -> Result<()> {
        eventually("no mark of the attempt is left", LIMIT, || async {
            let [workload, service, route] = self.said_of_themselves().await?;
            for (what, object, ssa) in [("Service", &service, None), ("route", &route, route_has)] {
                has_no_annotation(what, object)?;
                tells_flux(what, object, ssa)?;
                has_no_owner(what, object, is_update)?;
            }
            tells_flux("Deployment", &workload, None)?;
            has_no_owner("Deployment", &workload, |entry| {
                is_update(entry) && has_template(entry)
            })?;
            Ok(Some(()))
        })
        .await
    }

    /// Waits until nothing of Tidegate is left on the objects that Flux applied.
    pub async fn no_mark_is_left(&self) -> Result<()> {
        eventually("no mark is left", LIMIT, || async {
            let objects = self.said_of_themselves().await?;
            for (what, object) in ["Deployment", "Service", "route"].into_iter().zip(&objects) {
                has_no_annotation(what, object)?;
                tells_flux(what, object, None)?;
                has_no_owner(what, object, |_| true)?;
            }
            Ok(Some(()))
        })
        .await
    }

    /// Metadata of the workload, the Service and the route.
    async fn said_of_themselves(&self) -> Result<[ObjectMeta; 3]> {
        let workload = self.api::<Deployment>().get(NAME).await?;
        let service = self.api::<Service>().get(NAME).await?;
        let route = self.route().await?;
        Ok([workload.metadata, service.metadata, route.metadata])
    }
}

fn has_no_annotation(what: &str, object: &ObjectMeta) -> Result<()> {
    let annotations = object.annotations.iter().flatten();
    let left: Vec<_> = annotations
        .filter(|(key, _)| key.starts_with(OWN))
        .collect();
    ensure!(left.is_empty(), "the {what} has {left:?}");
    Ok(())
}

fn tells_flux(what: &str, object: &ObjectMeta, wanted: Option<&str>) -> Result<()> {
    let mut annotations = object.annotations.iter().flatten();
    let found = annotations.find(|(key, _)| key.as_str() == SSA);
    let found = found.map(|(_, value)| value.as_str());
    ensure!(found == wanted, "the {what} tells Flux {found:?}");
    Ok(())
}

/// Tidegate owns no field of the object by an entry of this kind.
fn has_no_owner(
    what: &str,
    object: &ObjectMeta,
    counts: impl Fn(&ManagedFieldsEntry) -> bool,
) -> Result<()> {
    let entries = object.managed_fields.iter().flatten();
    let owned: Vec<_> = entries
        .filter(|entry| entry.manager.as_deref() == Some(names::FIELD_MANAGER) && counts(entry))
        .map(|entry| (&entry.operation, &entry.fields_v1))
        .collect();
    ensure!(
        owned.is_empty(),
        "fields of the {what} are Tidegate's: {owned:?}"
    );
    Ok(())
}

/// Returns true where the fields were written otherwise than by server-side apply, which gives its own back.
fn is_update(entry: &ManagedFieldsEntry) -> bool {
    entry.operation.as_deref() == Some("Update")
}

/// Returns true where a pod template is among the fields.
fn has_template(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    fields.is_some_and(|fields| !fields["f:spec"]["f:template"].is_null())
}
