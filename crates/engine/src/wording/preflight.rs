//! Obstacles, stalls and warnings: each ends with its remedy.

use std::fmt;

use tidegate_api::workload::WorkloadRef;

use crate::{
    observed::WorkloadObstacle,
    preflight::{Obstacle, ShareOutOfReach, warnings::Warning},
    stall::Stall,
};

/// Other remedy for a Service that callers need not use.
const OR_UNPINNED: &str =
    ", or the annotation tidegate.io/pin: Disabled if it may reach the canary's pods";

/// Remedy where no Service is missing.
const OR_WITHOUT: &str =
    ", or write traffic: {replicas: {service: None}} if nobody calls the workload";

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidSpec(error) => error.fmt(f),
            Self::PreflightFailed(obstacle) => obstacle.fmt(f),
            Self::InvalidQuery {
                problem,
                revision,
                attempt,
            } => write!(
                f,
                "{problem}; or create a Promote Intervention for attempt {attempt} and revision {} to \
                 release it without its gates' data",
                revision.short()
            ),
            Self::Inconclusive {
                revision,
                tries,
                attempt,
                cause,
            } => write!(
                f,
                "{tries} attempts of revision {} ended without a finding, the last because {cause}; have \
                 its gates read, and create a Retry Intervention for attempt {attempt}, or a Promote \
                 Intervention for attempt {} to release it without",
                revision.short(),
                attempt + 1
            ),
            Self::WriteDenied { denial } => f.write_str(denial),
            Self::RevisionRejected {
                rollout,
                revision,
                attempt,
                cause,
            } => write!(
                f,
                "revision {} was rejected and all traffic is on stable: {cause}; commit another template, or \
                 run kubectl tidegate retry {rollout} (an Intervention with the action Retry for attempt \
                 {attempt})",
                revision.short()
            ),
            Self::RevisionLost { revision } => write!(
                f,
                "the ControllerRevision of stable revision {} is lost, and no version of the workload \
                 has its template: it cannot be reverted to; commit the template again",
                revision.short()
            ),
            Self::InitialFailed { cause } => {
                write!(f, "the first revision failed: {cause}; commit another")
            }
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoutesUnlisted { kind } => write!(
                f,
                "{kind}s cannot be listed; install the CRD {plural}.{group}, or grant Tidegate list and \
                 watch on {plural}",
                plural = kind.plural(),
                group = kind.group()
            ),
            Self::OwnershipConflict { others, rollout } => write!(
                f,
                "Rollout {} names the same workload or Service as {rollout}; let one of them govern \
                 it",
                others.join(", ")
            ),
            Self::WorkloadNotReleasable { workload, obstacle } => {
                not_releasable(f, workload, obstacle)
            }
            Self::WorkloadPaused { workload } => write!(
                f,
                "{workload} is paused by someone else; resume it (kubectl rollout resume \
                 {})",
                workload.kubectl_name()
            ),
            Self::NotParallel { workload, blockers } => write!(
                f,
                "two versions of {workload} cannot run at the same time: it has {}; set \
                 allowParallel: true if they can",
                blockers.join(" and ")
            ),
            Self::CanaryNameConflict { canary } => write!(
                f,
                "a {} or Service named {} exists and is not managed by Tidegate; rename \
                 it, or the Rollout",
                canary.kind, canary.name
            ),
            Self::ServiceMissing {
                service,
                is_by_replicas,
            } => missing(f, service, *is_by_replicas),
            Self::ServiceUnwanted { service, workload } => unwanted(f, service, workload),
            Self::ServiceWithoutSelector { service } => write!(
                f,
                "Service {service} has no selector, so it cannot be pinned to pods; give it one"
            ),
            Self::ServiceSelectsOthers { service, workload } => write!(
                f,
                "Service {service} does not select the pods of {workload}; make its \
                 selector match their labels"
            ),
            Self::ServiceOverlap {
                service,
                other,
                workload,
                is_callers,
            } => write!(
                f,
                "Service {service} selects {other} as well as those of {workload}; give it \
                 a selector that matches one of them{}",
                if *is_callers { "" } else { OR_UNPINNED }
            ),
            Self::LabelsLost { service, workload } => write!(
                f,
                "the labels of the new template do not match the selector of Service {service}; keep \
                 the labels of {workload}"
            ),
            Self::ServiceChangesWithTemplate { service, fields } => write!(
                f,
                "git changes the {fields} of Service {service} together with the template, so the pods \
                 of one version could not be reached; change one of them at a time, and let targetPort \
                 name the container's port where its number changes"
            ),
            Self::ShareOutOfReach(share) => share.fmt(f),
            Self::RouteMissing { route } => write!(
                f,
                "{route} does not exist; create it, or name another in spec.traffic"
            ),
            Self::RouteNotSplittable { route, obstacle } => {
                write!(f, "{route} cannot be split: {obstacle}")
            }
            Self::CanaryDenied {
                object,
                denial,
                revision,
                attempt,
            } => write!(
                f,
                "the API server would deny {object}: {denial}; raise the quota or change the policy, or add \
                 the labels that it asks for to spec.canary.metadata; or create a Promote Intervention for \
                 attempt {attempt} and revision {} to try it all the same",
                revision.short()
            ),
            Self::TemplateDenied { denial } => {
                write!(f, "the API server denies the new template: {denial}")
            }
        }
    }
}

