//! Config that a pod template names.
//!
//! Pull secrets and the secrets of storage drivers are named, too, but a change of these is no change of the program.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_api::config::{ConfigKind, ConfigRef};

use super::pod_template::list;

/// Returns the ConfigMaps and Secrets that a template names: in variables, and in volumes.
pub(crate) fn named_in(template: &Value) -> BTreeSet<ConfigRef> {
    let mut named = BTreeSet::new();
    let mut add = |kind, name: Option<&Value>| {
        if let Some(name) = name.and_then(Value::as_str) {
            let name = name.to_owned();
            named.insert(ConfigRef { kind, name });
        }
    };
    for containers in ["/spec/initContainers", "/spec/containers"] {
        for container in list(template, containers) {
            for variable in list(container, "/env") {
                add(
                    ConfigKind::ConfigMap,
                    variable.pointer("/valueFrom/configMapKeyRef/name"),
                );
                add(
                    ConfigKind::Secret,
                    variable.pointer("/valueFrom/secretKeyRef/name"),
                );
            }
            for source in list(container, "/envFrom") {
                add(ConfigKind::ConfigMap, source.pointer("/configMapRef/name"));
                add(ConfigKind::Secret, source.pointer("/secretRef/name"));
            }
        }
    }
    for volume in list(template, "/spec/volumes") {
        add(ConfigKind::ConfigMap, volume.pointer("/configMap/name"));
        add(ConfigKind::Secret, volume.pointer("/secret/secretName"));
        for source in list(volume, "/projected/sources") {
            add(ConfigKind::ConfigMap, source.pointer("/configMap/name"));
            add(ConfigKind::Secret, source.pointer("/secret/name"));
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_that_names_config_is_looked_at_and_no_other() {
        let template = json!({ "spec": {
            "imagePullSecrets": [{ "name": "registry" }],
            "initContainers": [{ "envFrom": [{ "secretRef": { "name": "from-init" } }] }],
            "containers": [{
                "env": [
                    { "name": "A", "value": "a" },
                    { "name": "B", "valueFrom": { "configMapKeyRef": { "name": "key", "key": "b" } } },
                    { "name": "C", "valueFrom": { "secretKeyRef": { "name": "key", "key": "c" } } },
                ],
                "envFrom": [{ "configMapRef": { "name": "from" } }, { "configMapRef": { "name": "from" } }],
            }],
            "volumes": [
                { "name": "a", "configMap": { "name": "volume" } },
                { "name": "b", "secret": { "secretName": "volume" } },
                { "name": "c", "projected": { "sources": [
                    { "configMap": { "name": "projected" } },
                    { "secret": { "name": "projected" } },
                    { "serviceAccountToken": { "path": "token" } },
                ] } },
                { "name": "d", "csi": { "nodePublishSecretRef": { "name": "storage" } } },
                { "name": "e", "emptyDir": {} },
            ],
        } });
        let named = named_in(&template);
        let named: Vec<_> = named.iter().map(ToString::to_string).collect();
        let expected = [
            "ConfigMap from",
            "ConfigMap key",
            "ConfigMap projected",
            "ConfigMap volume",
            "Secret from-init",
            "Secret key",
            "Secret projected",
            "Secret volume",
        ];
        assert_eq!(named, expected);
        assert!(named_in(&Value::Null).is_empty());
    }
}
