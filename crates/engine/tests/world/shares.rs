//! Shares of replicas, as the invariants see them: each Service is a route of its own.

use tidegate_engine::{invariants::RouteSeen, pin::Pin, weight::Weight};

use crate::{cluster::Service, world::World};

/// Number of the Services that are there from the beginning.
const FROM_THE_BEGINNING: usize = 2;

// === impl World ===

impl World {
    /// Returns true if replicas split traffic, and not routes.
    pub(crate) fn splits_by_replicas(&self) -> bool {
        let Some(rollout) = &self.rollout else {
            return false;
        };
        let attempt = rollout.status.attempt.as_ref();
        let spec = attempt.map_or(&rollout.spec, |attempt| &attempt.plan);
        spec.splits_by_replicas()
    }

    /// Returns true if nobody calls the workload.
    pub(crate) fn is_without_service(&self) -> bool {
        let Some(rollout) = &self.rollout else {
            return self.live.is_uncalled;
        };
        let attempt = rollout.status.attempt.as_ref();
        let spec = attempt.map_or(&rollout.spec, |attempt| &attempt.plan);
        spec.is_without_service()
    }

    /// The canary's share of the callers of each Service. One that has come in a step has no history of
    /// weights.
    pub(crate) fn shares_seen(&self) -> Vec<RouteSeen> {
        let seen = |service: &Service| {
            let canary = self.share_by(service.pin.as_ref());
            RouteSeen {
                name: service.name.to_owned(),
                stable: Weight::from_hundredths(Weight::FULL.hundredths() - canary.hundredths()),
                canary,
                split: canary > Weight::ZERO,
                epoch: None,
            }
        };
        self.live
            .services
            .iter()
            .take(FROM_THE_BEGINNING)
            .filter(|service| service.epoch.is_some() || service.pin.is_some() || !service.spans)
            .map(seen)
            .collect()
    }

    /// Number of the canary's ready pods: its endpoints, where it has a Service.
    pub(crate) fn ready_of_canary(&self) -> u32 {
        if self.is_without_service() {
            let sets = self.live.canary.iter().flat_map(|canary| &canary.sets);
            return sets.map(|set| set.ready(self.now)).sum();
        }
        self.live.canary_endpoints.ready()
    }

    /// The canary's share of the work, as it is intended, if any pod of it is to run.
    pub(crate) fn work_share(&self) -> Weight {
        let canary = self.live.canary.as_ref();
        if canary.is_none_or(|canary| canary.replicas == 0) {
            return Weight::ZERO;
        }
        self.intended_share()
    }

    /// Number of ready pods for the share that stable has: where the Service selects both versions, those of the
    /// workload.
    pub(crate) fn ready_for_stables_share(&self) -> u32 {
        let live = &self.live;
        if self.is_without_service() {
            return live.ready_of_workload(self.now);
        }
        let mut services = live.services.iter();
        let is_open = services.next().is_some_and(|service| service.pin.is_none())
            && live.canary_endpoints.ready() > 0;
        if self.splits_by_replicas() && is_open {
            self.live.ready_of_workload(self.now)
        } else {
            self.live.stable_endpoints.ready()
        }
    }

    /// The share that a pin gives the canary. Without one, whoever is ready shares.
    fn share_by(&self, pin: Option<&Pin>) -> Weight {
        let live = &self.live;
        let is_there = live.canary.as_ref().is_some_and(|canary| canary.pods() > 0);
        match pin {
            Some(Pin::Version(_)) => Weight::ZERO,
            Some(Pin::Canary) => Weight::FULL,
            None if !is_there || live.canary_endpoints.ready() == 0 => Weight::ZERO,
            None if live.ready_of_workload(self.now) == 0 => Weight::FULL,
            None => self.intended_share(),
        }
    }

    /// The share that the canary's pods are to have: the newest that is neither nothing nor everything.
    fn intended_share(&self) -> Weight {
        let status = self.status();
        let attempt = status.attempt.as_ref();
        let now = attempt.map(|attempt| attempt.weight);
        let steps = attempt
            .into_iter()
            .flat_map(|attempt| attempt.steps.iter().rev());
        let mut intended = now.into_iter().chain(steps.map(|step| step.weight));
        let is_share = |weight: &Weight| *weight > Weight::ZERO && *weight < Weight::FULL;
        intended
            .find(is_share)
            .unwrap_or_else(|| Weight::from_hundredths(100))
    }
}
