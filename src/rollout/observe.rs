//! Observing: from the caches to the one snapshot that a decision is made from.

mod config;
mod conflicts;
mod owned;
mod pods;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use kube::ResourceExt;
use tidegate_api::{
    NamespacedName, Revision, Rollout,
    config::ReleasedConfig,
    names,
    rollout::{OnRollback, RolloutSpec, canary_name},
    status::RolloutStatus,
    workload::WorkloadRef,
};
use tidegate_engine::{
    gate::reading::Reading,
    observed::{
        Admission, Attribution, Brake, Candidate, Comparison, Endpoints, Identity, Intervention,
        Observed, OtherWorkload, QueryCheck, Route, Service, Workload, held, selects,
    },
    pin::Pin,
    plan::Plan,
};

use self::{
    conflicts::{conflicting_rollouts, is_split_by_another},
    pods::{OwnPods, ReadyPods},
};
use super::{brake, observations::Observations};
use crate::{
    caches::Caches,
    kubernetes::{
        managed_fields,
        watched::{self, ControllerRevision, is_autoscaler},
    },
};

/// Parts of a snapshot that do not come from the caches.
pub(crate) struct Surroundings {
    pub(crate) cluster: String,
    pub(crate) epoch: u64,
    pub(crate) refused: Option<String>,
    pub(crate) applying: bool,
    pub(crate) queries: QueryCheck,
    /// Attribution of Interventions, by uid.
    pub(crate) attributions: HashMap<String, Attribution>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) unwritten_since: Option<Timestamp>,
    pub(crate) recorded: Vec<String>,
}

/// Objects of the canary's name.
struct CanaryObjects {
    /// Canary workload, if the Rollout owns it.
    workload: Option<Workload>,
    /// `true` if there is a canary Service that the Rollout owns.
    service: bool,
    /// `true` if an object of this name is not the Rollout's.
    name_conflict: bool,
}

/// Observes one Rollout at this time.
struct Observer<'a> {
    caches: &'a Caches,
    /// Observations that outlast one reconcile.
    observations: &'a Observations,
    rollout: &'a NamespacedName,
    /// The workload that is released.
    workload: &'a WorkloadRef,
    now: Timestamp,
}

/// The snapshot of a Rollout.
pub(crate) fn observe(
    caches: &Caches,
    observations: &Observations,
    rollout: &Rollout,
    around: Surroundings,
    now: Timestamp,
) -> Observed {
    let id = NamespacedName::of(rollout);
    let status = rollout.status.clone().unwrap_or_default();
    // An attempt goes on under the plan with which it started.
    let spec = status
        .attempt
        .as_ref()
        .map_or(&rollout.spec, |attempt| &attempt.plan);
    let observer = Observer {
        caches,
        observations,
        rollout: &id,
        workload: &spec.workload,
        now,
    };
    let service = spec.service_name();
    let canary = WorkloadRef::new(spec.workload.kind, canary_name(&id.name));
    let revisions = caches.revisions_of(&id).into_iter();
    let newest = revisions.max_by_key(|kept| kept.revision);
    let brake = brake::of(caches, &id, &spec.workload, newest.as_deref());
    let workload = observer.released(&spec.workload);
    let canary_objects = CanaryObjects::of(caches, &id, &canary);
    let candidate =
        newest.map(|newest| observer.candidate(&newest, rollout, brake, workload.as_ref()));
    let stable = observer.comparison_of_stable(&status, workload.as_ref());
    let workload = workload.map(|workload| workload.as_it_runs(&status));
    let own_pods = OwnPods::of(&spec.workload, workload.as_ref(), &canary);
    let conflicting = conflicting_rollouts(caches, rollout);
    let routes = match Plan::or_objects(&id.name, spec) {
        Ok(plan) => observer.routes(&plan),
        Err(_) => Vec::new(),
    };
    let services = observer.services(service, &own_pods, &status);
    let owned = match status.attempt {
        None => owned::owned(caches, &id, &spec.workload, &services, &routes),
        Some(_) => Vec::new(),
    };
    Observed {
        identity: identity(rollout, around.cluster),
        deleted_at: rollout.metadata.deletion_timestamp.as_ref().map(|at| at.0),
        finalizer: has_finalizer(rollout),
        epoch: around.epoch,
        spec: rollout.spec.clone(),
        workload_conflict: conflicting.workload,
        conflicting_rollouts: conflicting.names,
        stable,
        stable_kept: status
            .stable
            .as_ref()
            .is_none_or(|stable| observer.kept(&stable.revision).is_some()),
        stable_source: match brake {
            Brake::Pause => observer.stable_source(&status),
            Brake::Sync | Brake::Unknown => None,
        },
        brake,
        workload,
        canary: observer.timed(&canary, canary_objects.workload),
        canary_pods: caches.workloads.canary_pods(&id.namespace, &canary),
        retained_pods: caches.workloads.retained_pods(&id.namespace, &id.name),
        canary_service: canary_objects.service,
        canary_name_conflict: canary_objects.name_conflict,
        services,
        other_workloads: observer.other_workloads(&spec.workload, &canary),
        stable_endpoints: match service {
            Some(service) => observer.endpoints(&own_pods, service),
            None => observer.no_endpoints(),
        },
        canary_endpoints: observer.endpoints(&own_pods, &canary.name),
        unlisted_route_kinds: caches.routers.unlisted([spec]),
        routes,
        config: match brake {
            Brake::Pause => observer.config(&id.name, &spec.workload, &status),
            Brake::Sync | Brake::Unknown => None,
        },
        config_of_others: observer.config_of_others(&status),
        kept_config: observations.kept_config(&id),
        written_config: status
            .attempt
            .as_ref()
            .and_then(|attempt| observations.written_config(&id, attempt.number)),
        owned,
        refused: around.refused,
        applying: around.applying,
        queries: around.queries,
        readings: around.readings,
        unwritten_since: around.unwritten_since,
        interventions: observer.interventions(&around.attributions),
        recorded: around.recorded,
        default_on_rollback: observer.on_rollback_of(candidate.as_ref()),
        candidate,
        status,
    }
}

