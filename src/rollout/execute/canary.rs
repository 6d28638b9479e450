//! Effects on the canary: a workload and a Service of the Rollout's name and `-canary`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use kube::{Api, Resource as _, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};
use tidegate_api::{Revision, names};
use tidegate_engine::{observed::Admission, pin, plan::Plan};

use super::{Effects, ExecuteError, Subject, failed};
use crate::{
    clock,
    kubernetes::{
        apply::drop_nulls,
        carried,
        config::name_copies,
        writer::{Denied, Precondition},
    },
    workload::Canary,
};

// === impl Effects ===

impl Effects<'_> {
    /// Takes pods away from the canary.
    pub(super) async fn scale_down_canary(self, replicas: u32) -> Result<(), ExecuteError> {
        let canary = self.subject.plan()?.canary_workload();
        let target = self.target_of(&canary);
        let workloads = &self.caches.workloads;
        let rollout = &self.subject.id.name;
        Ok(workloads
            .scale_down_canary(target, rollout, replicas)
            .await?)
    }

    /// Makes the canary what it should be: Service first, so that a route never names what is not there.
    pub(super) async fn apply_canary(
        self,
        revision: &Revision,
        replicas: u32,
    ) -> Result<(), ExecuteError> {
        let plan = self.subject.plan()?;
        if !self.canary_runs(plan, revision) {
            self.apply_canary_service(plan).await?;
        }
        let canary = Canary {
            name: &plan.canary,
            rollout: &self.subject.id.name,
            revision,
            metadata: &plan.canary_metadata,
            template: self.canary_template(revision).await?,
            replicas,
        };
        let target = self.target()?;
        Ok(self.caches.workloads.apply_canary(target, canary).await?)
    }

    /// The template of a revision as its canary runs it.
    async fn canary_template(self, revision: &Revision) -> Result<Value, ExecuteError> {
        let mut template = self.kept_template(revision).await?;
        if let Some(config) = self.released_config(revision) {
            name_copies(&mut template, &config);
        }
        Ok(template)
    }

    /// Returns true if the canary runs this revision, with its Service, if it is to have one: only its size is to
    /// change.
    fn canary_runs(self, plan: &Plan, revision: &Revision) -> bool {
        if plan.is_without_service() {
            return true;
        }
        let namespace = &self.subject.id.namespace;
        let service = self.caches.services.get(namespace, &plan.canary);
        let owner = service.and_then(|service| service.labels().get(names::ROLLOUT_LABEL).cloned());
        let workloads = &self.caches.workloads;
        let workload = workloads.observe(namespace, &plan.canary_workload());
        owner.as_ref() == Some(&self.subject.id.name)
            && workload.is_some_and(|canary| canary.revision.as_ref() == Some(revision))
    }

    /// Asks by dry runs if the API server would admit the candidate's canary. Its size is one pod: whether
    /// there is room for more is seen when they are there.
    pub(super) async fn dry_run_canary(self) -> Result<(Revision, Admission), ExecuteError> {
        let plan = self.subject.plan()?;
        let revision = self.candidate()?;
        let name = &plan.canary;
        let mut denied = self.dry_run_canary_service(plan).await?;
        if denied.is_none() {
            let canary = Canary {
                name,
                rollout: &self.subject.id.name,
                revision: &revision,
                metadata: &plan.canary_metadata,
                template: self.canary_template(&revision).await?,
                replicas: 1,
            };
            let workloads = &self.caches.workloads;
            denied = workloads.dry_run_canary(self.target()?, canary).await?;
        }
        if denied.is_none() {
            denied = self.dry_run_put_back(&revision).await?;
        }
        let at = clock::now();
        let admission = match denied {
            None => Admission::Admitted { at },
            Some(Denied { object, why }) => Admission::Denied { object, why, at },
        };
        Ok((revision, admission))
    }

    /// Retains one of its pods for inspection. The canary goes, whatever becomes of that.
    pub(super) async fn retain_pod(self, until: Timestamp) -> Result<(), ExecuteError> {
        let canary = self.subject.plan()?.canary_workload();
        let target = self.target_of(&canary);
        let Some(owner) = self.subject.rollout.controller_owner_ref(&()) else {
            return Ok(());
        };
        let workloads = &self.caches.workloads;
        if let Err(error) = workloads.retain_pod(target, owner, until).await {
            tracing::warn!(%error, "no pod of the failed canary is retained");
        }
        Ok(())
    }

    /// Deletes a pod that was retained. Where that is refused, it is nobody's emergency.
    pub(super) async fn delete_retained_pod(self, name: &str) -> Result<(), ExecuteError> {
        let workloads = &self.caches.workloads;
        let deleted = workloads.delete_retained_pod(self.writer(), name).await;
        match deleted.map_err(ExecuteError::from) {
            Err(error) if error.refusal().is_some() => {
                tracing::warn!(%error, "a retained pod stays");
                Ok(())
            }
            deleted => deleted,
        }
    }

    /// Deletes what there is of it.
    pub(super) async fn delete_canary(self) -> Result<(), ExecuteError> {
        let canary = self.subject.plan()?.canary_workload();
        let target = self.target_of(&canary);
        self.caches
            .workloads
            .delete_canary(target, &self.subject.id.name)
            .await?;
        self.delete_copies().await?;
        let name = &canary.name;
        let Some(service) = self.caches.services.get(&self.subject.id.namespace, name) else {
            return Ok(());
        };
        let owner = service.labels().get(names::ROLLOUT_LABEL);
        if owner.is_none_or(|owner| *owner != self.subject.id.name) {
            return Ok(());
        }
        let deleted = self
            .writer()
            .delete(
                &self.caches.services,
                &*service,
                Precondition::Uid,
                DeleteParams::default(),
            )
            .await;
        deleted.map_err(failed(format!("delete the Service {name}")))
    }

    /// Reads the Service that callers use, if they use one.
    async fn stable_service(self, plan: &Plan) -> Result<Option<core::Service>, ExecuteError> {
        let Some(service) = &plan.service else {
            return Ok(None);
        };
        let api: Api<core::Service> =
            Api::namespaced(self.client.clone(), &self.subject.id.namespace);
        let read = api.get(service).await;
        read.map(Some)
            .map_err(failed(format!("read the Service {service}")))
    }

    /// Asks by a dry run if the API server would admit the canary Service, where there is to be one.
    async fn dry_run_canary_service(self, plan: &Plan) -> Result<Option<Denied>, ExecuteError> {
        let Some(stable) = self.stable_service(plan).await? else {
            return Ok(None);
        };
        let name = &plan.canary;
        let asked = self
            .writer()
            .dry_run_apply(
                &self.caches.services,
                name,
                service(self.subject, plan, &stable),
            )
            .await;
        let denied = Denied::of(format!("Service {name}"), asked);
        denied.map_err(failed(format!("dry-run the Service {name}")))
    }

    /// Applies the canary Service over the one that is known, and no other: it may carry all traffic
    /// under another leader by now.
    async fn apply_canary_service(self, plan: &Plan) -> Result<(), ExecuteError> {
        let Some(stable) = self.stable_service(plan).await? else {
            return Ok(());
        };
        let name = &plan.canary;
        let applied = self
            .writer()
            .apply(
                &self.caches.services,
                name,
                service(self.subject, plan, &stable),
            )
            .await;
        applied.map_err(failed(format!("apply the Service {name}")))
    }
}

