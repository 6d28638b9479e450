//! Files of other tools, by name and by content: each is called by its right name, with what to
//! write instead.

use serde_json::Value;
use tidegate_render::{CHART, KUSTOMIZATIONS};

use super::is_list;

/// API group of kustomize's own kinds.
const KUSTOMIZE_GROUP: &str = "kustomize.config.k8s.io/";

/// Returns the reason to reject a file of another tool.
pub(super) fn rejection(path: &str, object: &Value) -> Option<String> {
    let name = file_name(path);
    let version = object["apiVersion"].as_str().unwrap_or_default();
    if KUSTOMIZATIONS.contains(&name) || version.starts_with(KUSTOMIZE_GROUP) {
        return Some(
            "this is a kustomization below a folder of plain YAML: let spec.path name the folder that is \
             rendered, or keep it out of the path"
                .to_owned(),
        );
    }
    if name == CHART {
        return Some(
            "this is a Helm chart below a folder of plain YAML: let spec.path name the chart's folder, or \
             keep it out of the path"
                .to_owned(),
        );
    }
    if object.get("sops").is_some_and(Value::is_object) {
        return Some(
            "this file is encrypted by SOPS, which Tidegate does not decrypt: apply it by other means, \
             and keep it out of the path"
                .to_owned(),
        );
    }
    None
}

/// Returns the reason to reject a file that is not YAML because it is a template of another tool.
pub(super) fn template_rejection(text: &str) -> Option<&'static str> {
    let is_template = text
        .lines()
        .map(str::trim_start)
        .any(|line| line.starts_with("{{") || line.contains(": {{") || line.contains("- {{"));
    is_template.then_some(
        "this looks like a Helm template: commit what `helm template` prints, and let path name its \
         folder",
    )
}

/// Returns true if a file of this name may be of no concern: JSON is the format of many tools.
pub(super) fn is_json(path: &str) -> bool {
    file_name(path)
        .rsplit_once('.')
        .is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("json"))
}

/// Returns true if a document is meant for Kubernetes.
pub(super) fn is_kubernetes(document: &Value) -> bool {
    let Value::Object(fields) = document else {
        return false;
    };
    is_list(fields) || (fields.contains_key("apiVersion") && fields.contains_key("kind"))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
