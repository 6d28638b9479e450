//! Causes of conditions, with their particulars.

use tidegate_api::{Revision, reason::AvailableReason, route::RouteRef, workload::VersionId};

/// Cause for which callers are not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// The Service does not exist.
    ServiceNotFound {
        /// Name of the Service.
        service: String,
    },
    /// A route does not exist.
    RouteNotFound {
        /// The route.
        route: RouteRef,
    },
    /// Stable gets traffic and has no ready endpoint.
    StableNotReady,
    /// The canary gets traffic and has no ready endpoint.
    CanaryNotReady,
    /// Nobody calls the workload, and no pod is ready to work.
    NobodyAtWork,
}

/// Pods that stable lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingPods {
    /// Number of pods that are ready.
    pub(crate) ready: u32,
    /// Number of pods that the workload wants.
    pub(crate) wanted: u32,
    /// Stable's revision.
    pub(crate) revision: Revision,
    /// Version of the workload that runs it.
    pub(crate) version: VersionId,
}

// === impl Unavailable ===

impl Unavailable {
    pub(crate) fn reason(&self) -> AvailableReason {
        match self {
            Self::ServiceNotFound { .. } => AvailableReason::ServiceNotFound,
            Self::RouteNotFound { .. } => AvailableReason::RouteNotFound,
            Self::StableNotReady | Self::CanaryNotReady => AvailableReason::NoReadyEndpoints,
            Self::NobodyAtWork => AvailableReason::NoReadyPods,
        }
    }
}
