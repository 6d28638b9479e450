//! Desired state of the cluster in each stage of an attempt.

use jiff::Timestamp;
use tidegate_api::{
    Revision,
    record::Outcome,
    status::{Attempt, Stable, Stage},
    workload::VersionId,
};

use crate::{
    observed::{Brake, Observed, replica_shares::pin_of_share},
    pin::Pin,
    plan::{Plan, working_replicas},
    released_config,
    revision::Digest,
    suspension,
    weight::Weight,
};

/// Desired state of the cluster.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each with its own name"
)]
pub(crate) struct Desired {
    /// Desired state of the routes.
    pub(crate) split: Split,
    /// The pin of every Service, if any.
    pub(crate) pin: Option<Pin>,
    /// True if a Service that is pinned to the canary stays so.
    pub(crate) canary_keeps_callers: bool,
    /// True if the workload is paused.
    pub(crate) paused: bool,
    /// True if it is held for as long as it is paused.
    pub(crate) held: bool,
    /// Desired template of the workload.
    pub(crate) template: Template,
    /// Revision whose config stable's pods are to read, where an attempt has touched it.
    pub(crate) config: Option<Revision>,
    /// True if no pod of another version than stable's is to be left in the workload.
    pub(crate) stable_alone: bool,
    /// Desired state of the canary.
    pub(crate) canary: CanaryTarget,
    /// The epoch that everything that carries traffic should be marked with.
    pub(crate) epoch: Option<u64>,
}

/// Desired state of the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// The canary is named and has this share.
    Share(Weight),
    /// The canary is named and has this share, or a lesser one that it has now.
    NoMore(Weight),
    /// The canary, where it is named, has this share.
    AtMost(Weight),
    /// The canary is not named.
    Merged,
    /// Whatever they say.
    AsIs,
}

/// Desired template of the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Template {
    /// Stable's, by revision and version.
    Stable {
        /// The revision.
        revision: Revision,
        /// Version of the workload that runs it.
        version: VersionId,
    },
    /// The candidate's.
    Candidate {
        /// The revision.
        revision: Revision,
        /// Digest that the canary was seen to run: stable gets what was verified.
        verified: Option<Digest>,
    },
    /// Whatever it is.
    AsIs,
}

/// Desired state of the canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CanaryTarget {
    /// It runs this revision with so many replicas.
    Present {
        /// The revision.
        revision: Revision,
        /// Number of replicas.
        replicas: u32,
    },
    /// It stays as it is.
    AsIs,
    /// It goes.
    Absent {
        /// Time until which one of its pods is retained for inspection.
        retain_until: Option<Timestamp>,
    },
}

// === impl Desired ===

