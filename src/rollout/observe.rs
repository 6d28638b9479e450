//! Observing: from the caches to the one snapshot that a decision is made from.

mod pods;

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt;
use tidegate_api::{
    CommitId, NamespacedName, Rollout, names,
    rollout::{OnRollback, canary_name},
    route::RouteRef,
    status::Source,
    workload::WorkloadRef,
};
use tidegate_engine::{
    gate::reading::Reading,
    observed::{
        Candidate, Comparison, Endpoints, Identity, Intervention, Observed, OtherWorkload,
        QueryCheck, Route, Service, Workload, selects,
    },
    pin::Pin,
    plan::Plan,
};

use self::pods::{OwnPods, ReadyPods};
use super::observations::Observations;
use crate::{
    caches::Caches,
    kubernetes::watched::{self, is_autoscaler},
};

/// Parts of a snapshot that do not come from the caches.
pub(crate) struct Surroundings {
    pub(crate) cluster: String,
    pub(crate) epoch: u64,
    pub(crate) refused: Option<String>,
    pub(crate) applying: bool,
    pub(crate) queries: QueryCheck,
    pub(crate) readings: Vec<Reading>,
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

/// Older Rollouts that name what a Rollout names.
struct Conflicts {
    names: Vec<String>,
    /// `true` if one of them names the same workload.
    workload: bool,
}

/// Observations of a Rollout that outlast one reconcile, at this time.
struct Timed<'a> {
    observations: &'a Observations,
    rollout: &'a NamespacedName,
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
    let (namespace, name) = (id.namespace.clone(), id.name.clone());
    let status = rollout.status.clone().unwrap_or_default();
    // An attempt goes on under the plan with which it started.
    let spec = status
        .attempt
        .as_ref()
        .map_or(&rollout.spec, |attempt| &attempt.plan);
    let service = spec.service_name().to_owned();
    let canary = WorkloadRef::new(spec.workload.kind, canary_name(&name));
    let timed = Timed {
        observations,
        rollout: &id,
        now,
    };
    let seen = workload(caches, &namespace, &spec.workload);
    let seen = timed.workload(&spec.workload, seen);
    let canary_objects = CanaryObjects::of(caches, &namespace, &name, &canary);
    let candidate = candidate(caches, observations, rollout, seen.as_ref());
    let stable = status
        .stable
        .as_ref()
        .zip(seen.as_ref())
        .map_or(Comparison::Unknown, |(stable, workload)| {
            observations.comparison(&id, &stable.revision, workload.template)
        });
    let own_pods = OwnPods::of(&spec.workload, seen.as_ref(), &canary);
    let plan = Plan::parse(&name, spec).ok();
    let conflicting = conflicting_rollouts(caches, rollout);
    let repo = candidate.as_ref().and_then(|candidate| {
        caches.config_repo(&namespace, candidate.source.config_repo.as_deref()?)
    });
    Observed {
        identity: Identity {
            cluster: around.cluster,
            namespace: namespace.clone(),
            name: name.clone(),
            uid: rollout.uid().unwrap_or_default(),
            generation: rollout.metadata.generation.unwrap_or_default(),
        },
        deleting: rollout.metadata.deletion_timestamp.is_some(),
        finalizer: rollout
            .finalizers()
            .iter()
            .any(|finalizer| finalizer == names::FINALIZER),
        epoch: around.epoch,
        spec: rollout.spec.clone(),
        workload_conflict: conflicting.workload,
        conflicting_rollouts: conflicting.names,
        workload: seen,
        stable,
        stable_kept: status.stable.as_ref().is_none_or(|stable| {
            let kept = stable.revision.object_name(&name);
            caches.revisions.get(&namespace, &kept).is_some()
        }),
        canary: timed.workload(&canary, canary_objects.workload),
        canary_pods: caches.workloads.canary_pods(&namespace, &canary),
        canary_service: canary_objects.service,
        canary_name_conflict: canary_objects.name_conflict,
        candidate,
        services: services(caches, &namespace, &service, &own_pods, &status),
        other_workloads: other_workloads(caches, &namespace, &spec.workload, &canary),
        stable_endpoints: endpoints(caches, observations, &own_pods, &id, &service, now),
        canary_endpoints: endpoints(caches, observations, &own_pods, &id, &canary.name, now),
        unlisted_route_kinds: caches.routers.unlisted([spec]),
        routes: plan
            .map(|plan| routes(caches, &id, &plan))
            .unwrap_or_default(),
        refused: around.refused,
        applying: around.applying,
        queries: around.queries,
        readings: around.readings,
        interventions: interventions(caches, &namespace, &name),
        recorded: around.recorded,
        default_on_rollback: repo.map_or_else(OnRollback::default, |repo| repo.spec.on_rollback),
        status,
    }
}

