//! Cluster-scoped kinds. Those of custom resources are discovered at the cluster.

use super::Key;

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

/// Returns the reason to reject an object that is not namespaced.
pub(super) fn rejection(key: &Key, namespace: &str) -> Option<String> {
    let (_, kinds) = CLUSTER_SCOPED
        .iter()
        .find(|(group, _)| *group == key.group())?;
    if !kinds.contains(&key.kind.as_str()) {
        return None;
    }
    Some(format!(
        "{key} is cluster-scoped, but a ConfigRepo applies only into its own namespace, `{namespace}`: {}",
        instead(&key.kind)
    ))
}

fn instead(kind: &str) -> &'static str {
    match kind {
        "ClusterRole" => "write a Role",
        "ClusterRoleBinding" => "write a RoleBinding",
        "PersistentVolume" => "write a PersistentVolumeClaim",
        _ => "remove it and apply it by other means",
    }
}
