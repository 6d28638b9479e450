//! Workloads: one file per kind.
//!
//! A kind owns the caches and the watches of its objects and all that is written to them. Nothing
//! else in the program knows which kind a workload is of; the reference that the plan keeps picks
//! the arm.
//!
//! | asked of a workload | by |
//! |---|---|
//! | its state, for the engine | [`Workloads::observe`] |
//! | the version that a pod runs | [`version_of`] |
//! | to replace no pods for now | [`Workloads::pause`] |
//! | another template, for good or to compare | [`Workloads::write_template`], [`Workloads::compare_template`], [`Workloads::as_admitted`] |
//! | a canary beside it | [`Workloads::dry_run_canary`], [`Workloads::apply_canary`], [`Workloads::delete_canary`] |
//! | a pod of a failed canary to be looked at | [`Workloads::retain_pod`], [`Workloads::delete_retained_pod`] |
//! | to leave its pause to the Rollout that governs it | [`drop_pause`] |

mod deployment;
mod pods;

use std::collections::{BTreeMap, BTreeSet};

use futures::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, join},
    stream::{BoxStream, select},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Client;
use serde_json::Value;
use tidegate_api::{
    Revision,
    config::ConfigRef,
    rollout::CanaryMetadata,
    workload::{VersionId, WorkloadKind, WorkloadRef},
};
use tidegate_engine::{
    decision::Hold,
    observed::{Comparison, Held, OtherWorkload, RetainedPod, Workload},
    revision::Digest,
};

use self::{
    deployment::{DeploymentWriters, Deployments},
    pods::{CanaryPods, Pod},
};
use crate::kubernetes::{
    cache::CacheWriter,
    pod_template::PodTemplate,
    watch::WatchScope,
    writer::{Denied, Writer},
};

/// Caches of every kind of workload. What goes through all of them takes this struct apart, so that
/// the compiler asks there for a kind that is added.
pub(crate) struct Workloads {
    deployments: Deployments,
    canary_pods: CanaryPods,
}

/// Writing ends of these caches.
pub(crate) struct WorkloadWriters {
    pub(crate) deployments: DeploymentWriters,
    pub(crate) canary_pods: CacheWriter<Pod>,
}

/// Workload in its namespace, with the client that writes it.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) client: &'a Client,
    pub(crate) namespace: &'a str,
    pub(crate) workload: &'a WorkloadRef,
}

/// Answer of a workload to a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// It replaces its pods.
    Rolls,
    /// It is paused by its Rollout, between attempts, too, and replaces nothing.
    Held,
    /// Somebody else has paused it.
    Paused,
}

/// Canary beside a workload.
pub(crate) struct Canary<'a> {
    /// Name of the canary.
    pub(crate) name: &'a str,
    /// Name of the Rollout that owns it.
    pub(crate) rollout: &'a str,
    /// Revision that it runs.
    pub(crate) revision: &'a Revision,
    /// Metadata that it bears beside what it takes over from the workload.
    pub(crate) metadata: &'a CanaryMetadata,
    /// Template of that revision.
    pub(crate) template: Value,
    /// Number of its replicas.
    pub(crate) replicas: u32,
}

/// Result of a dry run of a template.
pub(crate) struct Compared {
    /// Digest of the template with which it was compared.
    pub(crate) with: Digest,
    /// Answer of the API server.
    pub(crate) answer: Comparison,
}

/// Failure to read or write a workload.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkloadError {
    /// The workload does not exist.
    #[error("{0} does not exist")]
    Missing(WorkloadRef),
    /// The API server refused a request, or did not answer.
    #[error("cannot {what}: {source}")]
    Request {
        /// Operation that failed.
        what: String,
        /// Answer of the API server.
        source: kube::Error,
    },
}

// === impl Workloads ===

impl Workloads {
    /// Makes empty caches and their writing ends.
    pub(crate) fn new() -> (Self, WorkloadWriters) {
        let (deployments, deployment_writers) = Deployments::new();
        let (canary_pods, pod_writer) = CanaryPods::new();
        (
            Self {
                deployments,
                canary_pods,
            },
            WorkloadWriters {
                deployments: deployment_writers,
                canary_pods: pod_writer,
            },
        )
    }

