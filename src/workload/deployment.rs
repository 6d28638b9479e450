//! Deployments: a version is a ReplicaSet, and a paused Deployment replaces no pod.

mod canary;
mod hold;
mod restart;
mod watched;

use std::collections::{BTreeMap, BTreeSet};

use futures::{FutureExt as _, Stream, future::join, stream::select};
use json_patch::Patch as JsonPatch;
use k8s_openapi::{api::apps::v1 as apps, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use tidegate_api::{
    Revision,
    config::ConfigRef,
    names,
    workload::{VersionId, WorkloadKind, WorkloadRef},
};
use tidegate_engine::observed::{Comparison, OtherWorkload, Version, Workload, WorkloadObstacle};

pub(super) use self::{hold::read_hold, restart::restart};
use self::{
    hold::{held, hold_obstacle},
    watched::{Deployment, ReplicaSet},
};
use super::{Compared, Target, WorkloadError};
use crate::{
    clock,
    kubernetes::{
        applier::appliers,
        cache::{Cache, CacheWriter},
        managed_fields::{last_manager, manager_by_subresource, patch_as_sync},
        patch::{path, replace},
        pod_template::{PodTemplate, doubled, drop_null_timestamp},
        watch::{self, WatchScope},
        watched::epoch,
    },
};

/// Deployments and their ReplicaSets.
pub(super) struct Deployments {
    deployments: Cache<Deployment>,
    replica_sets: Cache<ReplicaSet>,
}

/// Writing ends of both caches.
pub(crate) struct DeploymentWriters {
    pub(crate) deployments: CacheWriter<Deployment>,
    pub(crate) replica_sets: CacheWriter<ReplicaSet>,
}

/// Label whose value names a Deployment's ReplicaSet.
const VERSION_LABEL: &str = WorkloadKind::Deployment.version_label();

/// Longest name with which the names of a Deployment's pods are not cut: 58 of their characters are
/// the ReplicaSet's, and of these 11 the hash and its dash.
const MAX_NAME: usize = 47;

// === impl Deployments ===

impl Deployments {
    pub(super) fn new() -> (Self, DeploymentWriters) {
        let (deployments, deployment_writer) = Cache::new();
        let (replica_sets, replica_set_writer) = Cache::new();
        (
            Self {
                deployments,
                replica_sets,
            },
            DeploymentWriters {
                deployments: deployment_writer,
                replica_sets: replica_set_writer,
            },
        )
    }

    pub(super) fn is_filled(&self) -> bool {
        self.deployments.is_filled() && self.replica_sets.is_filled()
    }

    pub(super) fn filled(&self) -> impl Future<Output = ()> + Send + use<> {
        join(self.deployments.filled(), self.replica_sets.filled()).map(|((), ())| ())
    }

    pub(super) fn relists(&self) -> impl Stream<Item = ()> + Send + use<> {
        select(self.deployments.relists(), self.replica_sets.relists())
    }

    pub(super) fn observe(&self, namespace: &str, name: &str) -> Option<Workload> {
        let deployment = self.deployments.get(namespace, name)?;
        let Deployment {
            metadata,
            spec,
            status,
        } = &*deployment;
        let mut parallel_blockers = spec.template.parallel_blockers.clone();
        if spec.strategy.type_.as_deref() == Some("Recreate") {
            parallel_blockers.insert(0, "the strategy Recreate".to_owned());
        }
        let fields = metadata.managed_fields.as_deref().unwrap_or_default();
        Some(Workload {
            generation: metadata.generation.unwrap_or_default(),
            observed_generation: status.observed_generation,
            replicas: spec.replicas.unwrap_or(1),
            autoscaled: false,
            scaled_by: manager_by_subresource(fields, "scale", &["spec", "replicas"])
                .map(str::to_owned),
            updated: status.updated_replicas,
            total: status.replicas,
            available: status.available_replicas,
            paused: spec.paused,
            held: held(&deployment),
            appliers: appliers(&*deployment),
            deleting: metadata.deletion_timestamp.is_some(),
            epoch: epoch(&*deployment),
            template: spec.template.digest,
            content: spec.template.content,
            restarted_at: spec.template.restarted_at.clone(),
            config: spec.template.released_config.clone(),
            pod_labels: spec.template.labels.clone(),
            parallel_blockers,
            obstacle: name_obstacle(name),
            hold_obstacle: hold_obstacle(&deployment),
            versions: self.versions(namespace, name),
            template_manager: last_manager(fields, &["spec", "template"]),
            revision: deployment
                .annotations()
                .get(names::REVISION_ANNOTATION)
                .map(Revision::named),
            problem: status.replica_failure(),
            progressed_at: None,
        })
    }

    fn versions(&self, namespace: &str, name: &str) -> Vec<Version> {
        let mut versions = Vec::new();
        for set in self.replica_sets.list(namespace) {
            let is_of_deployment = set.deployment() == Some(name);
            if !is_of_deployment || set.metadata.deletion_timestamp.is_some() {
                continue;
            }
            if let Some(version) = set.labels().get(VERSION_LABEL) {
                versions.push(Version {
                    id: VersionId::new(version),
                    template: set.spec.template.digest,
                    content: set.spec.template.content,
                    pod_labels: without_version(&set.spec.template.labels),
                    replicas: set.status.replicas,
                    ready: set.status.ready_replicas,
                });
            }
        }
        versions
    }

    pub(super) fn template(&self, namespace: &str, name: &str) -> Option<PodTemplate> {
        let deployment = self.deployments.get(namespace, name)?;
        Some(deployment.spec.template.clone())
    }

    pub(super) fn config_of(
        &self,
        namespace: &str,
        name: &str,
        version: &VersionId,
    ) -> Option<BTreeSet<ConfigRef>> {
        let set = self
            .replica_sets
            .get(namespace, &replica_set_name(name, version))?;
        Some(set.spec.template.config.clone())
    }

    pub(super) fn name_config(&self, namespace: &str, config: &ConfigRef) -> bool {
        let deployments = self.deployments.list(namespace);
        let mut templates = deployments.iter().map(|one| &one.spec.template);
        let sets = self.replica_sets.list(namespace);
        let mut with_pods = sets.iter().filter(|set| set.status.replicas > 0);
        templates.any(|template| template.config.contains(config))
            || with_pods.any(|set| set.spec.template.config.contains(config))
    }

    pub(super) fn labels(&self, namespace: &str, name: &str) -> Option<BTreeMap<String, String>> {
        let deployment = self.deployments.get(namespace, name)?;
        Some(deployment.labels().clone())
    }

    pub(super) fn metadata(&self, namespace: &str, name: &str) -> Option<ObjectMeta> {
        Some(self.deployments.get(namespace, name)?.metadata.clone())
    }

    pub(super) fn list(&self, namespace: &str) -> Vec<OtherWorkload> {
        self.deployments
            .list(namespace)
            .iter()
            .map(|deployment| OtherWorkload {
                workload: reference(deployment.name_any()),
                pod_labels: deployment.spec.template.labels.clone(),
            })
            .collect()
    }

    #[cfg(test)]
    pub(super) fn keep(&self, object: Value) {
        let deployment = serde_json::from_value(object).expect("a Deployment");
        self.deployments.keep_answer(deployment);
    }

    /// Scales a ReplicaSet to none. The Deployment's controller does not scale it up again, as long as
    /// the Deployment has another template.
    pub(super) async fn scale_down(
        &self,
        target: Target<'_>,
        version: &VersionId,
    ) -> Result<(), WorkloadError> {
        let name = replica_set_name(&target.workload.name, version);
        let Some(set) = self.replica_sets.get(target.namespace, &name) else {
            return Ok(());
        };
        let patched = target
            .writer()
            .patch(
                &self.replica_sets,
                &*set,
                json!({ "spec": { "replicas": 0 } }),
            )
            .await;
        patched.map_err(WorkloadError::request(format!(
            "scale down the ReplicaSet {name}"
        )))
    }

    pub(super) async fn write_template(
        &self,
        target: Target<'_>,
        template: Value,
    ) -> Result<(), WorkloadError> {
        let deployment = self.existing(target)?;
        let patched =
            replace_template(target, deployment.resource_version(), template, false).await;
        let what = format!("write the template of {}", target.workload);
        self.deployments
            .keep_answer(patched.map_err(WorkloadError::request(what))?);
        Ok(())
    }

    pub(super) async fn compare_template(
        &self,
        target: Target<'_>,
        template: Value,
    ) -> Result<Compared, WorkloadError> {
        let deployment = self.existing(target)?;
        let PodTemplate {
            digest: with,
            content,
            ..
        } = deployment.spec.template;
        let doubled = doubled(&template);
        let answer = match replace_template(target, deployment.resource_version(), template, true)
            .await
        {
            // A template without the mark of a restart asks for none and against none.
            Ok(after) if [with, content].contains(&after.spec.template.digest) => Comparison::Same,
            // The canary is made by a server-side apply, which does not take it.
            Ok(_) => match doubled {
                Some(doubled) => Comparison::Refused {
                    why: format!("{doubled} is there twice; keep one of the two"),
                    at: clock::now(),
                },
                None => Comparison::Different,
            },
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
                Comparison::Refused {
                    why: status.message.clone(),
                    at: clock::now(),
                }
            }
            Err(source) => {
                let what = format!("compare a template with {}", target.workload);
                return Err(WorkloadError::Request { what, source });
            }
        };
        Ok(Compared { with, answer })
    }

    fn existing(&self, target: Target<'_>) -> Result<std::sync::Arc<Deployment>, WorkloadError> {
        self.deployments
            .get(target.namespace, &target.workload.name)
            .ok_or_else(|| WorkloadError::Missing(target.workload.clone()))
    }
}

