//! Cluster-scoped kinds. Those of custom resources are discovered at the cluster.

use serde_json::Value;

use super::{Key, Manifest};

/// A group and its kinds.
type Group = (&'static str, &'static [&'static str]);

const CLUSTER_SCOPED: &[Group] = &[
    ("", &["Namespace", "Node", "PersistentVolume"]),
    (
        "admissionregistration.k8s.io",
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &["APIService"]),
    ("certificates.k8s.io", &["CertificateSigningRequest"]),
    (
        "flowcontrol.apiserver.k8s.io",
        &["FlowSchema", "PriorityLevelConfiguration"],
    ),
    ("gateway.networking.k8s.io", &["GatewayClass"]),
    ("networking.k8s.io", &["IngressClass"]),
    ("node.k8s.io", &["RuntimeClass"]),
    (
        "rbac.authorization.k8s.io",
        &["ClusterRole", "ClusterRoleBinding"],
    ),
    ("scheduling.k8s.io", &["PriorityClass"]),
    (
        "storage.k8s.io",
        &["CSIDriver", "StorageClass", "VolumeAttachment"],
    ),
];

/// Groups of Kubernetes itself: what is not in the list above is namespaced.
const BUILT_IN: &[&str] = &[
    "",
    "apps",
    "autoscaling",
    "batch",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "policy",
];

/// Returns true for a kind that is known to be cluster-scoped.
pub(super) fn is_cluster_scoped(key: &Key) -> bool {
    let mut groups = CLUSTER_SCOPED.iter();
    let found = groups.find(|(group, _)| *group == key.group());
    found.is_some_and(|(_, kinds)| kinds.contains(&key.kind.as_str()))
}

/// Returns true for a kind whose scope is known without the cluster.
pub(super) fn is_known(key: &Key) -> bool {
    let group = key.group();
    BUILT_IN.contains(&group) || group == tidegate_api::names::GROUP || is_cluster_scoped(key)
}

/// Returns the group and the kind that a `CustomResourceDefinition` defines as cluster-scoped.
pub(super) fn defined_for_cluster(manifest: &Manifest) -> Option<(&str, &str)> {
    if !manifest
        .key
        .is("apiextensions.k8s.io", "CustomResourceDefinition")
    {
        return None;
    }
    let text = |pointer| manifest.object.pointer(pointer).and_then(Value::as_str);
    if text("/spec/scope") != Some("Cluster") {
        return None;
    }
    Some((text("/spec/group")?, text("/spec/names/kind")?))
}