    /// Returns `true` if every watch has listed what there is.
    pub(crate) fn is_filled(&self) -> bool {
        let Self {
            deployments,
            canary_pods,
        } = self;
        deployments.is_filled() && canary_pods.is_filled()
    }

    /// Waits until every watch has listed what there is.
    pub(crate) fn filled(&self) -> BoxFuture<'static, ()> {
        let Self {
            deployments,
            canary_pods,
        } = self;
        join(deployments.filled(), canary_pods.filled())
            .map(|((), ())| ())
            .boxed()
    }

    /// Yields each time that a watch has listed what there is.
    pub(crate) fn relists(&self) -> BoxStream<'static, ()> {
        let Self {
            deployments,
            canary_pods,
        } = self;
        select(deployments.relists(), canary_pods.relists()).boxed()
    }

    /// State of a workload; `None` where it does not exist. Of a canary the pods tell what is wrong
    /// with them.
    pub(crate) fn observe(&self, namespace: &str, workload: &WorkloadRef) -> Option<Workload> {
        let mut seen = match workload.kind {
            WorkloadKind::Deployment => self.deployments.observe(namespace, &workload.name),
        }?;
        let pods = self.canary_pods.problem(namespace, workload);
        seen.problem = seen
            .problem
            .into_iter()
            .chain(pods)
            .min_by_key(|problem| problem.fault);
        Some(seen)
    }

    /// Number of a canary's pods that are not terminating.
    pub(crate) fn canary_pods(&self, namespace: &str, canary: &WorkloadRef) -> u32 {
        self.canary_pods.count(namespace, canary)
    }

    /// Pods of a Rollout's earlier canaries that are retained for inspection.
    pub(crate) fn retained_pods(&self, namespace: &str, rollout: &str) -> Vec<RetainedPod> {
        self.canary_pods.retained(namespace, rollout)
    }

    /// Takes a pod of a canary out of everything that selects it, and makes the Rollout its owner.
    pub(crate) async fn retain_pod(
        &self,
        canary: Target<'_>,
        owner: OwnerReference,
        until: Timestamp,
    ) -> Result<(), WorkloadError> {
        self.canary_pods.retain(canary, owner, until).await
    }

    /// Deletes a pod that was retained.
    pub(crate) async fn delete_retained_pod(
        &self,
        writer: Writer<'_>,
        name: &str,
    ) -> Result<(), WorkloadError> {
        self.canary_pods.delete_retained(writer, name).await
    }

    /// Pod template of a workload; `None` where the workload does not exist.
    pub(crate) fn template(&self, namespace: &str, workload: &WorkloadRef) -> Option<PodTemplate> {
        match workload.kind {
            WorkloadKind::Deployment => self.deployments.template(namespace, &workload.name),
        }
    }

    /// Labels of a workload, not of its pods; `None` where the workload does not exist.
    pub(crate) fn labels(
        &self,
        namespace: &str,
        workload: &WorkloadRef,
    ) -> Option<BTreeMap<String, String>> {
        match workload.kind {
            WorkloadKind::Deployment => self.deployments.labels(namespace, &workload.name),
        }
    }

    /// Metadata of a workload; `None` where it does not exist.
    pub(crate) fn metadata(&self, namespace: &str, workload: &WorkloadRef) -> Option<ObjectMeta> {
        match workload.kind {
            WorkloadKind::Deployment => self.deployments.metadata(namespace, &workload.name),
        }
    }

    /// Every workload of a namespace.
    pub(crate) fn list(&self, namespace: &str) -> Vec<OtherWorkload> {
        let Self {
            deployments,
            canary_pods: _,
        } = self;
        deployments.list(namespace)
    }

    /// Returns the config that the template of a version names, if the version is there.
    pub(crate) fn config_of(
        &self,
        namespace: &str,
        workload: &WorkloadRef,
        version: &VersionId,
    ) -> Option<BTreeSet<ConfigRef>> {
        match workload.kind {
            WorkloadKind::Deployment => {
                self.deployments
                    .config_of(namespace, &workload.name, version)
            }
        }
    }

    /// Returns true if the template of a workload of the namespace, or of a version that has pods, names this config.
    pub(crate) fn name_config(&self, namespace: &str, config: &ConfigRef) -> bool {
        self.deployments.name_config(namespace, config)
    }

    /// Has the cache see a Deployment as the API server has it.
    #[cfg(test)]
    pub(crate) fn keep_deployment(&self, object: serde_json::Value) {
        self.deployments.keep(object);
    }

    /// Returns true if no attempt governs a workload, and Tidegate still owns a field of it that is not held.
    pub(crate) fn is_owned(&self, namespace: &str, workload: &WorkloadRef) -> bool {
        match workload.kind {
            WorkloadKind::Deployment => self.deployments.is_owned(namespace, &workload.name),
        }
    }

    /// Gives up the fields of a workload that Tidegate wrote and does not hold.
    pub(crate) async fn disown(&self, target: Target<'_>) -> Result<(), WorkloadError> {
        match target.workload.kind {
            WorkloadKind::Deployment => self.deployments.disown(target).await,
        }
    }

    /// Pauses a workload, so that a new template replaces no pod, or unpauses it.
    pub(crate) async fn pause(
        &self,
        target: Target<'_>,
        paused: bool,
        hold: Hold,
        epoch: Option<u64>,
    ) -> Result<(), WorkloadError> {
        match target.workload.kind {
            WorkloadKind::Deployment => self.deployments.pause(target, paused, hold, epoch).await,
        }
    }

    /// Notes the template of a workload that is held as known.
    pub(crate) async fn note(
        &self,
        target: Target<'_>,
        template: &Revision,
    ) -> Result<(), WorkloadError> {
        match target.workload.kind {
            WorkloadKind::Deployment => self.deployments.note(target, template).await,
        }
    }

    /// Replaces the template of a workload, whole: a server-side apply would keep fields of earlier
    /// managers, so that what went live would not be what was verified.
    pub(crate) async fn write_template(
        &self,
        target: Target<'_>,
        template: Value,
    ) -> Result<(), WorkloadError> {
        match target.workload.kind {
            WorkloadKind::Deployment => self.deployments.write_template(target, template).await,
        }
    }

    /// Asks by a dry run if a template differs from that of a workload.
    pub(crate) async fn compare_template(
        &self,
        target: Target<'_>,
        template: Value,
    ) -> Result<Compared, WorkloadError> {
        match target.workload.kind {
            WorkloadKind::Deployment => self.deployments.compare_template(target, template).await,
        }
    }

    /// Asks by a dry run what the API server would make of a template of a workload; `None` where it denies it, or the
    /// workload is not there.
    pub(crate) async fn as_admitted(
        &self,
        target: Target<'_>,
        template: Value,
    ) -> Result<Option<Revision>, WorkloadError> {
        match target.workload.kind {
            WorkloadKind::Deployment => deployment::as_admitted(target, template).await,
        }
    }

    /// Reads the template of a workload from the API server, as JSON: what its version has and our
    /// types do not must not be lost.
    pub(crate) async fn live_template(&self, target: Target<'_>) -> Result<Value, WorkloadError> {
        match target.workload.kind {
            WorkloadKind::Deployment => deployment::live_template(target).await,
        }
    }

    /// Reads the template of a version of a workload from the API server, as the workload itself would
    /// have it.
    pub(crate) async fn version_template(
        &self,
        target: Target<'_>,
        version: &VersionId,
    ) -> Result<Value, WorkloadError> {
        match target.workload.kind {
            WorkloadKind::Deployment => deployment::version_template(target, version).await,
        }
    }

    /// Scales the pods of a version of a workload to none.
    pub(crate) async fn scale_down_version(
        &self,
        target: Target<'_>,
        version: &VersionId,
    ) -> Result<(), WorkloadError> {
        match target.workload.kind {
            WorkloadKind::Deployment => self.deployments.scale_down(target, version).await,
        }
    }

    /// Takes pods away from the canary of this Rollout.
    pub(crate) async fn scale_down_canary(
        &self,
        canary: Target<'_>,
        rollout: &str,
        replicas: u32,
    ) -> Result<(), WorkloadError> {
        match canary.workload.kind {
            WorkloadKind::Deployment => {
                let deployments = &self.deployments;
                deployments
                    .scale_down_canary(canary, rollout, replicas)
                    .await
            }
        }
    }

    /// Creates the canary of a workload, or makes it what it should be.
    pub(crate) async fn apply_canary(
        &self,
        target: Target<'_>,
        canary: Canary<'_>,
    ) -> Result<(), WorkloadError> {
        match target.workload.kind {
            WorkloadKind::Deployment => self.deployments.apply_canary(target, canary).await,
        }
    }

    /// Asks by dry runs if the API server would admit the canary of a workload, and one of its pods.
    pub(crate) async fn dry_run_canary(
        &self,
        target: Target<'_>,
        canary: Canary<'_>,
    ) -> Result<Option<Denied>, WorkloadError> {
        match target.workload.kind {
            WorkloadKind::Deployment => self.deployments.dry_run_canary(target, canary).await,
        }
    }

    /// Deletes a canary, if this Rollout owns it. It stays until its last pod is gone.
    pub(crate) async fn delete_canary(
        &self,
        canary: Target<'_>,
        rollout: &str,
    ) -> Result<(), WorkloadError> {
        match canary.workload.kind {
            WorkloadKind::Deployment => self.deployments.delete_canary(canary, rollout).await,
        }
    }
}

