//! Tidegate's rights in a scenario: those that the Helm chart gives it, and no others.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::template;

/// The chart's rules, as they are committed.
const TEMPLATE: &str = include_str!("../../../charts/tidegate/templates/rbac.yaml");

/// The rules of the controller and of the leader, read from the chart's template.
///
/// Only lines of the template language are left out; so the rule that may be held to the names of
/// Secrets and of the Lease is not.
pub(super) fn rules() -> Result<Vec<Value>> {
    let mut rules = Vec::new();
    for object in template::objects(TEMPLATE).context("the chart's rbac.yaml cannot be read")? {
        rules.extend(
            object
                .get("rules")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .cloned(),
        );
    }
    ensure!(rules.len() > 2, "the chart's rbac.yaml has no rules");
    Ok(rules)
}
