//! The chart's policy for Deployments that are held, for the namespace of one scenario.

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::{Testbed, template};

/// The chart's policy and its binding, as they are committed.
const TEMPLATE: &str = include_str!("../../../charts/tidegate/templates/heldpolicy.yaml");

/// What the template's language says of the release, and of Tidegate's ServiceAccount.
const RELEASE: &str = "{{ include \"tidegate.clusterName\" . }}";
const ACCOUNT: &str = "{{ .Release.Namespace }}:{{ include \"tidegate.serviceAccount\" . }}";

// === impl Testbed ===

impl Testbed {
    /// Creates both.
    pub async fn guard_what_is_held(&self) -> Result<()> {
        let (client, namespace) = (self.context.client(), &self.context.namespace);
        let text = TEMPLATE
            .replace(RELEASE, namespace)
            .replace(ACCOUNT, &format!("{namespace}:tidegate"));
        let objects = template::objects(&text).context("the chart's heldpolicy.yaml")?;
        let [policy, mut binding] = <[Value; 2]>::try_from(objects)
            .map_err(|_| anyhow!("the chart's heldpolicy.yaml has a policy and its binding"))?;
        binding["spec"]["matchResources"] = json!({
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
        });
        let params = PostParams::default();
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
        policies
            .create(&params, &serde_json::from_value(policy)?)
            .await?;
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
        bindings
            .create(&params, &serde_json::from_value(binding)?)
            .await?;
        Ok(())
    }
}