// === impl Target ===

impl<'a> Target<'a> {
    /// Writes in the name that the client has.
    fn writer(self) -> Writer<'a> {
        Writer {
            client: self.client,
            namespace: self.namespace,
        }
    }
}

// === impl WorkloadWriters ===

impl WorkloadWriters {
    /// Starts the watches. Each change is reported with the namespace and the workload that it is of.
    pub(crate) fn watch(
        self,
        scope: &WatchScope,
        on_change: impl Fn(&str, &WorkloadRef) + Clone + Send + 'static,
    ) {
        let Self {
            deployments,
            canary_pods,
        } = self;
        let on_pod = on_change.clone();
        pods::watch(scope, canary_pods, move |namespace, pod| {
            if let Some(workload) = deployment::owner_of(pod) {
                on_pod(namespace, &workload);
            }
        });
        deployments.watch(scope, on_change);
    }
}

// === impl WorkloadError ===

impl WorkloadError {
    /// Wraps an answer of the API server, with the operation in words.
    fn request(what: String) -> impl FnOnce(kube::Error) -> Self {
        |source| Self::Request { what, source }
    }
}

/// Version of a workload that runs in the pod of this name; `None` where the pod is not of this
/// workload.
pub(crate) fn version_of(workload: &WorkloadRef, pod: &str) -> Option<VersionId> {
    match workload.kind {
        WorkloadKind::Deployment => deployment::version_of(&workload.name, pod),
    }
}

/// Name with which the names of the pods of a version of a workload begin.
pub(crate) fn pod_name_prefix(workload: &WorkloadRef, version: &VersionId) -> String {
    match workload.kind {
        WorkloadKind::Deployment => deployment::replica_set_name(&workload.name, version),
    }
}

/// Removes the fields by which a workload of this kind is paused from an object that is to be
/// applied: they are left to the Rollout that governs it.
pub(crate) fn drop_pause(kind: WorkloadKind, object: &mut Value) {
    match kind {
        WorkloadKind::Deployment => deployment::drop_pause(object),
    }
}

/// Restarts a workload, unless it is paused.
pub(crate) async fn restart(target: Target<'_>, now: Timestamp) -> Result<Restart, WorkloadError> {
    match target.workload.kind {
        WorkloadKind::Deployment => deployment::restart(target, now).await,
    }
}

/// Reads the hold of a workload from the API server; `None` where it is not held.
pub(crate) async fn read_hold(target: Target<'_>) -> Result<Option<Held>, WorkloadError> {
    match target.workload.kind {
        WorkloadKind::Deployment => deployment::read_hold(target).await,
    }
}
