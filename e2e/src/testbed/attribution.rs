//! The chart's policy for Interventions, for the namespace of one scenario: in its namespace nobody bears
//! another's name, and Tidegate takes approvals.

use anyhow::{Context as _, Result};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use kube::{Api, Client, api::DeleteParams};

use super::policy;

/// The chart's policy and its binding, as they are committed.
const TEMPLATE: &str = include_str!("../../../charts/tidegate/templates/admissionpolicy.yaml");

/// Creates both.
pub(super) async fn enforce(client: Client, namespace: &str) -> Result<()> {
    let created = policy::create(client, namespace, TEMPLATE).await;
    created.context("the chart's admissionpolicy.yaml")
}

/// Deletes the binding: anybody can write any name then.
pub(super) async fn stop(client: Client, namespace: &str) -> Result<()> {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
    let name = format!("{namespace}-interventions");
    bindings.delete(&name, &DeleteParams::default()).await?;
    Ok(())
}
