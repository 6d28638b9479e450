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
        let reference = newest.annotations().get(names::CONFIG_REPO_ANNOTATION)?;
        Some(NamespacedName::of_reference(reference, &rollout.namespace))
    });
    let is_home = |repo: &&NamespacedName| repo.namespace == rollout.namespace;
    // One that is gone, or cannot be read, may have applied it all the same.
    if let Some(repo) = brought_by.as_ref().filter(is_home)
        && !applies_no_more(caches, repo)
    {
        return Brake::Sync;
    }
    // One that was kept from the workload has no number that anybody has asked for.
    let was_held = newest.is_some_and(|newest| newest.revision > 0);
    let repos = caches.config_repos.list(&rollout.namespace);
    let readable = repos.iter().map(|guarded| guarded.0.as_ref().ok());
    let repos: Option<Vec<_>> = readable.collect();
    let mut known = repos.iter().flatten();
    let is_applied = known.any(|repo| applies(repo, &rollout.namespace, workload))
        || caches
            .config_repos_near(&rollout.namespace)
            .iter()
            .any(|near| {
                near.namespace != rollout.namespace
                    && brings(caches, near, &rollout.namespace, workload)
            });
    let are_known = repos.is_some_and(|repos| repos.into_iter().all(has_applied));
    if is_applied {
        return Brake::Sync;
    }
    // Of another namespace it is believed by its own status alone, which may be back soon.
    let is_missing = brought_by.is_some_and(|repo| {
        repo.namespace != rollout.namespace
            && caches.config_repo(&repo.namespace, &repo.name).is_none()
    });
    if is_missing {
        Brake::Unknown
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
fn applies_no_more(caches: &Caches, repo: &NamespacedName) -> bool {
    let guarded = caches.config_repos.get(&repo.namespace, &repo.name);
    let repo = guarded.as_ref().and_then(|guarded| guarded.0.as_ref().ok());
    repo.is_some_and(|repo| repo.spec.sync.is_none())
}

/// Returns true if a ConfigRepo applies a workload of a namespace, by its own status.
pub(super) fn brings(
    caches: &Caches,
    repo: &NamespacedName,
    namespace: &str,
    workload: &WorkloadRef,
) -> bool {
    let guarded = caches.config_repos.get(&repo.namespace, &repo.name);
    let repo = guarded.as_ref().and_then(|guarded| guarded.0.as_ref().ok());
    repo.is_some_and(|repo| applies(repo, namespace, workload))
}

fn applies(repo: &ConfigRepo, namespace: &str, workload: &WorkloadRef) -> bool {
    let Some(status) = repo.status.as_ref().filter(|_| repo.spec.sync.is_some()) else {
        return false;
    };
    let governed = status.governed.iter().map(|governed| &governed.object);
    let mut objects = status.inventory.iter().chain(governed);
    objects.any(|object| {
        object.namespace.as_deref() == Some(namespace)
            && workload.is(&object.api_version, &object.kind, &object.name)
    })
}

/// Returns true for a ConfigRepo that has applied a commit, and for one that never will.
fn has_applied(repo: &ConfigRepo) -> bool {
    let status = repo.status.as_ref();
    repo.spec.sync.is_none() || status.is_some_and(|status| status.applied.is_some())
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::{Value, json};
    use tidegate_api::workload::WorkloadKind;

    use super::*;
    use crate::{caches, kubernetes::testing::show};

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
        json!({ "inventory": [{ "apiVersion": "apps/v1", "kind": kind, "namespace": "store", "name": name }] })
    }

    #[test]
    fn a_repository_applies_what_is_in_its_inventory() {
        let workload = WorkloadRef::new(WorkloadKind::Deployment, "checkout");
        let is_applied_by =
            |status: &Value, namespace| applies(&repo(status), namespace, &workload);
        let checkout = applied("Deployment", "checkout");
        assert!(is_applied_by(&checkout, "store"));
        assert!(!is_applied_by(&checkout, "other"));
        assert!(!is_applied_by(&applied("Deployment", "cart"), "store"));
        assert!(!is_applied_by(&applied("StatefulSet", "checkout"), "store"));
        assert!(!is_applied_by(&json!({}), "store"));
    }

    #[test]
    fn one_without_sync_applies_nothing_whatever_it_has_applied_before() {
        let workload = WorkloadRef::new(WorkloadKind::Deployment, "checkout");
        assert!(!applies(&read_only(), "store", &workload));
        assert!(has_applied(&read_only()), "nobody has to wait for it");
    }

    /// Brake of a workload whose newest revision names a ConfigRepo, where there are these ConfigRepos.
    async fn brake_of(brought_by: &str, repos: Vec<ConfigRepo>) -> Brake {
        let (caches, writers) = caches::caches();
        let repos = repos.into_iter().map(|repo| DeserializeGuard(Ok(repo)));
        show(writers.config_repos, repos.collect()).await;
        let newest = json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1, "data": { "template": {} },
            "metadata": {
                "name": "checkout-1", "namespace": "store",
                "annotations": { names::CONFIG_REPO_ANNOTATION: brought_by },
            },
        });
        let newest: ControllerRevision = serde_json::from_value(newest).expect("a revision");
        let workload = WorkloadRef::new(WorkloadKind::Deployment, "checkout");
        let rollout = NamespacedName::new("store", "checkout");
        of(&caches, &rollout, &workload, Some(&newest))
    }

    fn at(mut repo: ConfigRepo, namespace: &str) -> ConfigRepo {
        repo.metadata.namespace = Some(namespace.to_owned());
        let status = repo.status.get_or_insert_default();
        let inventory = std::mem::take(&mut status.inventory);
        status.set_inventory(inventory, namespace);
        repo
    }

    #[tokio::test]
    async fn a_repository_elsewhere_is_believed_by_its_own_status_alone() {
        let applies = || at(repo(&applied("Deployment", "checkout")), "platform");
        let brings_another = || at(repo(&applied("Deployment", "cart")), "platform");
        let brake = brake_of("platform/shop", vec![applies()]).await;
        assert_eq!(brake, Brake::Sync);
        // Whoever may write a revision here names any repository.
        let brake = brake_of("platform/shop", vec![brings_another()]).await;
        assert_eq!(brake, Brake::Pause);
        let brake = brake_of("platform/shop", Vec::new()).await;
        assert_eq!(brake, Brake::Unknown, "it may be back");
        let brake = brake_of("shop", Vec::new()).await;
        assert_eq!(brake, Brake::Sync, "it may have applied it all the same");
    }

    #[test]
    fn one_that_has_applied_nothing_yet_may_be_about_to() {
        assert!(!has_applied(&repo(&json!({}))));
        let commit = json!({ "applied": { "commit": "a1", "author": "Ada <ada@example.com>", "at": "2026-01-01T00:00:00Z" } });
        assert!(has_applied(&repo(&commit)));
    }
}