// === impl DeploymentWriters ===

impl DeploymentWriters {
    pub(super) fn watch(
        self,
        scope: &WatchScope,
        on_change: impl Fn(&str, &WorkloadRef) + Clone + Send + 'static,
    ) {
        let on_deployment = on_change.clone();
        watch::spawn(scope, self.deployments, move |deployment: &Deployment| {
            let namespace = deployment.namespace().unwrap_or_default();
            on_deployment(&namespace, &reference(deployment.name_any()));
        });
        watch::spawn(scope, self.replica_sets, move |set: &ReplicaSet| {
            if let Some(name) = set.deployment() {
                let namespace = set.namespace().unwrap_or_default();
                on_change(&namespace, &reference(name));
            }
        });
    }
}

fn without_version(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels = labels.clone();
    labels.remove(VERSION_LABEL);
    labels
}

/// Reads the template from the API server.
pub(super) async fn live_template(target: Target<'_>) -> Result<Value, WorkloadError> {
    let resource = ApiResource::erase::<apps::Deployment>(&());
    let read = template_of(target, &resource, &target.workload.name).await;
    read.map_err(WorkloadError::request(format!("read {}", target.workload)))
}

/// Reads the template of a ReplicaSet from the API server, without the label that names the ReplicaSet.
pub(super) async fn version_template(
    target: Target<'_>,
    version: &VersionId,
) -> Result<Value, WorkloadError> {
    let resource = ApiResource::erase::<apps::ReplicaSet>(&());
    let name = replica_set_name(&target.workload.name, version);
    let read = template_of(target, &resource, &name).await;
    let mut template = read.map_err(WorkloadError::request(format!(
        "read the ReplicaSet {name}"
    )))?;
    let labels = template.pointer_mut("/metadata/labels");
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        labels.remove(VERSION_LABEL);
    }
    Ok(template)
}