impl Desired {
    /// Returns the desired state at this point of an attempt.
    pub(crate) fn of(
        attempt: &Attempt,
        plan: &Plan,
        observed: &Observed,
        stable: Option<&Stable>,
    ) -> Self {
        let Some(stable) = stable else {
            return Self::first_deploy();
        };
        let at_stable = Self::at_stable(stable, attempt, observed);
        let beside_stable = Self {
            split: Split::Share(attempt.weight),
            pin: stepping_pin(attempt, plan, stable),
            canary: canary(attempt, plan, observed),
            ..at_stable.clone()
        };
        let at_candidate = beside_stable.clone().at_candidate(attempt, observed);
        let back_at_stable = at_stable.clone().back_at_stable(attempt, stable, observed);
        match attempt.stage {
            Stage::Initial => Self::first_deploy(),
            Stage::Starting | Stage::Stepping => beside_stable.held_back(attempt, observed),
            // Suspended, no further Service moves, and none goes back: stable may have nobody to take its callers.
            Stage::PinningToCanary if suspension::holds_back(attempt, observed) => Self {
                canary_keeps_callers: true,
                ..beside_stable.held_back(attempt, observed)
            },
            Stage::PinningToCanary => Self {
                pin: Some(Pin::Canary),
                ..beside_stable
            },
            Stage::UpdatingStable => Self {
                pin: Some(Pin::Canary),
                paused: false,
                ..at_candidate
            },
            Stage::PinningToStable => Self {
                pin: promoted_pin(attempt, observed),
                ..at_candidate
            },
            // A write that was denied for a while goes out late.
            Stage::ShiftingToStable if is_nobody_there(observed) => Self {
                split: Split::AsIs,
                ..at_candidate
            },
            Stage::ShiftingToStable => at_candidate,
            Stage::RollingBack => Self {
                split: Split::AtMost(attempt.weight),
                pin: rollback_pin(attempt, plan, stable, observed),
                paused: !attempt.stable_template_updated,
                stable_alone: attempt.stable_template_updated
                    && plan.is_without_service()
                    && !others_are_needed(attempt, stable, observed),
                canary: canary_that_goes(attempt, plan, observed),
                ..at_stable
            },
            Stage::Draining if !attempt.has_failed() => Self {
                split: Split::AtMost(Weight::ZERO),
                canary: canary_that_goes(attempt, plan, observed),
                ..at_candidate
            },
            Stage::Draining => Self {
                split: Split::AtMost(Weight::ZERO),
                canary: canary_that_goes(attempt, plan, observed),
                ..back_at_stable
            },
            // A revision that was promoted is stable's by the time its canary goes.
            Stage::RemovingCanary if attempt.has_failed() => Self {
                canary: CanaryTarget::Absent {
                    retain_until: retain_until(attempt, plan, observed),
                },
                ..back_at_stable
            },
            Stage::Pinning | Stage::RemovingCanary => at_stable,
            Stage::Unpinning => Self {
                pin: None,
                // One that is still rolling is held at rest, once it has.
                paused: at_stable.held && observed.is_paused(),
                epoch: None,
                ..at_stable
            },
        }
    }

    /// All traffic is pinned to stable, and there is no canary.
    fn at_stable(stable: &Stable, attempt: &Attempt, observed: &Observed) -> Self {
        Self {
            split: Split::Merged,
            pin: Some(Pin::Version(stable.pod_template_hash.clone())),
            canary_keeps_callers: false,
            paused: true,
            held: observed.brake == Brake::Pause,
            template: Template::Stable {
                revision: stable.revision.clone(),
                version: stable.pod_template_hash.clone(),
            },
            config: released_config::in_force(attempt, stable).cloned(),
            stable_alone: false,
            canary: CanaryTarget::Absent { retain_until: None },
            epoch: Some(attempt.epoch),
        }
    }

    /// The canary gets no more than it has while the Rollout is suspended, but for a stable that is down.
    fn held_back(self, attempt: &Attempt, observed: &Observed) -> Self {
        if suspension::holds_back(attempt, observed) && attempt.failover().is_none() {
            return Self {
                split: Split::NoMore(attempt.weight),
                canary_keeps_callers: self.pin == Some(Pin::Canary),
                ..self
            };
        }
        self
    }

    /// The workload has the candidate's template, and callers are pinned to the version that runs it.
    fn at_candidate(self, attempt: &Attempt, observed: &Observed) -> Self {
        Self {
            pin: attempt.promoted_pod_template_hash.clone().map(Pin::Version),
            template: Template::Candidate {
                revision: attempt.revision.clone(),
                verified: observed.canary.as_ref().map(|canary| canary.template),
            },
            ..self
        }
    }

    /// The attempt has failed. Where stable's template was put back, the workload goes on rolling to it, and
    /// what is left of the other one goes, unless callers have nobody else.
    fn back_at_stable(self, attempt: &Attempt, stable: &Stable, observed: &Observed) -> Self {
        let are_others_needed = others_are_needed(attempt, stable, observed);
        let pin = if are_others_needed {
            Some(pin_in_workload(attempt, stable, observed))
        } else {
            self.pin
        };
        Self {
            pin,
            paused: !attempt.stable_template_updated,
            stable_alone: attempt.stable_template_updated && !are_others_needed,
            ..self
        }
    }

    /// A first deploy holds nothing: the template is git's.
    fn first_deploy() -> Self {
        Self {
            split: Split::AsIs,
            pin: None,
            canary_keeps_callers: false,
            paused: false,
            held: false,
            template: Template::AsIs,
            config: None,
            stable_alone: false,
            canary: CanaryTarget::AsIs,
            epoch: None,
        }
    }
}

