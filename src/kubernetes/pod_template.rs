//! Pod templates, kept as digests: a namespace with large workloads costs little memory.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tidegate_api::config::ConfigRef;
use tidegate_engine::{pin, revision::Digest};

use super::config;

/// Annotation of a pod template by which `kubectl rollout restart` has its pods replaced.
pub(crate) const RESTART_ANNOTATION: &str = "kubectl.kubernetes.io/restartedAt";

/// Digested pod template.
#[derive(Clone, Debug)]
pub(crate) struct PodTemplate {
    /// Digest without the labels by which versions differ.
    pub(crate) digest: Digest,
    /// Digest of the same without the mark of a restart.
    pub(crate) content: Digest,
    /// Mark of the last `kubectl rollout restart`.
    pub(crate) restarted_at: Option<String>,
    /// Labels of the pods, without those by which versions differ.
    pub(crate) labels: BTreeMap<String, String>,
    /// Parts of the template that two versions side by side cannot share, in words.
    pub(crate) parallel_blockers: Vec<String>,
    /// `true` if its pods must not share a node.
    pub(crate) anti_affinity: bool,
    /// ConfigMaps and Secrets that it names.
    pub(crate) config: BTreeSet<ConfigRef>,
    /// Digest of the config that was released with it.
    pub(crate) released_config: Option<String>,
}

// === impl PodTemplate ===

impl PodTemplate {
    /// Digests a template.
    pub(crate) fn of(mut template: Value) -> Self {
        let parallel_blockers = parallel_blockers(&template);
        let required =
            "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
        let anti_affinity = template
            .pointer(required)
            .and_then(Value::as_array)
            .is_some_and(|terms| !terms.is_empty());
        if let Some(labels) = template
            .pointer_mut("/metadata/labels")
            .and_then(Value::as_object_mut)
        {
            labels.retain(|key, _| !pin::is_label(key));
        }
        drop_null_timestamp(&mut template);
        let config = config::named_in(&template);
        config::name_originals(&mut template);
        let released_config = config::released_with(&template).map(str::to_owned);
        let (digest, labels) = (Digest::of(&template), labels(&template));
        let restarted_at = restarted_at(&template).map(str::to_owned);
        let content = match restarted_at {
            Some(_) => Digest::of(&without_restart(template)),
            None => digest,
        };
        Self {
            digest,
            content,
            restarted_at,
            labels,
            parallel_blockers,
            anti_affinity,
            config,
            released_config,
        }
    }
}

impl Default for PodTemplate {
    fn default() -> Self {
        Self::of(Value::Null)
    }
}

impl<'de> Deserialize<'de> for PodTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::of)
    }
}

/// Returns the mark of the last `kubectl rollout restart`: it has every pod replaced and changes none.
pub(crate) fn restarted_at(template: &Value) -> Option<&str> {
    template
        .pointer("/metadata/annotations")?
        .get(RESTART_ANNOTATION)?
        .as_str()
}

/// Puts the mark of a restart on a template that has none.
pub(crate) fn mark_restarted(template: &mut Value, at: Option<&str>) {
    if let Some(at) = at
        && restarted_at(template).is_none()
        && let Some(annotations) = annotations_mut(template)
    {
        annotations.insert(RESTART_ANNOTATION.to_owned(), Value::from(at));
    }
}

/// Returns the annotations of a template, made where there are none; `None` where something else stands
/// in their place.
pub(super) fn annotations_mut(template: &mut Value) -> Option<&mut Map<String, Value>> {
    let mut inner = template;
    for key in ["metadata", "annotations"] {
        inner = inner.as_object_mut()?.entry(key).or_insert(Value::Null);
        if inner.is_null() {
            *inner = Value::Object(Map::new());
        }
    }
    inner.as_object_mut()
}

/// Removes the mark of a restart.
fn without_restart(mut template: Value) -> Value {
    config::remove_annotation(&mut template, RESTART_ANNOTATION);
    template
}

/// Removes the null `creationTimestamp` that older API servers add to a template. Nobody has
/// written it.
pub(crate) fn drop_null_timestamp(template: &mut Value) {
    if let Some(metadata) = template
        .pointer_mut("/metadata")
        .and_then(Value::as_object_mut)
        && metadata
            .get("creationTimestamp")
            .is_some_and(Value::is_null)
    {
        metadata.remove("creationTimestamp");
    }
}