async fn template_of(
    target: Target<'_>,
    resource: &ApiResource,
    name: &str,
) -> Result<Value, kube::Error> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(target.client.clone(), target.namespace, resource);
    let live = api.get(name).await?;
    let mut template = live
        .data
        .pointer("/spec/template")
        .cloned()
        .unwrap_or_default();
    drop_null_timestamp(&mut template);
    Ok(template)
}

/// Version of a Deployment that runs in the pod of this name.
pub(super) fn version_of(deployment: &str, pod: &str) -> Option<VersionId> {
    let version = replica_set_of(pod)
        .strip_prefix(deployment)?
        .strip_prefix('-')?;
    if version.is_empty() || version.contains('-') {
        return None;
    }
    Some(VersionId::new(version))
}

/// Deployment that a pod of this name would be of.
pub(super) fn owner_of(pod: &str) -> Option<WorkloadRef> {
    let (deployment, _) = replica_set_of(pod).rsplit_once('-')?;
    Some(reference(deployment))
}

/// Name of the ReplicaSet of a version of a Deployment.
pub(super) fn replica_set_name(deployment: &str, version: &VersionId) -> String {
    format!("{deployment}-{version}")
}

/// Removes the pause from a Deployment that is to be applied.
pub(super) fn drop_pause(object: &mut Value) {
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.remove("paused");
    }
}

