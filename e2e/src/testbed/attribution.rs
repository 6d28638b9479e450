//! The chart's policy for Interventions, for the namespace of one scenario: in its namespace nobody bears
//! another's name, and Tidegate takes approvals.

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use super::template;

/// The chart's policy and its binding, as they are committed.
const TEMPLATE: &str = include_str!("../../../charts/tidegate/templates/admissionpolicy.yaml");

/// Name of the release in the template's language.
const RELEASE: &str = "{{ include \"tidegate.clusterName\" . }}";

/// Creates both.
pub(super) async fn enforce(client: Client, namespace: &str) -> Result<()> {
    let objects = template::objects(&TEMPLATE.replace(RELEASE, namespace))
        .context("the chart's admissionpolicy.yaml cannot be read")?;
    let [policy, mut binding] = <[Value; 2]>::try_from(objects)
        .map_err(|_| anyhow!("the chart's admissionpolicy.yaml has a policy and its binding"))?;
    binding["spec"]["matchResources"] = json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
    });
    let params = PostParams::default();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let policy = serde_json::from_value(policy)?;
    let created = policies.create(&params, &policy).await;
    created.context("the policy for Interventions cannot be created")?;
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
    let created = bindings
        .create(&params, &serde_json::from_value(binding)?)
        .await;
    created.context("the binding of the policy for Interventions cannot be created")?;
    Ok(())
}

/// Deletes the binding: anybody can write any name then.
pub(super) async fn stop(client: Client, namespace: &str) -> Result<()> {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
    let name = format!("{namespace}-interventions");
    bindings.delete(&name, &DeleteParams::default()).await?;
    Ok(())
}
