//! The chart's policy for Interventions, for the namespace of one scenario: in its namespace nobody bears
//! another's name, and Tidegate takes approvals.

use anyhow::{Context as _, Result};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

/// The chart's policy and its binding, as they are committed.
const TEMPLATE: &str = include_str!("../../../charts/tidegate/templates/admissionpolicy.yaml");

/// Name of the release in the template's language.
const RELEASE: &str = "{{ include \"tidegate.clusterName\" . }}";

/// Creates both.
pub(super) async fn enforce(client: Client, namespace: &str) -> Result<()> {
    let (policy, mut binding) = objects(namespace)?;
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

/// The policy and the binding. Other lines of the template language are left out.
fn objects(namespace: &str) -> Result<(Value, Value)> {
    let named = TEMPLATE.replace(RELEASE, namespace);
    let plain: Vec<_> = named.lines().filter(|line| !line.contains("{{")).collect();
    let plain = plain.join("\n");
    let (policy, binding) = plain
        .split_once("\n---")
        .context("the chart's admissionpolicy.yaml has two documents")?;
    let read = |text: &str| {
        serde_saphyr::from_str(text).context("the chart's admissionpolicy.yaml cannot be read")
    };
    Ok((read(policy)?, read(binding)?))
}