// === impl Timed ===

impl Timed<'_> {
    /// Adds to a workload the time since which it has made no progress.
    fn workload(&self, reference: &WorkloadRef, seen: Option<Workload>) -> Option<Workload> {
        let seen = seen?;
        let at = self
            .observations
            .progressed_at(self.rollout, reference, &seen, self.now);
        Some(Workload {
            progressed_at: Some(at),
            ..seen
        })
    }
}

/// The workload that is released, with what scales it.
fn workload(caches: &Caches, namespace: &str, workload: &WorkloadRef) -> Option<Workload> {
    let observed = caches.workloads.observe(namespace, workload)?;
    let kind = workload.kind;
    let autoscaler = caches.autoscaler_of(namespace, kind.group(), kind.as_str(), &workload.name);
    let autoscaled =
        autoscaler.is_some() || observed.scaled_by.as_deref().is_some_and(is_autoscaler);
    Some(Workload {
        autoscaled,
        scaled_by: observed.scaled_by.clone().filter(|_| !autoscaled),
        ..observed
    })
}

// === impl CanaryObjects ===

impl CanaryObjects {
    /// Objects of the canary's name, as far as the Rollout owns them.
    fn of(caches: &Caches, namespace: &str, rollout: &str, canary: &WorkloadRef) -> Self {
        let workload_owner = caches
            .workloads
            .labels(namespace, canary)
            .map(|labels| owns(rollout, &labels));
        let service_owner = caches
            .services
            .get(namespace, &canary.name)
            .map(|service| owns(rollout, service.labels()));
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

/// Returns `true` if the labels of an object name the Rollout as its owner.
fn owns(rollout: &str, labels: &BTreeMap<String, String>) -> bool {
    labels
        .get(names::ROLLOUT_LABEL)
        .is_some_and(|owner| owner == rollout)
}

/// The revision that is wanted now: the one with the greatest number.
fn candidate(
    caches: &Caches,
    observations: &Observations,
    rollout: &Rollout,
    workload: Option<&Workload>,
) -> Option<Candidate> {
    let id = NamespacedName::of(rollout);
    let own = caches.revisions_of(&id).into_iter();
    let newest = own.max_by_key(|kept| kept.revision)?;
    let annotation = |key: &str| newest.annotations().get(key).cloned();
    let revision = newest.data.revision.clone();
    let compared = |workload: &Workload| observations.comparison(&id, &revision, workload.template);
    let comparison = workload.map_or(Comparison::Unknown, compared);
    let canary = rollout.spec.canary.clone().unwrap_or_default();
    let admission = observations.admission(&id, &revision, &canary.metadata);
    Some(Candidate {
        sequence: newest.revision,
        source: Source {
            config_repo: annotation(names::CONFIG_REPO_ANNOTATION),
            commit: annotation(names::CONFIG_COMMIT_ANNOTATION).map(CommitId::named),
            author: annotation(names::CONFIG_AUTHOR_ANNOTATION),
            path: annotation(names::CONFIG_PATH_ANNOTATION),
        },
        first_deploy: annotation(names::FIRST_DEPLOY_ANNOTATION).as_deref() == Some("true"),
        images: newest.data.images.clone(),
        pod_labels: newest.data.labels.clone(),
        comparison,
        admission,
        revision,
    })
}

/// The Services whose selector matches the workload's pods, the one that is named, and those that
/// bear a pin of the attempt: it is taken off whatever has become of the workload.
fn services(
    caches: &Caches,
    namespace: &str,
    named: &str,
    own: &OwnPods<'_>,
    status: &tidegate_api::status::RolloutStatus,
) -> Vec<Service> {
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
    let services = caches.services.list(namespace);
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
                    && !caches.routers.name_service(namespace, &service.name_any()),
                pin_setting: service.annotations().get(names::PIN_ANNOTATION).cloned(),
                foreign_pod: None,
                waiting: service
                    .annotations()
                    .get(names::WAITING_ANNOTATION)
                    .cloned(),
                manager: watched::last_manager(fields, &["spec", "selector"]),
            }
        });
    services
        .filter(|service| {
            service.name == named
                || selects(&service.own_selector(), &own.labels)
                || bears_pin(service)
        })
        .map(|service| Service {
            foreign_pod: own.foreign_among(&ReadyPods::of(caches, namespace, &service.name)),
            ..service
        })
        .collect()
}

