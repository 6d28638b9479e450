//! Reasons for which a spec is not a plan, each with what to write instead.

use tidegate_api::{names, route::RouteRef};

use crate::{gate::GateError, weight::Weight};

/// Reason for which a spec is not a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The canary's pods would have their names cut.
    #[error(
        "the Rollout's name {name:?} has {length} characters, and at most {max} leave room for the names of the canary's pods: give it a shorter one",
        length = name.len(),
        max = names::MAX_ROLLOUT_NAME
    )]
    NameTooLong {
        /// The name.
        name: String,
    },
    /// Neither routes nor shares of replicas, or both.
    #[error(
        "spec.traffic is not exactly one of routes and replicas: write routes: [{{kind: HTTPRoute, name: NAME}}], or replicas: {{}} where no route splits traffic"
    )]
    TrafficKind,
    /// A weight that shares of replicas cannot make.
    #[error(
        "spec.steps[{index}] has the weight {weight}, and shares of replicas make weights of 0 to 50, and 100: write one of these, or split traffic by routes"
    )]
    ReplicaWeight {
        /// Index of the step, from 0.
        index: usize,
        /// The weight.
        weight: Weight,
    },
    /// A weight that a workload without a Service cannot have.
    #[error(
        "spec.steps[{index}] has the weight {weight}, and without a Service a weight is a share of pods, 0% to 50%: the canary works beside stable and never in its place, so write 50 at most"
    )]
    WeightWithoutService {
        /// Index of the step, from 0.
        index: usize,
        /// The weight.
        weight: Weight,
    },
    /// Steps without a Service that end with a canary that has no pod.
    #[error(
        "spec.steps ends with the weight 0, and without a Service the last step is what the revision is judged by before it is promoted: end with a weight above 0"
    )]
    NoWorkAtTheEnd,
    /// A Service that is named and ruled out.
    #[error(
        "spec.service names the Service {service}, and spec.traffic.replicas.service is None: leave one of them out"
    )]
    ServiceRuledOut {
        /// Name of the Service.
        service: String,
    },
    /// Retention of a pod that would go on working.
    #[error(
        "spec.canary.keepFailed retains a pod, and without a Service it would go on working: leave it out"
    )]
    RetainedWorker,
    /// A query about a Service that there is not.
    #[error(
        "spec.gates, {name:?}: the query uses {{{{service}}}}, and nobody calls the workload: use {{{{name}}}} or {{{{pods}}}}"
    )]
    ServiceInQuery {
        /// The gate.
        name: String,
    },
    /// Replicas of a step beside shares of replicas.
    #[error(
        "spec.steps[{index}] sets replicas, and with spec.traffic.replicas they follow from its weight: leave them out"
    )]
    ReplicasOfStep {
        /// Index of the step, from 0.
        index: usize,
    },
    /// A route of another group than its kind's.
    #[error(
        "spec.traffic.routes, {route}: write the group {}, or leave it out",
        route.kind.group()
    )]
    RouteGroup {
        /// Reference with the wrong group.
        route: RouteRef,
    },
    /// Two references to one route.
    #[error(
        "spec.traffic.routes names the {route} twice: name it once, and leave sectionName out where several of its rules are split"
    )]
    DuplicateRoute {
        /// Second reference.
        route: RouteRef,
    },
    /// No steps.
    #[error("spec.steps is empty: write at least one step, like {{weight: 10, hold: 5m}}")]
    NoSteps,
    /// A step that is not exactly one kind.
    #[error(
        "spec.steps[{index}] is not exactly one of weight and approval: write {{weight: 10, hold: 5m}} or {{approval: {{}}}}"
    )]
    StepKind {
        /// Index of the step, from 0.
        index: usize,
    },
    /// A step with traffic and no hold.
    #[error(
        "spec.steps[{index}] has a weight above 0 and no hold: write hold: 5m, or hold: 0s for no minimum"
    )]
    NoHold {
        /// Index of the step, from 0.
        index: usize,
    },
    /// An approval before the first weight.
    #[error(
        "spec.steps begins with an approval, and there is nothing to approve yet: begin with a weight, like {{weight: 0}}"
    )]
    ApprovalFirst,
    /// Metadata that is Tidegate's own.
    #[error("spec.canary.metadata sets {key:?}, which is Tidegate's own: leave it out")]
    CanaryMetadata {
        /// The label or annotation.
        key: String,
    },
    /// Two gates of one name.
    #[error("two gates are named {name:?}: give each its own name")]
    DuplicateGate {
        /// The name.
        name: String,
    },
    /// A gate that cannot be.
    #[error("spec.gates, {name:?}: {error}")]
    Gate {
        /// The gate.
        name: String,
        /// Reason.
        error: GateError,
    },
}
