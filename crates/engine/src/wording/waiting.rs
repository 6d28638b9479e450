//! Conditions that a Rollout waits for.

use std::fmt;

use jiff::Timestamp;
use tidegate_api::Revision;

use super::{SUSPENDED, in_the_way, list, routes};
use crate::{
    readiness::problem::PodProblem,
    waiting::{
        EndpointsOwner, MissingForFinding, PinnedPods, RolloutPurpose, RouteChange, WaitingOn,
    },
};

const STABLE_PODS: &str = "waiting for stable pods to become ready: too few to take all traffic; fix \
     stable, commit another revision, or create an Abort Intervention, after which they are waited for \
     until progressDeadline and no longer";

const LEFTOVERS: &str = "putting right what an attempt of a deleted Rollout has left: its canary, pins \
     and pause go once the workload is ready";

impl fmt::Display for WaitingOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigRepo { workload } => {
                write!(f, "waiting for a ConfigRepo that manages {workload}")
            }
            Self::Workload { workload } => {
                write!(f, "waiting for {workload}: it does not exist")
            }
            Self::ScaleUp { workload } => write!(
                f,
                "waiting for {workload} to be scaled up: it has 0 replicas"
            ),
            Self::WorkloadRollout {
                workload,
                purpose,
                problem,
            } => {
                write!(f, "waiting for {workload} to {purpose}")?;
                because(f, problem.as_ref())
            }
            Self::WorkloadVersion { workload } => {
                write!(f, "waiting for the current version of {workload}")
            }
            Self::StableRevision { workload } => {
                write!(f, "waiting for {workload} to run its stable revision")
            }
            Self::EarlierCanary { canary } => write!(
                f,
                "waiting for {canary} of an earlier attempt to be removed"
            ),
            Self::Backoff { until } => write!(
                f,
                "waiting until {until:.0} to start the next attempt: the last one ended without a verdict on the \
                 revision"
            ),
            Self::RejectedRevision { times, until } => rejected(f, *times, *until),
            Self::Commit {
                revision,
                config_repos,
            } => commit(f, revision, config_repos),
            Self::Records { pending } => records(f, *pending),
            Self::Metrics { problem } => f.write_str(problem),
            Self::ServicesPinned { to } => write!(f, "pinning Services to {to}"),
            Self::CanaryPods {
                ready,
                needed,
                problem,
            } => canary_pods(f, *ready, *needed, problem.as_ref()),
            Self::CanaryEndpoint => f.write_str("waiting for a ready endpoint of the canary"),
            Self::EndpointsSettle { of } => write!(f, "waiting for {of} to stabilize"),
            Self::RouteAccepted {
                routes: names,
                change,
            } => {
                write!(f, "waiting for {} to be accepted {change}", routes(names))?;
                in_the_way(f, names)
            }
            Self::Resume => f.write_str("paused; create a Resume Intervention to continue"),
            Self::Suspension { revision } => suspension(f, revision.as_ref()),
            Self::Hold { step, of, until } => {
                write!(f, "holding step {step} of {of} until {until:.0}")
            }
            Self::Gate { step, of, name } => write!(
                f,
                "waiting for gate {name:?} to pass in step {step} of {of}"
            ),
            Self::Approval { rollout, step, of } => approval(f, rollout, *step, *of),
            Self::Restore { revision, cause } => restore(f, revision, cause),
            Self::StableReadiness { ready, needed } => stable_readiness(f, *ready, *needed),
            Self::Failover { back_at } => failover(f, *back_at),
            Self::StablePods => f.write_str(STABLE_PODS),
            Self::Leftovers => f.write_str(LEFTOVERS),
            Self::StableRollback => {
                f.write_str("waiting for the workload to roll back to the stable template")
            }
            Self::StableEndpoints => {
                f.write_str("waiting for Service endpoints to be stable pods only")
            }
            Self::Drain { until } => write!(
                f,
                "draining in-flight requests from the canary until {until:.0}"
            ),
            Self::ConfigWritten { config } => {
                write!(f, "waiting for {} to be written", list(config))
            }
            Self::CanaryRemoval => f.write_str("waiting for the canary to be removed"),
            Self::Unpinning => f.write_str("unpinning Services and resuming the workload"),
            Self::Finding {
                release,
                revision,
                missing,
            } => finding(f, *release, revision, missing),
        }
    }
}

fn commit(f: &mut fmt::Formatter<'_>, revision: &Revision, config_repos: &[String]) -> fmt::Result {
    write!(
        f,
        "looking for the commit that asks for revision {} in ConfigRepo {}",
        revision.short(),
        config_repos.join(", ")
    )
}