fn has_finalizer(rollout: &Rollout) -> bool {
    let mut finalizers = rollout.finalizers().iter();
    finalizers.any(|finalizer| finalizer == names::FINALIZER)
}

fn identity(rollout: &Rollout, cluster: String) -> Identity {
    Identity {
        cluster,
        namespace: rollout.namespace().unwrap_or_default(),
        name: rollout.name_any(),
        uid: rollout.uid().unwrap_or_default(),
        generation: rollout.metadata.generation.unwrap_or_default(),
    }
}

// === impl Observer ===

impl Observer<'_> {
    /// The workload that is released, with what scales it.
    fn released(&self, workload: &WorkloadRef) -> Option<Workload> {
        let namespace = &self.rollout.namespace;
        let observed = self.caches.workloads.observe(namespace, workload)?;
        let (kind, name) = (workload.kind, &workload.name);
        let autoscaler = self
            .caches
            .autoscaler_of(namespace, kind.group(), kind.as_str(), name);
        let autoscaled =
            autoscaler.is_some() || observed.scaled_by.as_deref().is_some_and(is_autoscaler);
        let seen = Workload {
            autoscaled,
            scaled_by: observed.scaled_by.clone().filter(|_| !autoscaled),
            ..observed
        };
        self.timed(workload, Some(seen))
    }

    /// Adds to a workload the time since which it has made no progress.
    fn timed(&self, reference: &WorkloadRef, seen: Option<Workload>) -> Option<Workload> {
        let seen = seen?;
        let at = self
            .observations
            .progressed_at(self.rollout, reference, &seen, self.now);
        Some(Workload {
            progressed_at: Some(at),
            ..seen
        })
    }

    /// Result of the last dry run of a revision's template, if it was over the workload's present one.
    fn comparison(&self, revision: &Revision, workload: Option<&Workload>) -> Comparison {
        match workload {
            Some(workload) => {
                self.observations
                    .comparison(self.rollout, revision, workload.template)
            }
            None => Comparison::Unknown,
        }
    }

    /// The same of stable's, if anything is stable.
    fn comparison_of_stable(
        &self,
        status: &RolloutStatus,
        workload: Option<&Workload>,
    ) -> Comparison {
        match &status.stable {
            Some(stable) => self.comparison(&stable.revision, workload),
            None => Comparison::Unknown,
        }
    }

    /// Result of the last dry run of a revision's canary, if it was the one that the spec asks for.
    fn admission(&self, revision: &Revision, spec: &RolloutSpec) -> Admission {
        let canary = spec.canary.as_ref();
        let metadata = canary.map(|canary| canary.metadata.clone());
        self.observations
            .admission(self.rollout, revision, &metadata.unwrap_or_default())
    }

    /// Returns the object that keeps the template of a revision.
    fn kept(&self, revision: &Revision) -> Option<Arc<ControllerRevision>> {
        let NamespacedName { namespace, name } = self.rollout;
        let revisions = &self.caches.revisions;
        revisions.get(namespace, &revision.object_name(name))
    }

    /// The revision that is wanted now: the one with the greatest number.
    fn candidate(
        &self,
        newest: &ControllerRevision,
        rollout: &Rollout,
        brake: Brake,
        workload: Option<&Workload>,
    ) -> Candidate {
        let first_deploy = newest.annotations().get(names::FIRST_DEPLOY_ANNOTATION);
        let revision = newest.data.revision.clone();
        let (source, provenance) = self.source(newest, brake);
        let config = newest.released_config();
        Candidate {
            sequence: newest.revision,
            source,
            provenance,
            first_deploy: first_deploy.is_some_and(|is| is == "true"),
            images: newest.data.images.clone(),
            pod_labels: newest.data.labels.clone(),
            comparison: match brake {
                Brake::Pause => {
                    let status = rollout.status.as_ref();
                    let stable = status.and_then(|status| status.stable.as_ref());
                    held::comparison(&revision, stable, workload)
                }
                Brake::Sync | Brake::Unknown => {
                    let template = self.comparison(&revision, workload);
                    compared(template, config.as_ref())
                }
            },
            admission: self.admission(&revision, &rollout.spec),
            config,
            revision,
        }
    }

    /// Defaults for rollbacks, of the ConfigRepo that asks for the candidate.
    fn on_rollback_of(&self, candidate: Option<&Candidate>) -> OnRollback {
        let name = candidate.and_then(|candidate| candidate.source.config_repo.as_deref());
        let repo = name.and_then(|name| {
            let NamespacedName { namespace, name } =
                NamespacedName::of_reference(name, &self.rollout.namespace);
            self.caches.config_repo(&namespace, &name)
        });
        repo.map_or_else(OnRollback::default, |repo| repo.spec.on_rollback)
    }

    /// The Services whose selector matches the workload's pods, the one that is named, and those that
    /// bear a pin of the attempt: it is taken off whatever has become of the workload.
    fn services(
        &self,
        named: Option<&str>,
        own: &OwnPods<'_>,
        status: &RolloutStatus,
    ) -> Vec<Service> {
        let namespace = &self.rollout.namespace;
        let stable = status
            .stable
            .as_ref()
            .map(|stable| &stable.pod_template_hash);
        let promoted = status
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.promoted_pod_template_hash.as_ref());
        let versions: Vec<_> = stable.into_iter().chain(promoted).collect();
        let bears_pin = |service: &Service| match service.pin() {
            Some(Pin::Version(version)) => service.epoch.is_some() && versions.contains(&&version),
            Some(Pin::Canary) | None => false,
        };
        let services = self.caches.services.list(namespace);
        let services = services
            .iter()
            .filter(|service| service.name_any() != own.canary.name)
            .map(|service| {
                let fields = service
                    .metadata
                    .managed_fields
                    .as_deref()
                    .unwrap_or_default();
                Service {
                    name: service.name_any(),
                    selector: service.spec.selector.clone(),
                    epoch: watched::epoch(&**service),
                    external: service.spec.type_.as_deref() == Some("ExternalName"),
                    for_peers: service.spec.cluster_ip.as_deref() == Some("None")
                        && !self
                            .caches
                            .routers
                            .name_service(namespace, &service.name_any()),
                    pin_setting: service.annotations().get(names::PIN_ANNOTATION).cloned(),
                    foreign_pod: None,
                    waiting: service
                        .annotations()
                        .get(names::WAITING_ANNOTATION)
                        .cloned(),
                    manager: managed_fields::last_manager(fields, &["spec", "selector"]),
                }
            });
        services
            .filter(|service| {
                Some(service.name.as_str()) == named
                    || selects(&service.own_selector(), &own.labels)
                    || bears_pin(service)
            })
            .map(|service| Service {
                foreign_pod: own.foreign_among(&ReadyPods::of(
                    self.caches,
                    namespace,
                    &service.name,
                )),
                ..service
            })
            .collect()
    }

    fn other_workloads(&self, workload: &WorkloadRef, canary: &WorkloadRef) -> Vec<OtherWorkload> {
        let mut others = self.caches.workloads.list(&self.rollout.namespace);
        others.retain(|other| other.workload != *workload && other.workload != *canary);
        others
    }

    fn endpoints(&self, own: &OwnPods<'_>, service: &str) -> Endpoints {
        let pods = ReadyPods::of(self.caches, &self.rollout.namespace, service);
        let since =
            self.observations
                .settled_since(self.rollout, service, &pods.addresses, self.now);
        let owners = pods.names.iter().map(|pod| own.owner_of(pod)).collect();
        Endpoints {
            ready: pods.names.len().try_into().unwrap_or(u32::MAX),
            since,
            owners,
        }
    }

    /// Endpoints where there is no Service to have any.
    fn no_endpoints(&self) -> Endpoints {
        Endpoints {
            ready: 0,
            since: self.now,
            owners: BTreeSet::new(),
        }
    }

    fn interventions(&self, attributions: &HashMap<String, Attribution>) -> Vec<Intervention> {
        let NamespacedName { namespace, name } = self.rollout;
        let all = self.caches.interventions.list(namespace);
        let readable = all.iter().filter_map(|guarded| guarded.0.as_ref().ok());
        let mut open: Vec<_> = readable
            .filter(|asked| asked.spec.rollout == *name && asked.status.is_none())
            .collect();
        open.sort_by_key(|asked| (asked.creation_timestamp().map(|at| at.0), asked.name_any()));
        open.into_iter()
            .map(|asked| {
                let uid = asked.uid().unwrap_or_default();
                Intervention {
                    name: asked.name_any(),
                    attribution: attributions
                        .get(&uid)
                        .cloned()
                        .unwrap_or(Attribution::Unknown),
                    uid,
                    spec: asked.spec.clone(),
                }
            })
            .collect()
    }

    /// The plan's routes. The mark on one that is not split for this Rollout is that of another whose attempt
    /// runs, and stays as long as that needs it.
    fn routes(&self, plan: &Plan) -> Vec<Route> {
        let mut routes = self.caches.routers.observe(&self.rollout.namespace, plan);
        for Route { route, state } in &mut routes {
            if let Some(state) = state
                && !state.split
                && state.epoch.is_some()
                && is_split_by_another(self.caches, self.rollout, route)
            {
                state.epoch = None;
            }
        }
        routes
    }
}

