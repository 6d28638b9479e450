//! The chart's policy for Deployments that are held, for the namespace of one scenario.

use anyhow::{Context as _, Result};

use super::{Testbed, policy};

/// The chart's policy and its binding, as they are committed.
const TEMPLATE: &str = include_str!("../../../charts/tidegate/templates/heldpolicy.yaml");

/// Tidegate's ServiceAccount in the template's language.
const ACCOUNT: &str = "{{ .Release.Namespace }}:{{ include \"tidegate.serviceAccount\" . }}";

// === impl Testbed ===

impl Testbed {
    /// Creates both.
    pub async fn guard_what_is_held(&self) -> Result<()> {
        let namespace = &self.context.namespace;
        let text = TEMPLATE.replace(ACCOUNT, &format!("{namespace}:tidegate"));
        let created = policy::create(self.context.client(), namespace, &text).await;
        created.context("the chart's heldpolicy.yaml")
    }
}