/// Returns the time until which a pod of the canary that failed is retained, if it is wanted.
fn retain_until(attempt: &Attempt, plan: &Plan, observed: &Observed) -> Option<Timestamp> {
    let failed = attempt
        .ending
        .as_ref()
        .is_some_and(|ending| ending.outcome != Outcome::Superseded);
    if !failed || observed.is_deleting() || plan.keep_failed.is_zero() {
        return None;
    }
    attempt.stage_since.checked_add(plan.keep_failed).ok()
}

/// Returns true if callers need the pods of the template that stable's has replaced again: too few of stable's own
/// are ready, and it was verified and has not breached since, or nobody else will ever be there.
pub(crate) fn others_are_needed(attempt: &Attempt, stable: &Stable, observed: &Observed) -> bool {
    let is_lost = observed.is_lost_for_good(&stable.pod_template_hash);
    attempt.stable_template_updated
        && (is_lost || !attempt.is_breached())
        && !observed.enough_of_stable()
        && (is_lost || !observed.is_without_service())
}

/// The canary while its share goes: drained as it is, or without a pod where pods are what its share is of.
fn canary_that_goes(attempt: &Attempt, plan: &Plan, observed: &Observed) -> CanaryTarget {
    if plan.is_without_service() && observed.canary.is_some() {
        CanaryTarget::Present {
            revision: attempt.revision.clone(),
            replicas: 0,
        }
    } else {
        CanaryTarget::AsIs
    }
}

/// The canary of a workload that nobody calls: as many pods as make the share that it has, and no more than it has
/// now while the Rollout is suspended.
fn working_canary(attempt: &Attempt, stable: u32, observed: &Observed) -> CanaryTarget {
    let wanted = working_replicas(attempt.weight, stable);
    let canary = observed.canary.as_ref();
    let now = canary.map_or(0, |canary| canary.replicas);
    CanaryTarget::Present {
        revision: attempt.revision.clone(),
        replicas: if suspension::holds_back(attempt, observed) {
            wanted.min(now)
        } else {
            wanted
        },
    }
}

/// The canary in its step. While it is promoted it has all the replicas that it is sized for, and no fewer
/// once it has stood in for stable.
fn canary(attempt: &Attempt, plan: &Plan, observed: &Observed) -> CanaryTarget {
    let Some(stable) = attempt.sized_for.filter(|_| observed.workload.is_some()) else {
        return CanaryTarget::AsIs;
    };
    if plan.is_without_service() {
        return working_canary(attempt, stable, observed);
    }
    let entered = plan.next_stop(attempt.shortcut, attempt.step.max(1));
    let number = step_of_share(attempt, plan, observed).unwrap_or(entered);
    let Some(step) = plan.step(number) else {
        return CanaryTarget::AsIs;
    };
    CanaryTarget::Present {
        revision: attempt.revision.clone(),
        replicas: plan
            .canary_replicas(step, stable)
            .max(attempt.min_canary_replicas),
    }
}

/// Returns the number of the step that has the canary's share, where the Rollout is suspended and each further pod
/// of the canary would raise it.
fn step_of_share(attempt: &Attempt, plan: &Plan, observed: &Observed) -> Option<u32> {
    if !plan.splits_by_replicas() || !suspension::holds_back(attempt, observed) {
        return None;
    }
    let has_share = |number: &u32| {
        let step = plan.step(*number);
        step.is_some_and(|step| step.weight <= attempt.weight)
    };
    (1..=attempt.step).rev().find(has_share)
}

/// The pin once the workload runs the verified template: to its pods, unless so few of them are left that the canary
/// serves callers better. Those that are over stay as long as anybody serves them.
fn promoted_pin(attempt: &Attempt, observed: &Observed) -> Option<Pin> {
    let version = attempt.promoted_pod_template_hash.clone()?;
    let workload = observed.workload.as_ref();
    let ready = workload.map_or(0, |workload| workload.ready_of(&version));
    let is_enough = !wants_pods(observed) || workload.is_some_and(|one| one.is_enough(ready));
    let promoted = Some(Pin::Version(version));
    let mut pinned = observed.pinned_services();
    let are_over = pinned.all(|service| service.pin() == promoted);
    if is_enough || are_over && ready > 0 || observed.canary_endpoints.ready == 0 {
        promoted
    } else {
        Some(Pin::Canary)
    }
}

