//! A policy of the chart, for the namespace of one scenario.

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use super::template;

/// Name of the release in the template's language.
const RELEASE: &str = "{{ include \"tidegate.clusterName\" . }}";

/// Creates the policy of a template and its binding, with the namespace as the name of the release.
pub(super) async fn create(client: Client, namespace: &str, text: &str) -> Result<()> {
    let objects = template::objects(&text.replace(RELEASE, namespace))
        .context("a policy of the chart cannot be read")?;
    let [policy, mut binding] = <[Value; 2]>::try_from(objects)
        .map_err(|_| anyhow!("the template has a policy and its binding"))?;
    binding["spec"]["matchResources"] = json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
    });
    let params = PostParams::default();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let policy = serde_json::from_value(policy)?;
    let created = policies.create(&params, &policy).await;
    created.context("the policy cannot be created")?;
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
    let binding = serde_json::from_value(binding)?;
    let created = bindings.create(&params, &binding).await;
    created.context("the binding of the policy cannot be created")?;
    Ok(())
}