fn canary_pods(
    f: &mut fmt::Formatter<'_>,
    ready: u32,
    needed: u32,
    problem: Option<&PodProblem>,
) -> fmt::Result {
    write!(
        f,
        "waiting for canary pods to become ready: {ready} of {needed} ready"
    )?;
    because(f, problem)
}

fn stable_readiness(f: &mut fmt::Formatter<'_>, ready: u32, needed: u32) -> fmt::Result {
    write!(
        f,
        "waiting for stable pods to become ready again before the weight is raised: {ready} of {needed} \
         ready; fix stable, or create a Promote Intervention to go on without them"
    )
}

fn finding(
    f: &mut fmt::Formatter<'_>,
    release: u32,
    revision: &Revision,
    missing: &MissingForFinding,
) -> fmt::Result {
    let revision = revision.short();
    write!(f, "observing release {release}, of revision {revision}: ")?;
    match missing {
        MissingForFinding::Pods { problem } => {
            f.write_str("waiting for its pods")?;
            because(f, problem.as_ref())
        }
        MissingForFinding::Hold { until } => write!(f, "gates are read until {until:.0}"),
        MissingForFinding::Gate { gate } => write!(f, "waiting for gate {gate:?} to pass"),
    }
}

fn suspension(f: &mut fmt::Formatter<'_>, revision: Option<&Revision>) -> fmt::Result {
    match revision {
        Some(revision) => write!(f, "{SUSPENDED}; revision {} waits", revision.short()),
        None => f.write_str(SUSPENDED),
    }
}

fn records(f: &mut fmt::Formatter<'_>, pending: usize) -> fmt::Result {
    write!(
        f,
        "waiting for git to take {pending} records of earlier attempts; see the condition RecordsWritten of the \
         ConfigRepo, or create a Promote Intervention to release without waiting"
    )
}

fn rejected(f: &mut fmt::Formatter<'_>, times: u32, until: Timestamp) -> fmt::Result {
    write!(
        f,
        "waiting until {until:.0} to try the wanted revision again: it was rejected {times} times, and git \
         asks for it once more; stop what commits it, commit another, or create a Retry Intervention to try \
         it now"
    )
}

fn failover(f: &mut fmt::Formatter<'_>, back_at: Option<Timestamp>) -> fmt::Result {
    match back_at {
        Some(at) => write!(
            f,
            "failed over to the canary: stable is ready again and gets its share back at {at:.0}"
        ),
        None => f.write_str(
            "failed over to the canary: stable has too few ready pods to take its share; fix stable, \
             commit another revision, or create a Promote Intervention to go on without it",
        ),
    }
}

fn approval(f: &mut fmt::Formatter<'_>, rollout: &str, step: u32, of: u32) -> fmt::Result {
    write!(
        f,
        "waiting for approval of step {step} of {of}; run kubectl tidegate approve {rollout}, or create an \
         Intervention with the action Approve"
    )
}

fn restore(f: &mut fmt::Formatter<'_>, revision: &Revision, cause: &str) -> fmt::Result {
    write!(
        f,
        "revision {} was rolled back and all traffic is on stable: {cause}; Tidegate restores the last good \
         template in git",
        revision.short()
    )
}

fn because(f: &mut fmt::Formatter<'_>, problem: Option<&PodProblem>) -> fmt::Result {
    match problem {
        Some(problem) => write!(f, "; {problem}"),
        None => Ok(()),
    }
}

impl fmt::Display for RolloutPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstRevision => "become ready with its first revision",
            Self::Adoption => "finish its rolling update before it is adopted",
            Self::Attempt => "finish its rolling update: pods of another version are left",
            Self::Promotion => "become ready with the new template",
        })
    }
}

impl fmt::Display for PinnedPods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stable => "stable pods",
            Self::Canary => "canary pods",
            Self::Both => "stable and canary pods",
            Self::Promoted => "the promoted pods of the workload",
        })
    }
}

impl fmt::Display for EndpointsOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Canary => "canary endpoints",
            Self::Services => "Service endpoints",
            Self::Workload => "workload endpoints",
        })
    }
}

impl fmt::Display for RouteChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("by its gateways"),
            Self::CanaryBackend => f.write_str("with the canary backend"),
            Self::Weight(weight) => write!(f, "with weight {weight}"),
            Self::StableOnly => f.write_str("with all traffic on stable"),
        }
    }
}