fn missing(f: &mut fmt::Formatter<'_>, service: &str, is_by_replicas: bool) -> fmt::Result {
    let otherwise = if is_by_replicas { OR_WITHOUT } else { "" };
    write!(
        f,
        "Service {service} does not exist; create it, or name another in spec.service{otherwise}"
    )
}

fn unwanted(f: &mut fmt::Formatter<'_>, service: &str, workload: &WorkloadRef) -> fmt::Result {
    write!(
        f,
        "Service {service} selects the pods of {workload}, and traffic.replicas.service says None: callers \
         would reach the canary; write traffic: {{replicas: {{}}}} to have Services share them{OR_UNPINNED}"
    )
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AutoscalerByValue {
                autoscaler,
                workload,
            } => write!(
                f,
                "HorizontalPodAutoscaler {autoscaler} scales {workload} by a Value metric, \
                 which counts the canary's load as well; use AverageValue or a resource metric"
            ),
            Self::AutoscalerByService {
                autoscaler,
                workload,
                service,
                canary,
            } => write!(
                f,
                "HorizontalPodAutoscaler {autoscaler} scales {workload} by what Service {service} alone gets: \
                 it scales stable down while the canary has the traffic, and all of it goes to what is left \
                 after the promotion; have it count Service {canary}, too"
            ),
            Self::SharedDisruptionBudget { budget, workload } => write!(
                f,
                "PodDisruptionBudget {budget} counts canary pods with those of {workload}; \
                 a drain may evict stable pods while the canary's are there"
            ),
            Self::PolicyWithoutCanary {
                policy,
                service,
                canary,
            } => write!(
                f,
                "{policy} names Service {service}, and the canary is reached without it; have it name \
                 {canary} as well"
            ),
            Self::UnsplitRoute { route, service } => write!(
                f,
                "{route} sends traffic to Service {service} and is not in spec.traffic: it reaches no canary, \
                 and goes to the new revision at once when that is promoted; name it there"
            ),
            Self::UnknownPinSetting { service, value } => write!(
                f,
                "Service {service} is pinned: its annotation tidegate.io/pin is {value:?}, and Disabled alone \
                 exempts it"
            ),
            Self::UnexemptService { service } => write!(
                f,
                "Service {service} is pinned despite its annotation tidegate.io/pin: it is the one that the \
                 Rollout names"
            ),
            Self::RatioWithoutRequests { gate } => write!(
                f,
                "gate {gate:?}: at low traffic a single failed request can breach it; set its `requests` (a query \
                 for the number of requests), with which a breach has to be significant"
            ),
            Self::AntiAffinity { workload } => write!(
                f,
                "the pods of {workload} must not share a node, so the canary needs nodes of \
                 its own"
            ),
        }
    }
}

fn not_releasable(
    f: &mut fmt::Formatter<'_>,
    workload: &WorkloadRef,
    obstacle: &WorkloadObstacle,
) -> fmt::Result {
    match obstacle {
        WorkloadObstacle::NameTooLong { max } => write!(
            f,
            "the name of {workload} has more than {max} characters, so Kubernetes cuts the names of its pods; \
             shorten it"
        ),
        WorkloadObstacle::NoRevisionHistory => write!(
            f,
            "{workload} has revisionHistoryLimit: 0, so that scaled to 0 and back it would have no pod while it \
             is paused; give it 1 or more"
        ),
        WorkloadObstacle::PausedBy { manager } => write!(
            f,
            "{workload} is paused by {manager}, and would stay so whatever Tidegate does; take spec.paused out of \
             what it applies, or run kubectl rollout resume {}",
            workload.kubectl_name()
        ),
    }
}

impl fmt::Display for ShareOutOfReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            workload,
            replicas,
            step,
            weight,
            nearest,
            needed,
        } = self;
        write!(
            f,
            "step {step} has the weight {weight}, and beside the {replicas} replicas of {workload} the canary \
             would have {nearest}; write weight: {nearest}, or give it at least {needed} replicas"
        )
    }
}
