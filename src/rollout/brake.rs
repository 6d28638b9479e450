//! Who applies the workload of a Rollout: that is what keeps a new template from rolling out by itself.

use kube::ResourceExt as _;
use tidegate_api::{ConfigRepo, NamespacedName, names, workload::WorkloadRef};
use tidegate_engine::observed::Brake;

use crate::{caches::Caches, kubernetes::watched::ControllerRevision};

/// Returns the brake of a workload, with the newest revision of its Rollout. It is not known before every
/// ConfigRepo of the namespace that applies has applied a commit: the workload may be one of its objects. One that is
/// held already stays so until one of them applies it.
pub(crate) fn of(
    caches: &Caches,
    rollout: &NamespacedName,
    workload: &WorkloadRef,
    newest: Option<&ControllerRevision>,
) -> Brake {
    let brought_by = newest.and_then(|newest| {
        let annotations = newest.annotations();
        annotations.get(names::CONFIG_REPO_ANNOTATION)
    });
    // One that is gone, or cannot be read, may have applied it all the same.
    if brought_by.is_some_and(|repo| !applies_no_more(caches, &rollout.namespace, repo)) {
        return Brake::Sync;
    }
    // One that was kept from the workload has no number that anybody has asked for.
    let was_held = newest.is_some_and(|newest| newest.revision > 0);
    let repos = caches.config_repos.list(&rollout.namespace);
    let readable = repos.iter().map(|guarded| guarded.0.as_ref().ok());
    let repos: Option<Vec<_>> = readable.collect();
    let mut known = repos.iter().flatten();
    let is_applied = known.any(|repo| applies(repo, workload));
    let are_known = repos.is_some_and(|repos| repos.into_iter().all(has_applied));
    if is_applied {
        Brake::Sync
    } else if are_known || was_held || is_held(caches, rollout, workload) {
        Brake::Pause
    } else {
        Brake::Unknown
    }
}

fn is_held(caches: &Caches, rollout: &NamespacedName, workload: &WorkloadRef) -> bool {
    let metadata = caches.workloads.metadata(&rollout.namespace, workload);
    let annotations = metadata.and_then(|metadata| metadata.annotations);
    annotations.is_some_and(|annotations| annotations.contains_key(names::HELD_ANNOTATION))
}

/// Returns true if a ConfigRepo has brought the workload, and applies nothing any more: another tool does.
fn applies_no_more(caches: &Caches, namespace: &str, repo: &str) -> bool {
    let guarded = caches.config_repos.get(namespace, repo);
    let repo = guarded.as_ref().and_then(|guarded| guarded.0.as_ref().ok());
    repo.is_some_and(|repo| repo.spec.sync.is_none())
}

fn applies(repo: &ConfigRepo, workload: &WorkloadRef) -> bool {
    let Some(status) = repo.status.as_ref().filter(|_| repo.spec.sync.is_some()) else {
        return false;
    };
    let governed = status.governed.iter().map(|governed| &governed.object);
    let mut objects = status.inventory.iter().chain(governed);
    objects.any(|object| workload.is(&object.api_version, &object.kind, &object.name))
}

/// Returns true for a ConfigRepo that has applied a commit, and for one that never will.
fn has_applied(repo: &ConfigRepo) -> bool {
    let status = repo.status.as_ref();
    repo.spec.sync.is_none() || status.is_some_and(|status| status.applied.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_api::workload::WorkloadKind;

    use super::*;

    fn read_only() -> ConfigRepo {
        let mut repo = repo(&applied("Deployment", "checkout"));
        repo.spec.sync = None;
        repo
    }

    fn repo(status: &Value) -> ConfigRepo {
        serde_json::from_value(json!({
            "apiVersion": "tidegate.io/v1alpha1", "kind": "ConfigRepo", "metadata": { "name": "shop" },
            "spec": {
                "url": "https://git.example.com/shop.git", "ref": { "branch": "main" },
                "sync": { "serviceAccountName": "deployer" },
            },
            "status": status,
        }))
        .expect("a ConfigRepo")
    }

    fn applied(kind: &str, name: &str) -> Value {
        json!({ "inventory": [{ "apiVersion": "apps/v1", "kind": kind, "name": name }] })
    }

    #[test]
    fn a_repository_applies_what_is_in_its_inventory() {
        let workload = WorkloadRef::new(WorkloadKind::Deployment, "checkout");
        assert!(applies(
            &repo(&applied("Deployment", "checkout")),
            &workload
        ));
        assert!(!applies(&repo(&applied("Deployment", "cart")), &workload));
        assert!(!applies(
            &repo(&applied("StatefulSet", "checkout")),
            &workload
        ));
        assert!(!applies(&repo(&json!({})), &workload));
    }

    #[test]
    fn one_without_sync_applies_nothing_whatever_it_has_applied_before() {
        let workload = WorkloadRef::new(WorkloadKind::Deployment, "checkout");
        assert!(!applies(&read_only(), &workload));
        assert!(has_applied(&read_only()), "nobody has to wait for it");
    }

    #[test]
    fn one_that_has_applied_nothing_yet_may_be_about_to() {
        assert!(!has_applied(&repo(&json!({}))));
        let commit = json!({ "applied": { "commit": "a1", "author": "Ada <ada@example.com>", "at": "2026-01-01T00:00:00Z" } });
        assert!(has_applied(&repo(&commit)));
    }
}
