//! Shares of replicas: without a route, what a Service selects is what splits traffic. Pinned to stable it
//! sends the canary nothing, pinned to the canary everything, and unpinned to each pod alike.

use tidegate_api::workload::VersionId;

use super::{Observed, Service, Workload};
use crate::{pin::Pin, weight::Weight};

/// Returns the pin with which a Service gives the canary this share; `None` where it selects both versions.
pub(crate) fn pin_of_share(weight: Weight, stable: &VersionId) -> Option<Pin> {
    if weight == Weight::ZERO {
        Some(Pin::Version(stable.clone()))
    } else if weight == Weight::FULL {
        Some(Pin::Canary)
    } else {
        None
    }
}

// === impl Observed ===

impl Observed {
    /// Returns true if traffic is split by shares of replicas: by the plan of the attempt that runs, and at rest
    /// by the spec.
    pub(crate) fn splits_by_replicas(&self) -> bool {
        let attempt = self.status.attempt.as_ref();
        let spec = attempt.map_or(&self.spec, |attempt| &attempt.plan);
        spec.splits_by_replicas()
    }

    /// Returns true if nobody calls the workload: by the plan of the attempt that runs, and at rest by the spec.
    pub(crate) fn is_without_service(&self) -> bool {
        let attempt = self.status.attempt.as_ref();
        let spec = attempt.map_or(&self.spec, |attempt| &attempt.plan);
        spec.is_without_service()
    }

    /// Returns true if any Service sends its callers to pods of both versions.
    pub(crate) fn is_open_to_both(&self) -> bool {
        let mut pinned = self.pinned_services();
        self.splits_by_replicas() && pinned.any(|service| service.pin().is_none())
    }

    /// Returns true if any Service keeps the canary's pods out.
    pub(crate) fn is_kept_to_stable(&self) -> bool {
        let mut pinned = self.pinned_services();
        pinned.any(Service::keeps_the_canary_out)
    }

    /// Returns true if Tidegate was the last to keep the canary's pods out of a Service.
    pub(crate) fn was_taken_back(&self) -> bool {
        let mut pinned = self.pinned_services();
        pinned.any(|service| {
            let is_ours = service.epoch.is_some() && service.manager.is_none();
            is_ours && service.keeps_the_canary_out()
        })
    }

    /// Returns true if no Service sends anybody to the canary, or a route does that.
    pub(crate) fn services_keep_the_canary_out(&self) -> bool {
        let mut pinned = self.pinned_services();
        !self.splits_by_replicas() || pinned.all(Service::keeps_the_canary_out)
    }

    /// Returns true if every Service gives the canary this share, and the endpoints of the one that callers use
    /// have followed.
    pub(crate) fn services_give(&self, weight: Weight) -> bool {
        let Some(stable) = &self.status.stable else {
            return true;
        };
        let stable = &stable.pod_template_hash;
        let pin = pin_of_share(weight, stable);
        let endpoints = &self.stable_endpoints;
        let followed = match &pin {
            Some(Pin::Version(version)) => endpoints.are_of_version(version),
            Some(Pin::Canary) => endpoints.are_of_canary(),
            None => endpoints.has_any_of_canary(),
        };
        followed && self.pinned_services().all(|service| service.pin() == pin)
    }

    /// Returns the number of stable's pods that callers reach. While the Services send callers to the canary
    /// as well, their endpoints say nothing about stable.
    pub(crate) fn reached_of_stable(&self) -> u32 {
        if self.splits_by_replicas() || self.pinned_to_canary() {
            self.ready_of_stable()
        } else {
            self.stable_endpoints.ready
        }
    }

    /// Returns the share that the canary really has while the Services select both versions: that of its ready
    /// pods.
    pub(crate) fn reached_share(&self) -> Option<Weight> {
        if self.is_without_service() {
            let canary = self.canary.as_ref().map_or(0, Workload::known_available);
            let stable = self.workload.as_ref().map_or(0, Workload::known_available);
            return Some(Weight::of_pods(canary, stable));
        }
        if !self.is_open_to_both() {
            return None;
        }
        let canary = self.canary_endpoints.ready;
        Some(Weight::of_pods(canary, self.ready_of_stable()))
    }
}
