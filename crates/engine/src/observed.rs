//! Input of a decision: one owned snapshot of everything that matters.
//!
//! A missing route or a spec that cannot be parsed is data here, not an error: the engine says
//! what to do about it.

mod endpoints;
pub mod held;
mod intervention;
pub(crate) mod replica_shares;
mod retained;
mod service;
mod workload;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tidegate_api::{
    Revision,
    config::{ConfigRef, ReleasedConfig},
    rollout::{Mode, OnRollback, RolloutSpec},
    route::{RouteKind, RouteRef},
    status::{RolloutStatus, Source},
    workload::{VersionId, WorkloadRef},
};

pub use self::{
    endpoints::{Endpoints, PodOwner},
    intervention::{Attribution, Intervention},
    retained::RetainedPod,
    service::Service,
    workload::{Appliers, Held, Version, Workload, WorkloadObstacle},
};
use crate::{
    gate::reading::Reading,
    pin::Pin,
    route::{Obstacle, PendingParent, PendingRoute},
    weight::Weight,
};

/// Labels, or a selector made of them.
pub type Labels = BTreeMap<String, String>;

/// One snapshot.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each with its own name"
)]
pub struct Observed {
    /// Identity of the Rollout.
    pub identity: Identity,
    /// Time at which somebody has deleted it, while it is still there.
    pub deleted_at: Option<Timestamp>,
    /// True if it has Tidegate's finalizer.
    pub finalizer: bool,
    /// The epoch of this leader.
    pub epoch: u64,
    /// Spec of the Rollout.
    pub spec: RolloutSpec,
    /// The last persisted status.
    pub status: RolloutStatus,
    /// Time since which something that was decided is not in that status, because it is for people alone.
    pub unwritten_since: Option<Timestamp>,
    /// Other Rollouts of the namespace that name the same workload or Service.
    pub conflicting_rollouts: Vec<String>,
    /// True if one of them names the same workload.
    pub workload_conflict: bool,
    /// What keeps a new template of the workload from rolling out by itself.
    pub brake: Brake,
    /// The workload. One that is held is seen as it runs, whatever template waits in it.
    pub workload: Option<Workload>,
    /// Comparison of stable's template with the workload's, where that was asked for.
    pub stable: Comparison,
    /// True if a `ControllerRevision` keeps stable's template, or nothing is stable.
    pub stable_kept: bool,
    /// Source of stable's revision as far as it was found since, where another tool has applied it.
    pub stable_source: Option<Source>,
    /// The canary workload.
    pub canary: Option<Workload>,
    /// Number of the canary's pods that a Service could select: those that are not terminating. They outlast
    /// the canary workload for a moment.
    pub canary_pods: u32,
    /// Pods of earlier canaries that are retained for inspection.
    pub retained_pods: Vec<RetainedPod>,
    /// True if the canary Service exists.
    pub canary_service: bool,
    /// True if a workload or a Service of another owner has the canary's name.
    pub canary_name_conflict: bool,
    /// The revision that is wanted now.
    pub candidate: Option<Candidate>,
    /// The Services of the namespace whose selector matches the workload's pods, and the one that
    /// the spec names.
    pub services: Vec<Service>,
    /// Other workloads of the namespace.
    pub other_workloads: Vec<OtherWorkload>,
    /// The ready endpoints of the Service that callers use.
    pub stable_endpoints: Endpoints,
    /// The ready endpoints of the canary Service.
    pub canary_endpoints: Endpoints,
    /// Kinds of route that the spec names and that cannot be listed.
    pub unlisted_route_kinds: Vec<RouteKind>,
    /// ConfigMaps and Secrets that the templates of stable and of the attempt's revision name, as far as that is known.
    pub config: Option<BTreeSet<ConfigRef>>,
    /// Those that are noted in the status and that other Rollouts need, too.
    pub config_of_others: BTreeSet<ConfigRef>,
    /// Those that this process has kept from being pruned.
    pub kept_config: Option<BTreeSet<ConfigRef>>,
    /// Revision whose config this process has written in the attempt that runs.
    pub written_config: Option<Revision>,
    /// Routes that the plan names.
    pub routes: Vec<Route>,
    /// Objects that no attempt governs any more, and of which Tidegate still owns a field that it wrote.
    pub owned: Vec<Owned>,
    /// Denial of a write by the API server, in a sentence.
    pub refused: Option<String>,
    /// True while a commit is being applied to the namespace: the objects may be half of it.
    pub applying: bool,
    /// Check of the gates' queries, put to stable.
    pub queries: QueryCheck,
    /// Readings of the gates that may not be folded yet, oldest first.
    pub readings: Vec<Reading>,
    /// Interventions without an answer.
    pub interventions: Vec<Intervention>,
    /// Paths on the records branch that are known to be written.
    pub recorded: Vec<String>,
    /// Default of the `ConfigRepo` for rollbacks, where the Rollout does not say.
    pub default_on_rollback: OnRollback,
}

