//! Manifests, read as the kinds of the API server: the check of what the chart renders.
//!
//! A field that the kind does not have is lost when a document is read as its type, so a document
//! that is written again with all of its fields has none that the API server would reject.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::{
    api::{
        admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
        apps::v1::Deployment,
        core::v1::{Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Fails at the first document of a file that the API server would not know as it is.
pub fn check(path: &Path) -> Result<usize> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
        .with_context(|| format!("{} is not YAML", path.display()))?;
    let mut checked = 0;
    for document in documents.iter().filter(|document| !document.is_null()) {
        let name = document["metadata"]["name"].as_str().unwrap_or("?");
        check_document(document)
            .with_context(|| format!("{}: {} {name}", path.display(), document["kind"]))?;
        checked += 1;
    }
    ensure!(checked > 0, "{} has no document", path.display());
    Ok(checked)
}

fn check_document(document: &Value) -> Result<()> {
    ensure!(
        document["metadata"]["name"].is_string(),
        "metadata.name is missing"
    );
    let api_version = document["apiVersion"].as_str().unwrap_or_default();
    let kind = document["kind"].as_str().unwrap_or_default();
    match (api_version, kind) {
        ("v1", "Service") => read_as::<Service>(document),
        ("v1", "ServiceAccount") => read_as::<ServiceAccount>(document),
        ("apps/v1", "Deployment") => read_as::<Deployment>(document),
        ("policy/v1", "PodDisruptionBudget") => read_as::<PodDisruptionBudget>(document),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => read_as::<ClusterRole>(document),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
            read_as::<ClusterRoleBinding>(document)
        }
        ("rbac.authorization.k8s.io/v1", "Role") => read_as::<Role>(document),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => read_as::<RoleBinding>(document),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy") => {
            read_as::<ValidatingAdmissionPolicy>(document)
        }
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding") => {
            read_as::<ValidatingAdmissionPolicyBinding>(document)
        }
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => {
            read_as::<CustomResourceDefinition>(document)
        }
        _ => bail!("apiVersion `{api_version}` and kind `{kind}` are not among those known here"),
    }
}

fn read_as<K: DeserializeOwned + Serialize>(document: &Value) -> Result<()> {
    let object: K = serde_json::from_value(document.clone())?;
    let written = serde_json::to_value(object)?;
    match lost(document, &written) {
        None => Ok(()),
        Some(path) => bail!("{path} is not a field of this kind, or not a value of it"),
    }
}

/// Path of the first value of `document` that `written` does not have.
fn lost(document: &Value, written: &Value) -> Option<String> {
    match (document, written) {
        (Value::Object(fields), Value::Object(kept)) => fields.iter().find_map(|(name, value)| {
            // A field without a value is none, and is not written again.
            if is_empty(value) {
                return None;
            }
            let kept = kept.get(name).unwrap_or(&Value::Null);
            lost(value, kept).map(|path| format!(".{name}{path}"))
        }),
        (Value::Array(items), Value::Array(kept)) if items.len() == kept.len() => {
            let mut pairs = items.iter().zip(kept).enumerate();
            pairs.find_map(|(index, (item, kept))| {
                lost(item, kept).map(|path| format!("[{index}]{path}"))
            })
        }
        // 1 and 1.0 are the same number to the API server.
        (Value::Number(number), Value::Number(kept)) if number.as_f64() == kept.as_f64() => None,
        _ if document == written => None,
        _ => Some(String::new()),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(port: &Value) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": "shop" },
            "spec": { "ports": [port] },
        })
    }

    #[test]
    fn a_document_with_fields_of_its_kind_passes() {
        let document = service(&json!({ "port": 80, "targetPort": "http" }));
        check_document(&document).expect("a Service");
    }

    #[test]
    fn a_misspelled_field_is_named_by_its_path() {
        let document = service(&json!({ "port": 80, "targetport": "http" }));
        let error = check_document(&document).expect_err("no such field");
        let wanted = ".spec.ports[0].targetport is not a field of this kind, or not a value of it";
        assert_eq!(error.to_string(), wanted);
    }

    #[test]
    fn a_kind_that_is_not_known_is_rejected() {
        let document = json!({ "apiVersion": "v1", "kind": "Pot", "metadata": { "name": "tea" } });
        assert!(check_document(&document).is_err());
    }
}