fn other_workloads(
    caches: &Caches,
    namespace: &str,
    workload: &WorkloadRef,
    canary: &WorkloadRef,
) -> Vec<OtherWorkload> {
    let mut others = caches.workloads.list(namespace);
    others.retain(|other| other.workload != *workload && other.workload != *canary);
    others
}

fn endpoints(
    caches: &Caches,
    observations: &Observations,
    own: &OwnPods<'_>,
    rollout: &NamespacedName,
    service: &str,
    now: Timestamp,
) -> Endpoints {
    let pods = ReadyPods::of(caches, &rollout.namespace, service);
    let since = observations.settled_since(rollout, service, &pods.addresses, now);
    let owners = pods.names.iter().map(|pod| own.owner_of(pod)).collect();
    Endpoints {
        ready: pods.names.len().try_into().unwrap_or(u32::MAX),
        since,
        owners,
    }
}

fn interventions(caches: &Caches, namespace: &str, rollout: &str) -> Vec<Intervention> {
    let all = caches.interventions.list(namespace);
    let readable = all.iter().filter_map(|guarded| guarded.0.as_ref().ok());
    let mut open: Vec<_> = readable
        .filter(|asked| asked.spec.rollout == rollout && asked.status.is_none())
        .collect();
    open.sort_by_key(|asked| (asked.creation_timestamp().map(|at| at.0), asked.name_any()));
    open.into_iter()
        .map(|asked| Intervention {
            name: asked.name_any(),
            uid: asked.uid().unwrap_or_default(),
            spec: asked.spec.clone(),
        })
        .collect()
}

/// The plan's routes. The mark on one that is not split for this Rollout is that of another whose attempt
/// runs, and stays as long as that needs it.
fn routes(caches: &Caches, rollout: &NamespacedName, plan: &Plan) -> Vec<Route> {
    let mut routes = caches.routers.observe(&rollout.namespace, plan);
    for Route { route, state } in &mut routes {
        if let Some(state) = state
            && !state.split
            && state.epoch.is_some()
            && is_split_by_another(caches, rollout, route)
        {
            state.epoch = None;
        }
    }
    routes
}

/// Returns true if the attempt of another Rollout splits a route.
fn is_split_by_another(caches: &Caches, rollout: &NamespacedName, route: &RouteRef) -> bool {
    let others = caches.rollouts_where(&rollout.namespace, |other| {
        let attempt = other
            .status
            .as_ref()
            .and_then(|status| status.attempt.as_ref());
        other.name_any() != rollout.name
            && attempt.is_some_and(|attempt| {
                let mut routes = attempt.plan.routes().into_iter();
                routes.any(|named| named.is_same_object(route))
            })
    });
    !others.is_empty()
}

/// Older Rollouts that name the same workload or Service. The oldest one governs. A route may be split by
/// several Rollouts, each between its own Service and its canary.
fn conflicting_rollouts(caches: &Caches, rollout: &Rollout) -> Conflicts {
    let namespace = rollout.namespace().unwrap_or_default();
    let conflicting = caches.pick_rollouts(&namespace, |other| {
        let same_workload = other.spec.workload == rollout.spec.workload;
        let same_service = other.spec.service_name() == rollout.spec.service_name();
        if (same_workload || same_service) && age(other) < age(rollout) {
            Some((other.name_any(), same_workload))
        } else {
            None
        }
    });
    Conflicts {
        workload: conflicting.iter().any(|(_, same_workload)| *same_workload),
        names: conflicting.into_iter().map(|(name, _)| name).collect(),
    }
}

/// Order of Rollouts: the one that was created first comes first.
fn age(rollout: &Rollout) -> (Option<Timestamp>, String) {
    let created = rollout.creation_timestamp().map(|at| at.0);
    (created, rollout.name_any())
}