/// Returns the labels of a template's pods.
pub(crate) fn labels(template: &Value) -> BTreeMap<String, String> {
    let labels = template
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Returns the images of a template's containers.
pub(crate) fn images(template: &Value) -> Vec<String> {
    list(template, "/spec/containers")
        .iter()
        .filter_map(|container| Some(container.get("image")?.as_str()?.to_owned()))
        .collect()
}

/// Returns the parts of a template that two versions side by side cannot share. Only the claim itself
/// says if it is `ReadWriteOnce`, so every claim counts.
fn parallel_blockers(template: &Value) -> Vec<String> {
    let mut blockers = Vec::new();
    if list(template, "/spec/volumes")
        .iter()
        .any(|volume| volume.get("persistentVolumeClaim").is_some())
    {
        blockers.push("a PersistentVolumeClaim".to_owned());
    }
    let host_network = template.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
    if host_network || list(template, "/spec/containers").iter().any(has_host_port) {
        blockers.push("a host port".to_owned());
    }
    blockers
}

/// Returns the first element that a keyed list of a template has twice, in words. Kubernetes takes such
/// a template from a client-side apply, and not from a server-side one.
pub(crate) fn doubled(template: &Value) -> Option<String> {
    let lists: [(&str, &str, &[&str]); 4] = [
        ("/spec/volumes", "the volume", &["name"]),
        ("/spec/imagePullSecrets", "the image pull Secret", &["name"]),
        ("/spec/hostAliases", "the host alias", &["ip"]),
        ("/spec/containers", "the container", &["name"]),
    ];
    let of_pod = lists
        .into_iter()
        .find_map(|(path, what, keys)| doubled_in(list(template, path), what, keys));
    let containers = ["/spec/initContainers", "/spec/containers"].map(|path| list(template, path));
    of_pod.or_else(|| {
        containers.into_iter().flatten().find_map(|container| {
            let name = container["name"].as_str().unwrap_or_default();
            let found = doubled_in_container(container)?;
            Some(format!("{found} of the container {name}"))
        })
    })
}

fn doubled_in_container(container: &Value) -> Option<String> {
    let lists: [(&str, &str, &[&str]); 4] = [
        ("/env", "the environment variable", &["name"]),
        ("/ports", "the port", &["containerPort", "protocol"]),
        ("/volumeMounts", "the volume mount", &["mountPath"]),
        ("/volumeDevices", "the volume device", &["devicePath"]),
    ];
    lists
        .into_iter()
        .find_map(|(path, what, keys)| doubled_in(list(container, path), what, keys))
}

fn doubled_in(elements: &[Value], what: &str, keys: &[&str]) -> Option<String> {
    let mut seen = BTreeSet::new();
    for element in elements {
        let key: Vec<_> = keys.iter().filter_map(|key| key_of(element, key)).collect();
        let key = key.join("/");
        if seen.contains(&key) {
            return Some(format!("{what} {key}"));
        }
        seen.insert(key);
    }
    None
}

/// Returns the value of a key, with the default of the one that has one.
fn key_of(element: &Value, key: &str) -> Option<String> {
    match element.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(value) => Some(value.to_string()),
        None if key == "protocol" => Some("TCP".to_owned()),
        None => None,
    }
}

fn has_host_port(container: &Value) -> bool {
    list(container, "/ports")
        .iter()
        .any(|port| port.get("hostPort").is_some())
}

/// Returns the list at a JSON pointer, which may be missing.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_labels_by_which_versions_differ_are_not_compared() {
        let template = |labels: Value| {
            serde_json::from_value::<PodTemplate>(
                json!({"metadata": {"labels": labels}, "spec": {}}),
            )
            .expect("a template")
        };
        let plain = template(json!({"app": "shop"}));
        assert_eq!(
            plain.digest,
            template(json!({"app": "shop", "pod-template-hash": "1"})).digest
        );
        assert_eq!(
            plain.digest,
            template(json!({"app": "shop", "tidegate.io/track": "canary"})).digest
        );
        assert_ne!(
            plain.digest,
            template(json!({"app": "shop", "x": "y"})).digest
        );
    }

    #[test]
    fn a_restart_changes_the_template_and_not_its_content() {
        let before = json!({"metadata": {"labels": {"app": "shop"}}, "spec": {}});
        let mut after = before.clone();
        mark_restarted(&mut after, Some("2026-03-01T12:00:00Z"));
        let (before, after) = (PodTemplate::of(before), PodTemplate::of(after));
        assert_ne!(before.digest, after.digest);
        assert_eq!(before.content, after.content);
        assert_eq!(after.restarted_at.as_deref(), Some("2026-03-01T12:00:00Z"));
    }

    #[test]
    fn a_mark_that_git_has_stays() {
        let marked = |at: &str| json!({"metadata": {"annotations": {RESTART_ANNOTATION: at}}});
        let mut template = marked("git");
        mark_restarted(&mut template, Some("kubectl"));
        assert_eq!(template, marked("git"));
    }

    #[test]
    fn an_element_that_a_list_has_twice_is_named() {
        let template = |container: Value| json!({"spec": {"containers": [container]}});
        let env = json!({"name": "app", "env": [{"name": "A"}, {"name": "B"}, {"name": "A"}]});
        assert_eq!(
            doubled(&template(env)).as_deref(),
            Some("the environment variable A of the container app")
        );
        let ports =
            |second: Value| json!({"name": "app", "ports": [{"containerPort": 80}, second]});
        let tcp = ports(json!({"containerPort": 80, "protocol": "TCP", "name": "x"}));
        assert_eq!(
            doubled(&template(tcp)).as_deref(),
            Some("the port 80/TCP of the container app")
        );
        let udp = ports(json!({"containerPort": 80, "protocol": "UDP"}));
        assert_eq!(doubled(&template(udp)), None);
        let volumes = json!({"spec": {"volumes": [{"name": "v"}, {"name": "v"}]}});
        assert_eq!(doubled(&volumes).as_deref(), Some("the volume v"));
    }

    #[test]
    fn what_cannot_be_shared_is_named() {
        let template = json!({"spec": {
            "volumes": [{"persistentVolumeClaim": {"claimName": "data"}}],
            "containers": [{"ports": [{"hostPort": 80}]}]
        }});
        assert_eq!(
            parallel_blockers(&template),
            ["a PersistentVolumeClaim", "a host port"]
        );
    }
}
