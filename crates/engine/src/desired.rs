//! What the world should look like in each stage of an attempt.

use tidegate_api::{
    record::Outcome,
    status::{Attempt, Stable, Stage},
};

use crate::{
    context::intended,
    decision::Pin,
    observed::Observed,
    plan::Plan,
    revision::{Digest, Revision},
    weight::Weight,
};

/// What the world should look like.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Desired {
    /// What the routes should say.
    pub(crate) split: Split,
    /// The pin of every Service, if any.
    pub(crate) pin: Option<Pin>,
    /// Whether the workload is paused.
    pub(crate) paused: bool,
    /// What the workload's template is.
    pub(crate) template: Template,
    /// What is to be of the canary.
    pub(crate) canary: CanaryTarget,
    /// The epoch that everything that carries traffic should be marked with.
    pub(crate) epoch: Option<u64>,
}

/// What the routes should say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// The canary is named and has this share.
    Share(Weight),
    /// The canary, where it is named, has this share.
    AtMost(Weight),
    /// The canary is not named.
    Merged,
    /// Whatever they say.
    AsIs,
}

/// What the workload's template is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Template {
    /// Stable's, by revision and `pod-template-hash`.
    Stable {
        /// The revision.
        revision: Revision,
        /// The hash of the ReplicaSet that runs it.
        hash: String,
    },
    /// The candidate's.
    Candidate {
        /// The revision.
        revision: Revision,
        /// What the canary was seen to run of it: what is let in is what was verified.
        verified: Option<Digest>,
    },
    /// Whatever it is.
    AsIs,
}

/// What is to be of the canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CanaryTarget {
    /// It runs this revision with so many replicas.
    Present {
        /// The revision.
        revision: Revision,
        /// How many replicas.
        replicas: u32,
    },
    /// It stays as it is.
    AsIs,
    /// It goes.
    Absent,
}

// === impl Target ===

impl Desired {
    /// What the world should look like at this point of an attempt.
    pub(crate) fn of(
        attempt: &Attempt,
        plan: &Plan,
        observed: &Observed,
        stable: Option<&Stable>,
    ) -> Self {
        let Some(stable) = stable else {
            return Self::first_deploy();
        };
        let weight = intended(attempt);
        let epoch = Some(attempt.epoch);
        let pinned = Some(Pin::Hash(stable.pod_template_hash.clone()));
        let old = Template::Stable {
            revision: Revision::named(&stable.revision),
            hash: stable.pod_template_hash.clone(),
        };
        let new = Template::Candidate {
            revision: Revision::named(&attempt.revision),
            verified: observed.canary.as_ref().map(|canary| canary.template),
        };
        let canary = canary(attempt, plan, observed);
        let at_stable = Self {
            split: Split::Merged,
            pin: pinned.clone(),
            paused: true,
            template: old.clone(),
            canary: CanaryTarget::Absent,
            epoch,
        };
        match attempt.stage {
            Stage::Initial => Self::first_deploy(),
            Stage::Starting | Stage::Stepping => Self {
                split: Split::Share(weight),
                canary,
                ..at_stable
            },
            Stage::PinningToCanary => Self {
                split: Split::Share(weight),
                pin: Some(Pin::Canary),
                canary,
                ..at_stable
            },
            Stage::UpdatingStable => Self {
                split: Split::Share(weight),
                pin: Some(Pin::Canary),
                paused: false,
                template: new,
                canary,
                epoch,
            },
            Stage::PinningToStable | Stage::ShiftingToStable => Self {
                split: Split::Share(weight),
                pin: attempt.promoted_pod_template_hash.clone().map(Pin::Hash),
                paused: true,
                template: new,
                canary,
                epoch,
            },
            Stage::RollingBack if attempt.stable_template_updated => Self {
                split: Split::AtMost(weight),
                pin: Some(pin_back(stable, observed)),
                paused: false,
                canary: CanaryTarget::AsIs,
                ..at_stable
            },
            Stage::RollingBack => Self {
                split: Split::AtMost(weight),
                // Callers that were sent to the canary stay there until stable can serve them.
                pin: Some(if observed.pinned_to_canary() {
                    pin_back(stable, observed)
                } else {
                    Pin::Hash(stable.pod_template_hash.clone())
                }),
                canary: CanaryTarget::AsIs,
                ..at_stable
            },
            Stage::Draining if promoting(attempt) => Self {
                split: Split::AtMost(Weight::ZERO),
                pin: attempt.promoted_pod_template_hash.clone().map(Pin::Hash),
                template: new,
                canary: CanaryTarget::AsIs,
                ..at_stable
            },
            Stage::Draining => Self {
                split: Split::AtMost(Weight::ZERO),
                canary: CanaryTarget::AsIs,
                ..at_stable
            },
            // A revision that was promoted is stable's by the time its canary goes.
            Stage::Pinning | Stage::RemovingCanary => at_stable,
            Stage::Unpinning => Self {
                pin: None,
                paused: false,
                epoch: None,
                ..at_stable
            },
        }
    }

    /// A first deploy holds nothing: the template is git's.
    fn first_deploy() -> Self {
        Self {
            split: Split::AsIs,
            pin: None,
            paused: false,
            template: Template::AsIs,
            canary: CanaryTarget::AsIs,
            epoch: None,
        }
    }
}

/// Whether the attempt is on its way to promotion.
fn promoting(attempt: &Attempt) -> bool {
    attempt
        .ending
        .as_ref()
        .is_none_or(|ending| ending.outcome == Outcome::Promoted)
}

/// The canary in its step. While it is promoted it has as many replicas as stable.
fn canary(attempt: &Attempt, plan: &Plan, observed: &Observed) -> CanaryTarget {
    let Some(workload) = &observed.workload else {
        return CanaryTarget::AsIs;
    };
    let number = if attempt.shortcut.is_some() {
        plan.last_step()
    } else {
        attempt.step.max(1)
    };
    let Some(step) = plan.step(number) else {
        return CanaryTarget::AsIs;
    };
    CanaryTarget::Present {
        revision: Revision::named(&attempt.revision),
        replicas: step.canary_replicas(workload.replicas),
    }
}

/// The pin while a template that was let in is taken out again: to stable's old ReplicaSet as soon
/// as it has a ready pod, until then to the canary, and where that is lost to whatever is ready of
/// the workload: it was verified, and callers have nowhere else to go.
fn pin_back(stable: &Stable, observed: &Observed) -> Pin {
    let sets = || {
        observed
            .workload
            .iter()
            .flat_map(|workload| &workload.replica_sets)
            .filter(|set| set.ready > 0)
    };
    let is_back = sets().any(|set| set.hash == stable.pod_template_hash);
    let last_resort = sets().max_by_key(|set| set.ready);
    match last_resort {
        _ if is_back => Pin::Hash(stable.pod_template_hash.clone()),
        _ if observed.canary_endpoints.ready > 0 => Pin::Canary,
        Some(set) => Pin::Hash(set.hash.clone()),
        None => Pin::Hash(stable.pod_template_hash.clone()),
    }
}
