//! Config that a pod template names.
//!
//! Pull secrets and the secrets of storage drivers are named, too, but a change of these is no change of the program.

mod content;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tidegate_api::{
    config::{ConfigCopy, ConfigKind, ConfigRef, ReleasedConfig},
    names,
};
use tidegate_engine::revision::Digest;

pub(crate) use self::content::{Content, short};
use super::pod_template::{annotations_mut, list};

/// The longest name of an object with config.
const MAX_NAME: usize = 253;

/// The places of a template that name config: the lists on the way, and the name in an item of the last.
const PLACES: [(ConfigKind, &[&str], &str); 12] = {
    use ConfigKind::{ConfigMap, Secret};
    const INIT_ENV: &[&str] = &["/spec/initContainers", "/env"];
    const ENV: &[&str] = &["/spec/containers", "/env"];
    const INIT_ENV_FROM: &[&str] = &["/spec/initContainers", "/envFrom"];
    const ENV_FROM: &[&str] = &["/spec/containers", "/envFrom"];
    const VOLUMES: &[&str] = &["/spec/volumes"];
    const PROJECTED: &[&str] = &["/spec/volumes", "/projected/sources"];
    [
        (ConfigMap, INIT_ENV, "/valueFrom/configMapKeyRef/name"),
        (Secret, INIT_ENV, "/valueFrom/secretKeyRef/name"),
        (ConfigMap, ENV, "/valueFrom/configMapKeyRef/name"),
        (Secret, ENV, "/valueFrom/secretKeyRef/name"),
        (ConfigMap, INIT_ENV_FROM, "/configMapRef/name"),
        (Secret, INIT_ENV_FROM, "/secretRef/name"),
        (ConfigMap, ENV_FROM, "/configMapRef/name"),
        (Secret, ENV_FROM, "/secretRef/name"),
        (ConfigMap, VOLUMES, "/configMap/name"),
        (Secret, VOLUMES, "/secret/secretName"),
        (ConfigMap, PROJECTED, "/configMap/name"),
        (Secret, PROJECTED, "/secret/name"),
    ]
};

/// Returns the ConfigMaps and Secrets that a template names: in variables, and in volumes.
pub(crate) fn named_in(template: &Value) -> BTreeSet<ConfigRef> {
    let mut named = BTreeSet::new();
    for (kind, lists, name) in PLACES {
        each_name(template, lists, name, &mut |name| {
            let name = name.to_owned();
            named.insert(ConfigRef { kind, name });
        });
    }
    named
}

/// Puts the annotation on a template by which its pods are replaced though nothing but config has changed.
pub(crate) fn mark_released(template: &mut Value, digest: &str) {
    if let Some(annotations) = annotations_mut(template) {
        annotations.insert(names::CONFIG_ANNOTATION.to_owned(), Value::from(digest));
    }
}

/// Returns the annotation of a template that names the config that was released with it.
pub(crate) fn released_with(template: &Value) -> Option<&str> {
    annotation(template, names::CONFIG_ANNOTATION)
}

/// Returns the name of a copy of config: as much as there is room for of the original's, and a digest of the whole and of
/// what makes the copy another than the next.
pub(crate) fn copy_name(original: &str, of: &str, what: &Value) -> String {
    let digest = short(&Digest::of(&json!([original, what])));
    let suffix = format!("-{of}-{digest}");
    let mut name = original.to_owned();
    name.truncate(MAX_NAME - suffix.len());
    // A part of a name ends with a letter or a digit.
    let end = name.trim_end_matches(['.', '-']).len();
    name.truncate(end);
    name + &suffix
}

/// Makes a template the canary's: it names copies of the config that is released with it, and says of what.
pub(crate) fn name_copies(template: &mut Value, config: &ReleasedConfig) {
    mark_released(template, &config.digest);
    let copies = config.copies.iter();
    let names: BTreeMap<_, _> = copies
        .map(|copy| (copy.object(), copy.copy.clone()))
        .collect();
    rename(template, &names);
    if let Some(annotations) = annotations_mut(template) {
        let copies = serde_json::to_string(&config.copies).unwrap_or_default();
        annotations.insert(names::CONFIG_COPIES_ANNOTATION.to_owned(), copies.into());
    }
}

/// Makes a canary's template what it was before [`name_copies`], but for the annotation of what is released: that is
/// the workload's once it is promoted.
pub(super) fn name_originals(template: &mut Value) {
    let Some(copies) = annotation(template, names::CONFIG_COPIES_ANNOTATION) else {
        return;
    };
    let copies: Vec<ConfigCopy> = serde_json::from_str(copies).unwrap_or_default();
    let copies = copies.into_iter();
    let names: BTreeMap<_, _> = copies
        .map(|ConfigCopy { kind, name, copy }| (ConfigRef { kind, name: copy }, name))
        .collect();
    rename(template, &names);
    remove_annotation(template, names::CONFIG_COPIES_ANNOTATION);
}