/// Object of which Tidegate owns a field as its last writer: server-side applies of others conflict with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owned {
    /// The workload.
    Workload,
    /// A Service, by its name.
    Service(String),
    /// A route.
    Route(RouteRef),
}

/// Identity of a Rollout.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
}

/// What keeps a new template of the workload from rolling out by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brake {
    /// It is not known yet who applies the workload.
    Unknown,
    /// A `ConfigRepo` applies it, and leaves out the template.
    Sync,
    /// Anybody else does, and the workload is paused for as long as the Rollout is there.
    Pause,
}

/// The revision that is wanted now.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name.
    pub revision: Revision,
    /// Its place in the order in which revisions were wanted.
    pub sequence: i64,
    /// Source of the revision.
    pub source: Source,
    /// Search for the commit that asked for it.
    pub provenance: Provenance,
    /// True if its template went straight in.
    pub first_deploy: bool,
    /// The images of its containers.
    pub images: Vec<String>,
    /// The labels of its pods.
    pub pod_labels: Labels,
    /// Config that is to be released with it.
    pub config: Option<ReleasedConfig>,
    /// Comparison with the workload's template.
    pub comparison: Comparison,
    /// Admission of the canary that an attempt would make of it.
    pub admission: Admission,
}

/// Search for the commit that asked for a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The source says all that there is to say.
    Settled,
    /// Another tool has applied it, and repositories are read for the commit.
    Sought {
        /// Names of their `ConfigRepo`s.
        config_repos: Vec<String>,
    },
}

/// Comparison of a template with the workload's, by a dry run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It was not asked yet.
    Unknown,
    /// It is the same.
    Same,
    /// It differs.
    Different,
    /// The API server refuses it.
    Refused {
        /// Its words.
        why: String,
        /// Time of the question.
        at: Timestamp,
    },
}

/// Admission of all that an attempt would make: the canary workload, one of its pods, and its Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It was not asked yet.
    Unknown,
    /// The API server would admit all of it.
    Admitted {
        /// Time of the question.
        at: Timestamp,
    },
    /// The API server would deny an object.
    Denied {
        /// The object, in words.
        object: String,
        /// Words of the API server.
        why: String,
        /// Time of the question.
        at: Timestamp,
    },
}

/// Check of the queries of the enforced gates, put to stable before traffic moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryCheck {
    /// It was not asked yet.
    Unknown,
    /// They can.
    Usable {
        /// Time of the question.
        at: Timestamp,
    },
    /// A query is wrong.
    Invalid {
        /// The gate and its problem, in a sentence.
        why: String,
        /// Time of the question.
        at: Timestamp,
    },
    /// A query selects nothing of stable either.
    SelectsNothing {
        /// The gate, in a sentence.
        why: String,
        /// Time of the question.
        at: Timestamp,
    },
    /// Prometheus has a single sample of stable: if the queries look back far enough is not known.
    ScrapedOnce {
        /// The gate, in a sentence.
        why: String,
        /// Time of the question.
        at: Timestamp,
    },
    /// Prometheus did not answer.
    Unreadable {
        /// The gate and its problem, in a sentence.
        why: String,
        /// Time of the question.
        at: Timestamp,
    },
}

/// Another workload of the namespace.
#[derive(Clone, Debug)]
pub struct OtherWorkload {
    /// Its kind and name.
    pub workload: WorkloadRef,
    /// The labels of its pods.
    pub pod_labels: Labels,
}

/// Route that the plan names.
#[derive(Clone, Debug)]
pub struct Route {
    /// Reference by which the plan names it.
    pub route: RouteRef,
    /// State of the route; `None` where it does not exist.
    pub state: Option<RouteState>,
}