/// Returns an obstacle if the names of a Deployment's pods are cut.
fn name_obstacle(name: &str) -> Option<WorkloadObstacle> {
    if name.len() <= MAX_NAME {
        return None;
    }
    Some(WorkloadObstacle::NameTooLong { max: MAX_NAME })
}

/// Name of a pod's ReplicaSet: Kubernetes appends a dash and five characters to it, and leaves the
/// dash out where the name is as long as it may be.
fn replica_set_of(pod: &str) -> &str {
    let set = match pod.len().checked_sub(5) {
        Some(end) => pod.get(..end).unwrap_or(pod),
        None => pod,
    };
    set.strip_suffix('-').unwrap_or(set)
}

fn reference(name: impl Into<String>) -> WorkloadRef {
    WorkloadRef::new(WorkloadKind::Deployment, name)
}

/// Asks what the API server would make of a template.
pub(super) async fn as_admitted(
    target: Target<'_>,
    template: Value,
) -> Result<Option<Revision>, WorkloadError> {
    match replace_template(target, None, template, true).await {
        Ok(after) => Ok(Some(Revision::named(
            after.spec.template.digest.to_string(),
        ))),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 422) => Ok(None),
        Err(source) => {
            let what = format!("dry-run a template of {}", target.workload);
            Err(WorkloadError::Request { what, source })
        }
    }
}

/// Replaces the template, where one is given only over that resourceVersion: it is replaced, too, and not tested. A test
/// that fails is a 422, like a template that is refused, and a resourceVersion that is not the current one a 409.
async fn replace_template(
    target: Target<'_>,
    version: Option<String>,
    template: Value,
    dry_run: bool,
) -> Result<Deployment, kube::Error> {
    let version =
        version.map(|version| replace(path(&["metadata", "resourceVersion"]), json!(version)));
    let template = replace(path(&["spec", "template"]), template);
    let patch = JsonPatch(version.into_iter().chain([template]).collect());
    let params = PatchParams {
        dry_run,
        ..patch_as_sync()
    };
    let api: Api<Deployment> = Api::namespaced(target.client.clone(), target.namespace);
    api.patch(&target.workload.name, &params, &Patch::<()>::Json(patch))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replica_set_of_a_pod_is_told_whether_the_dash_was_cut_or_not() {
        assert_eq!(replica_set_of("web-6b7f9c5d4-x2x2x"), "web-6b7f9c5d4");
        let longest = format!("{}-6b7f9c5d4f", "w".repeat(47));
        assert_eq!(
            replica_set_of(&format!("{longest}x2x2x")),
            longest,
            "58 characters, and no dash"
        );
        assert_eq!(replica_set_of("x2x"), "x2x");
    }

    #[test]
    fn a_name_with_which_pods_have_theirs_cut_is_an_obstacle() {
        assert_eq!(name_obstacle(&"w".repeat(47)), None);
        let obstacle = WorkloadObstacle::NameTooLong { max: 47 };
        assert_eq!(name_obstacle(&"w".repeat(48)), Some(obstacle));
    }

    #[test]
    fn a_pod_of_another_workload_has_no_version_of_this_one() {
        let version = version_of("web", "web-6b7f9c5d4-x2x2x");
        assert_eq!(version, Some(VersionId::new("6b7f9c5d4")));
        for pod in ["web-0", "web-canary-6b7f9c5d4-x2x2x", "10.0.0.7"] {
            assert_eq!(version_of("web", pod), None, "{pod}");
        }
    }
}