/// The canary Service: the stable one's ports and affinity, for the canary's pods alone.
fn service(subject: &Subject<'_>, plan: &Plan, stable: &core::Service) -> Value {
    let spec = stable.spec.clone().unwrap_or_default();
    let ports: Vec<_> = spec
        .ports
        .iter()
        .flatten()
        .map(|port| core::ServicePort {
            node_port: None,
            ..port.clone()
        })
        .collect();
    let mut selector = spec.selector.unwrap_or_default();
    selector.retain(|key, _| !pin::is_label(key));
    selector.insert(
        names::TRACK_LABEL.to_owned(),
        names::TRACK_CANARY.to_owned(),
    );
    let added = &plan.canary_metadata;
    let mut labels = carried::labels(&stable.metadata, &added.labels);
    labels.insert(names::ROLLOUT_LABEL.to_owned(), subject.id.name.clone());
    let headless = spec.cluster_ip.filter(|ip| ip == "None");
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": plan.canary,
            "labels": labels,
            "annotations": carried::annotations(&stable.metadata, &added.annotations),
        },
        "spec": {
            "selector": selector,
            "ports": ports,
            "sessionAffinity": spec.session_affinity,
            "sessionAffinityConfig": spec.session_affinity_config,
            "clusterIP": headless,
        },
    });
    drop_nulls(&mut object["spec"]);
    object
}