/// State of a route.
#[derive(Clone, Debug)]
pub struct RouteState {
    /// Share of the canary; `None` where it has none or the rules do not agree.
    pub weight: Option<Weight>,
    /// True if any rule names the canary.
    pub split: bool,
    /// True if every gateway of the route has accepted it as it is now.
    pub accepted: bool,
    /// True if every gateway that serves the route has accepted it as it is now: one that refuses it
    /// sends nobody anywhere.
    pub followed: bool,
    /// Gateways that have not accepted it as it is now.
    pub pending_parents: Vec<PendingParent>,
    /// Epoch annotation.
    pub epoch: Option<u64>,
    /// Reason why it cannot be split, if there is one.
    pub obstacle: Option<Obstacle>,
    /// Field manager that last wrote the rules.
    pub manager: Option<String>,
}

// === impl Route ===

impl Route {
    /// Returns the route with the gateways that are in the way of a change.
    pub(crate) fn pending(&self) -> PendingRoute {
        let state = self.state.as_ref();
        PendingRoute {
            route: self.route.clone(),
            parents: state.map_or_else(Vec::new, |state| state.pending_parents.clone()),
        }
    }
}

// === impl Observed ===

impl Observed {
    /// Returns true if it is being deleted.
    pub(crate) fn is_deleting(&self) -> bool {
        self.deleted_at.is_some()
    }

    /// Returns true if the workload is left to itself, and what would have been done is said. An attempt that runs
    /// goes on under the spec that it started with.
    pub(crate) fn is_observing(&self) -> bool {
        self.spec.mode == Mode::Observe && !self.is_deleting() && self.status.attempt.is_none()
    }

    /// Returns true if an object of the canary is there, or a pod that a Service could select.
    pub(crate) fn canary_is_left(&self) -> bool {
        self.canary.is_some() || self.canary_service || self.canary_pods > 0
    }

    /// Returns true if the workload is paused.
    pub(crate) fn is_paused(&self) -> bool {
        let workload = self.workload.as_ref();
        workload.is_some_and(|workload| workload.paused)
    }

    /// Returns true if any Service sends its callers to the canary's pods.
    pub(crate) fn pinned_to_canary(&self) -> bool {
        self.services
            .iter()
            .any(|service| service.pin() == Some(Pin::Canary))
    }

    /// Returns `true` if the workload is known to have another template than stable's, which this
    /// version runs. Where that is gone, a dry run tells.
    pub(crate) fn is_known_to_differ_from_stable(
        &self,
        workload: &Workload,
        stable: &VersionId,
    ) -> bool {
        match workload.version(stable) {
            Some(version) => version.template != workload.template,
            None => self.stable == Comparison::Different,
        }
    }

    /// Returns `true` if the workload is known to have another template than stable's, and a restart is not
    /// all that differs.
    pub fn content_differs_from_stable(&self, workload: &Workload, stable: &VersionId) -> bool {
        match workload.version(stable) {
            Some(version) => version.content != workload.content,
            None => self.stable == Comparison::Different,
        }
    }

    /// Returns true if stable's template is in no `ControllerRevision` and in no version of the workload any more, so
    /// that nothing can be put back.
    pub(crate) fn is_lost_for_good(&self, stable: &VersionId) -> bool {
        let workload = self.workload.as_ref();
        !self.stable_kept && workload.is_some_and(|workload| workload.version(stable).is_none())
    }

    /// Returns the number of stable's own pods that are ready. While the Services are pinned to the
    /// canary their endpoints say nothing about stable.
    pub(crate) fn ready_of_stable(&self) -> u32 {
        let stable = self.status.stable.as_ref().zip(self.workload.as_ref());
        stable.map_or(0, |(stable, workload)| {
            workload.ready_of(&stable.pod_template_hash)
        })
    }

    /// Returns true if so many of stable's own pods are ready that callers may go back to them.
    pub(crate) fn enough_of_stable(&self) -> bool {
        let stable = self.status.stable.as_ref();
        let workload = self.workload.as_ref();
        stable
            .zip(workload)
            .is_some_and(|(stable, workload)| workload.has_enough_of(&stable.pod_template_hash))
    }
}

/// Returns true if a selector that is not empty selects these labels.
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
}
