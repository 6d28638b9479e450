//! Order in which objects are applied, and from its end deleted.

use tidegate_api::names;

use super::manifest::Key;

/// Kinds in the order in which they are applied: what others need first, and a Rollout before the
/// workload that it governs. All other kinds come last.
const ORDER: &[&[(&str, &str)]] = &[
    &[
        ("", "Namespace"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ],
    &[
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "StorageClass"),
        ("", "ServiceAccount"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("", "ResourceQuota"),
        ("", "LimitRange"),
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "PersistentVolumeClaim"),
        ("networking.k8s.io", "NetworkPolicy"),
    ],
    &[("", "Service")],
    &[(names::GROUP, "Rollout")],
    &[
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("apps", "ReplicaSet"),
        ("batch", "Job"),
        ("batch", "CronJob"),
        ("", "Pod"),
    ],
];

/// Returns true for the ranks whose objects may need each other: Roles, say.
pub(super) fn is_one_by_one(rank: usize) -> bool {
    rank == 1
}

/// Place of an object among those that are applied.
pub(super) fn rank(key: &Key) -> usize {
    ORDER
        .iter()
        .position(|kinds| kinds.iter().any(|(group, kind)| key.is(group, kind)))
        .unwrap_or(ORDER.len())
}