/// Has a template name other objects in the place of these.
fn rename(template: &mut Value, names: &BTreeMap<ConfigRef, String>) {
    for (kind, lists, name) in PLACES {
        each_name_mut(template, lists, name, &mut |name| {
            let object = ConfigRef {
                kind,
                name: name.clone(),
            };
            if let Some(other) = names.get(&object) {
                name.clone_from(other);
            }
        });
    }
}

/// Calls a function with the names at a place in each item of lists within lists.
fn each_name(within: &Value, lists: &[&str], name: &str, call: &mut dyn FnMut(&str)) {
    match lists {
        [first, rest @ ..] => {
            for item in list(within, first) {
                each_name(item, rest, name, call);
            }
        }
        [] => {
            if let Some(Value::String(name)) = within.pointer(name) {
                call(name);
            }
        }
    }
}

/// The same of names that the function may change.
fn each_name_mut(
    within: &mut Value,
    lists: &[&str],
    name: &str,
    call: &mut dyn FnMut(&mut String),
) {
    match lists {
        [first, rest @ ..] => {
            let items = within.pointer_mut(first).and_then(Value::as_array_mut);
            for item in items.into_iter().flatten() {
                each_name_mut(item, rest, name, call);
            }
        }
        [] => {
            if let Some(Value::String(name)) = within.pointer_mut(name) {
                call(name);
            }
        }
    }
}

fn annotation<'a>(template: &'a Value, key: &str) -> Option<&'a str> {
    let annotations = template.pointer("/metadata/annotations")?;
    annotations.get(key)?.as_str()
}

/// Removes an annotation of a template, and all annotations where it was the only one.
pub(super) fn remove_annotation(template: &mut Value, key: &str) {
    if let Some(metadata) = template
        .pointer_mut("/metadata")
        .and_then(Value::as_object_mut)
        && let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        && annotations.remove(key).is_some()
        && annotations.is_empty()
    {
        metadata.remove("annotations");
    }
}

#[cfg(test)]
mod tests {
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

    fn copy(kind: ConfigKind, name: &str) -> ConfigCopy {
        ConfigCopy {
            kind,
            name: name.to_owned(),
            copy: format!("{name}-canary"),
        }
    }

    #[test]
    fn the_longest_names_have_copies_of_their_own() {
        let longest = |end: &str| "a".repeat(MAX_NAME - 1) + end;
        let (one, other) = (longest("b"), longest("c"));
        let names = [&one, &other].map(|name| copy_name(name, "canary", &json!("content")));
        assert!(names.iter().all(|name| name.len() == MAX_NAME));
        assert_ne!(names[0], names[1]);
        let dotted = "a".repeat(200) + &".".repeat(50);
        assert!(!copy_name(&dotted, "canary", &json!("")).contains(".-"));
        let short = copy_name("web", "canary", &json!("content"));
        assert!(short.starts_with("web-canary-"), "{short}");
        assert_ne!(short, copy_name("web", "canary", &json!("other")));
    }

    #[test]
    fn a_canary_names_copies_of_what_is_released_and_its_template_counts_as_the_original() {
        let template = json!({ "metadata": { "labels": { "app": "web" } }, "spec": {
            "containers": [{
                "env": [{ "name": "B", "valueFrom": { "secretKeyRef": { "name": "web", "key": "b" } } }],
                "envFrom": [{ "configMapRef": { "name": "web" } }, { "configMapRef": { "name": "other" } }],
            }],
            "volumes": [{ "name": "b", "secret": { "secretName": "web" } }],
        } });
        let config = ReleasedConfig {
            digest: "abc".to_owned(),
            copies: vec![
                copy(ConfigKind::ConfigMap, "web"),
                copy(ConfigKind::Secret, "db"),
            ],
        };
        let mut canary = template.clone();
        name_copies(&mut canary, &config);
        let named: Vec<_> = named_in(&canary).iter().map(ToString::to_string).collect();
        assert_eq!(
            named,
            ["ConfigMap other", "ConfigMap web-canary", "Secret web"]
        );
        name_originals(&mut canary);
        assert_eq!(released_with(&canary), Some("abc"));
        remove_annotation(&mut canary, names::CONFIG_ANNOTATION);
        assert_eq!(canary, template);
    }
}