// === impl CanaryObjects ===

impl CanaryObjects {
    /// Objects of the canary's name, as far as the Rollout owns them.
    fn of(caches: &Caches, rollout: &NamespacedName, canary: &WorkloadRef) -> Self {
        let namespace = &rollout.namespace;
        let workload_owner = caches
            .workloads
            .labels(namespace, canary)
            .map(|labels| owns(&rollout.name, &labels));
        let service_owner = caches
            .services
            .get(namespace, &canary.name)
            .map(|service| owns(&rollout.name, service.labels()));
        let workload = match workload_owner {
            Some(true) => caches.workloads.observe(namespace, canary),
            Some(false) | None => None,
        };
        Self {
            workload,
            service: service_owner == Some(true),
            name_conflict: workload_owner == Some(false) || service_owner == Some(false),
        }
    }
}

/// Comparison of a revision with what runs: the same template with other config is another revision.
fn compared(template: Comparison, config: Option<&ReleasedConfig>) -> Comparison {
    match template {
        Comparison::Same if config.is_some() => Comparison::Different,
        compared => compared,
    }
}

/// Returns `true` if the labels of an object name the Rollout as its owner.
fn owns(rollout: &str, labels: &BTreeMap<String, String>) -> bool {
    labels
        .get(names::ROLLOUT_LABEL)
        .is_some_and(|owner| owner == rollout)
}
