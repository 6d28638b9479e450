//! Kustomizations: which files are patches, and no objects of their own.

use serde_json::Value;
use tidegate_render::KUSTOMIZATIONS;

/// Returns true if a file is a kustomization, by its name.
pub(super) fn is_kustomization(path: &str) -> bool {
    let (_, name) = split(path);
    KUSTOMIZATIONS.contains(&name)
}

/// Returns the files that a kustomization takes for patches, from where its own path begins.
pub(super) fn patches(path: &str, kustomization: &Value) -> Vec<String> {
    let (folder, _) = split(path);
    let listed = |field: &str| kustomization[field].as_array().into_iter().flatten();
    let paths = listed("patches")
        .chain(listed("patchesJson6902"))
        .filter_map(|patch| patch["path"].as_str())
        .chain(listed("patchesStrategicMerge").filter_map(Value::as_str));
    paths.map(|path| joined(folder, path)).collect()
}

/// Joins two paths without `.` and `..`.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" if parts.is_empty() && folder.starts_with('/') => parts.push(""),
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_are_found_from_where_the_kustomization_is() {
        let kustomization = json!({
            "patches": [{ "path": "./patch.yaml" }, { "patch": "inline" }],
            "patchesStrategicMerge": ["../common/rollout.yaml"],
            "patchesJson6902": [{ "path": "json.yaml" }],
        });
        let found = patches("overlays/prod/kustomization.yaml", &kustomization);
        assert_eq!(
            found,
            [
                "overlays/prod/patch.yaml",
                "overlays/prod/json.yaml",
                "overlays/common/rollout.yaml"
            ]
        );
        assert_eq!(
            patches(
                "/k/Kustomization",
                &json!({ "patches": [{ "path": "a.yaml" }] })
            ),
            ["/k/a.yaml"]
        );
        assert_eq!(
            patches(
                "kustomization.yml",
                &json!({ "patches": [{ "path": "../a.yaml" }] })
            ),
            ["../a.yaml"]
        );
    }
}
