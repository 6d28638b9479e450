//! Services of the workload's pods, and which of them are pinned.

use tidegate_api::{names, workload::WorkloadRef};

use super::{Labels, Observed, selects};
use crate::pin::{self, Pin};

/// A Service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its selector, pin included.
    pub selector: Labels,
    /// The epoch annotation.
    pub epoch: Option<u64>,
    /// True if it is of the type ExternalName.
    pub external: bool,
    /// True if it is headless, and no route names it: for metrics, or for peers to find each other.
    pub for_peers: bool,
    /// The annotation by which its owner says that it is not to be pinned.
    pub pin_setting: Option<String>,
    /// A ready pod that it reaches and that is no pod of the workload or its canary.
    pub foreign_pod: Option<String>,
    /// Fields that git changes together with the template, in words.
    pub waiting: Option<String>,
    /// Field manager that last wrote its selector.
    pub manager: Option<String>,
}

// === impl Observed ===

impl Observed {
    /// Returns the other pods that a Service sends its callers to, in words: pinned, it would lose them.
    pub fn spans(&self, service: &Service) -> Option<String> {
        match (self.spans_workload(service), &service.foreign_pod) {
            (Some(other), _) => Some(format!("the pods of {other}")),
            (None, Some(pod)) => Some(format!("the pod {pod}")),
            (None, None) => None,
        }
    }

    /// Returns another workload to whose pods a Service sends its callers.
    pub(crate) fn spans_workload(&self, service: &Service) -> Option<&WorkloadRef> {
        let selector = service.own_selector();
        let other = self
            .other_workloads
            .iter()
            .find(|other| selects(&selector, &other.pod_labels));
        other.map(|other| &other.workload)
    }

    /// The Services that are to be pinned, and those that an attempt holds. One that has come since and spans
    /// other pods is left alone.
    pub fn pinned_services(&self) -> impl Iterator<Item = &Service> {
        let has_callers = !self.is_without_service();
        self.services.iter().filter(move |service| {
            let is_ours = !self.is_exempt(service) && self.spans(service).is_none();
            service.is_held() || has_callers && is_ours
        })
    }

    /// Returns a Service of a workload that nobody is to call: the canary's pods would have callers. One that is
    /// exempt from pins, or headless, is for metrics or for peers.
    pub(crate) fn unwanted_service(&self) -> Option<&Service> {
        if !self.is_without_service() {
            return None;
        }
        let mut services = self.services.iter();
        services.find(|service| {
            let is_disabled = service.pin_setting.as_deref() == Some(names::PIN_DISABLED);
            !service.is_held() && !is_disabled && !service.for_peers
        })
    }

    /// Returns true if a Service is not pinned and stops nothing: its owner says so, or it is one for
    /// peers over several workloads. The one that callers use is always pinned.
    pub(crate) fn is_exempt(&self, service: &Service) -> bool {
        let is_named = self.service_name() == Some(service.name.as_str());
        let is_disabled = service.pin_setting.as_deref() == Some(names::PIN_DISABLED);
        !is_named && (is_disabled || service.for_peers && self.spans(service).is_some())
    }

    /// Name of the Service that callers use: an attempt goes on under the plan with which it started.
    fn service_name(&self) -> Option<&str> {
        let attempt = self.status.attempt.as_ref();
        attempt
            .map_or(&self.spec, |attempt| &attempt.plan)
            .service_name()
    }
}

// === impl Service ===

impl Service {
    /// Pin that it bears.
    pub fn pin(&self) -> Option<Pin> {
        Pin::in_selector(&self.selector)
    }

    /// Returns true if it is pinned to a version of the workload: the canary gets none of its callers.
    pub(crate) fn keeps_the_canary_out(&self) -> bool {
        matches!(self.pin(), Some(Pin::Version(_)))
    }

    /// Returns true if it is pinned, or an attempt has marked it: by shares of replicas it may have no pin.
    pub(crate) fn is_held(&self) -> bool {
        self.pin().is_some() || self.epoch.is_some()
    }

    /// Its selector without the pin.
    pub fn own_selector(&self) -> Labels {
        pin::without(&self.selector)
    }
}