/// Returns true if callers would reach nobody by the Service, and somebody by the canary's, though the workload wants pods.
fn is_nobody_there(observed: &Observed) -> bool {
    wants_pods(observed)
        && observed.stable_endpoints.ready == 0
        && observed.canary_endpoints.ready > 0
}

/// Returns false for a workload that is gone, or scaled to zero by intention.
fn wants_pods(observed: &Observed) -> bool {
    let workload = observed.workload.as_ref();
    workload.is_some_and(|workload| workload.replicas > 0)
}

/// The pin in the steps. Where routes split traffic, callers of the Services stay on stable, unless it is down.
fn stepping_pin(attempt: &Attempt, plan: &Plan, stable: &Stable) -> Option<Pin> {
    if plan.splits_by_replicas() {
        pin_of_share(attempt.weight, &stable.pod_template_hash)
    } else if attempt.is_failed_over() {
        Some(Pin::Canary)
    } else {
        Some(Pin::Version(stable.pod_template_hash.clone()))
    }
}

/// The pin while an attempt rolls back. Callers that were sent to the canary stay there until stable
/// can serve them.
fn rollback_pin(
    attempt: &Attempt,
    plan: &Plan,
    stable: &Stable,
    observed: &Observed,
) -> Option<Pin> {
    let stays_on_canary = observed.pinned_to_canary()
        && observed.canary_endpoints.ready > 0
        && observed.ready_of_stable() == 0;
    if attempt.stable_template_updated {
        Some(pin_back(attempt, stable, observed))
    } else if plan.splits_by_replicas() {
        pin_of_share(attempt.weight, &stable.pod_template_hash)
    } else if stays_on_canary && attempt.weight > Weight::ZERO {
        Some(Pin::Canary)
    } else {
        Some(Pin::Version(stable.pod_template_hash.clone()))
    }
}

/// The pin while callers are on their way back to stable: to its version as soon as enough of its pods
/// are ready, until then to the canary. Where that is lost, the workload has to do.
fn pin_back(attempt: &Attempt, stable: &Stable, observed: &Observed) -> Pin {
    let workload = observed.workload.as_ref();
    let is_enough =
        workload.is_some_and(|workload| workload.has_enough_of(&stable.pod_template_hash));
    if observed.canary_endpoints.ready > 0 && !is_enough {
        return Pin::Canary;
    }
    pin_in_workload(attempt, stable, observed)
}

/// The pin to stable's version where enough of its pods are ready. Until then it is the verified version's,
/// if that has more of them, and where stable has none, that of the version with the most: callers have
/// nowhere else to go.
fn pin_in_workload(attempt: &Attempt, stable: &Stable, observed: &Observed) -> Pin {
    let to_stable = Pin::Version(stable.pod_template_hash.clone());
    let Some(workload) = &observed.workload else {
        return to_stable;
    };
    let of_stable = workload.ready_of(&stable.pod_template_hash);
    // Callers that are back stay, whatever the counts do, as long as anybody serves them.
    let mut pinned = observed.pinned_services();
    let are_back = pinned.all(|service| service.pin().as_ref() == Some(&to_stable));
    if workload.is_enough(of_stable) || are_back && of_stable > 0 {
        return to_stable;
    }
    let verified = observed.canary.as_ref().map(|canary| canary.template);
    let promoted = attempt.promoted_pod_template_hash.as_ref();
    let others = workload.versions.iter().filter(|version| {
        let has_passed = promoted == Some(&version.id) || verified == Some(version.template);
        let is_verified = has_passed && attempt.stable_template_updated && !attempt.is_breached();
        version.ready > of_stable && (of_stable == 0 || is_verified)
    });
    let best = others.max_by_key(|version| version.ready);
    best.map_or(to_stable, |version| Pin::Version(version.id.clone()))
}
