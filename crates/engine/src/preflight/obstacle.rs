//! Obstacles: preconditions of an attempt that somebody has to establish.

use tidegate_api::{
    Revision,
    route::{RouteKind, RouteRef},
    workload::WorkloadRef,
};

use crate::{observed::WorkloadObstacle, route, weight::Weight};

/// Precondition that does not hold and does not come to hold by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Routes of a kind that the spec names cannot be listed.
    RoutesUnlisted {
        /// The kind.
        kind: RouteKind,
    },
    /// Other Rollouts govern the same objects.
    OwnershipConflict {
        /// Names of the other Rollouts.
        others: Vec<String>,
        /// Name of this Rollout.
        rollout: String,
    },
    /// The workload cannot be released as it is.
    WorkloadNotReleasable {
        /// The workload.
        workload: WorkloadRef,
        /// The obstacle in the workload.
        obstacle: WorkloadObstacle,
    },
    /// The workload was paused by somebody else.
    WorkloadPaused {
        /// The workload.
        workload: WorkloadRef,
    },
    /// Two versions of the workload cannot run at the same time.
    NotParallel {
        /// The workload.
        workload: WorkloadRef,
        /// Parts of the template that two versions cannot share.
        blockers: Vec<String>,
    },
    /// An object of another owner has the canary's name.
    CanaryNameConflict {
        /// The canary.
        canary: WorkloadRef,
    },
    /// The Service does not exist.
    ServiceMissing {
        /// Name of the Service.
        service: String,
        /// True if replicas share the traffic: perhaps nobody calls the workload.
        is_by_replicas: bool,
    },
    /// A Service selects pods of a workload that nobody is to call.
    ServiceUnwanted {
        /// Name of the Service.
        service: String,
        /// The workload.
        workload: WorkloadRef,
    },
    /// The Service has no selector.
    ServiceWithoutSelector {
        /// Name of the Service.
        service: String,
    },
    /// The Service does not select the workload's pods.
    ServiceSelectsOthers {
        /// Name of the Service.
        service: String,
        /// The workload.
        workload: WorkloadRef,
    },
    /// The Service selects pods of another workload as well.
    ServiceOverlap {
        /// Name of the Service.
        service: String,
        /// The other pods, in words.
        other: String,
        /// The workload.
        workload: WorkloadRef,
        /// True if it is the one that callers use, which is pinned in any case.
        is_callers: bool,
    },
    /// The new template's pods would not be selected by a Service.
    LabelsLost {
        /// Name of the Service.
        service: String,
        /// The workload.
        workload: WorkloadRef,
    },
    /// Git changes a Service together with the template.
    ServiceChangesWithTemplate {
        /// Name of the Service.
        service: String,
        /// Fields that change, in words.
        fields: String,
    },
    /// The workload has too few replicas for the share of a step.
    ShareOutOfReach(ShareOutOfReach),
    /// A route does not exist.
    RouteMissing {
        /// The route.
        route: RouteRef,
    },
    /// A route cannot be split.
    RouteNotSplittable {
        /// The route.
        route: RouteRef,
        /// The obstacle in the route.
        obstacle: route::Obstacle,
    },
    /// The API server would deny an object of the canary.
    CanaryDenied {
        /// The object, in words.
        object: String,
        /// Its words.
        denial: String,
        /// The revision that waits.
        revision: Revision,
        /// Number that its attempt is going to have.
        attempt: u32,
    },
    /// The API server denies the new template.
    TemplateDenied {
        /// Its words.
        denial: String,
    },
}

/// Share of a step that would come out above twice its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareOutOfReach {
    /// The workload.
    pub workload: WorkloadRef,
    /// Number of its replicas.
    pub replicas: u32,
    /// Number of the step, from 1.
    pub step: u32,
    /// Its weight.
    pub weight: Weight,
    /// The nearest share that the replicas allow.
    pub nearest: Weight,
    /// Number of replicas from which on they allow the weight.
    pub needed: u32,
}
