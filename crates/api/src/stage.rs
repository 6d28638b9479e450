//! Stages of an attempt, and predicates over them.
//!
//! A rule asks a predicate here and never compares stages: each predicate lists every stage, so
//! that a new stage does not compile until all of them have been decided for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stage of an attempt, in the order of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Stage {
    /// First deploy: the template went straight in; ready pods are awaited.
    Initial,
    /// The Services are being pinned to stable's pods and the workload is being paused.
    Pinning,
    /// The canary is being created.
    Starting,
    /// The canary has its step's share of traffic, or is about to get it.
    Stepping,
    /// The Services, too, are being pinned to the canary, which has all traffic of the routes.
    PinningToCanary,
    /// The candidate's template is in the stable workload, which rolls out.
    UpdatingStable,
    /// The Services are being pinned to the stable workload's new pods.
    PinningToStable,
    /// Routed traffic is going from the canary to the stable workload.
    ShiftingToStable,
    /// An attempt that failed: traffic is going back to stable.
    RollingBack,
    /// The canary has no traffic and drains in-flight requests.
    Draining,
    /// The canary is being removed.
    RemovingCanary,
    /// Services are being unpinned and the workload is being resumed.
    Unpinning,
}

// === impl Stage ===

impl Stage {
    /// Returns true while steps are still ahead: the stages in which a release can be approved,
    /// paused, resumed and promoted.
    pub fn is_before_promotion(self) -> bool {
        match self {
            Self::Pinning | Self::Starting | Self::Stepping => true,
            Self::Initial
            | Self::PinningToCanary
            | Self::UpdatingStable
            | Self::PinningToStable
            | Self::ShiftingToStable
            | Self::RollingBack
            | Self::Draining
            | Self::RemovingCanary
            | Self::Unpinning => false,
        }
    }

    /// Returns true until the canary may exist.
    pub fn is_before_canary(self) -> bool {
        match self {
            Self::Initial | Self::Pinning => true,
            Self::Starting
            | Self::Stepping
            | Self::PinningToCanary
            | Self::UpdatingStable
            | Self::PinningToStable
            | Self::ShiftingToStable
            | Self::RollingBack
            | Self::Draining
            | Self::RemovingCanary
            | Self::Unpinning => false,
        }
    }

    /// Returns true once the steps are over, whether they passed or not.
    pub fn is_past_steps(self) -> bool {
        match self {
            Self::Initial | Self::Pinning | Self::Starting | Self::Stepping => false,
            Self::PinningToCanary
            | Self::UpdatingStable
            | Self::PinningToStable
            | Self::ShiftingToStable
            | Self::RollingBack
            | Self::Draining
            | Self::RemovingCanary
            | Self::Unpinning => true,
        }
    }

    /// Returns true while the canary's template is what stable gets, or has got and not yet rolled
    /// out.
    pub fn needs_canary_template(self) -> bool {
        match self {
            Self::Initial
            | Self::Pinning
            | Self::Starting
            | Self::Stepping
            | Self::PinningToCanary
            | Self::UpdatingStable => true,
            Self::PinningToStable
            | Self::ShiftingToStable
            | Self::RollingBack
            | Self::Draining
            | Self::RemovingCanary
            | Self::Unpinning => false,
        }
    }

    /// Returns true while gates judge the canary, given that it has traffic.
    pub fn gates_are_read(self) -> bool {
        match self {
            Self::Stepping
            | Self::PinningToCanary
            | Self::UpdatingStable
            | Self::PinningToStable
            | Self::ShiftingToStable => true,
            Self::Initial
            | Self::Pinning
            | Self::Starting
            | Self::RollingBack
            | Self::Draining
            | Self::RemovingCanary
            | Self::Unpinning => false,
        }
    }

    /// Returns true while the canary runs beside an untouched stable and other writers of the
    /// Services' selectors are corrected.
    pub fn compares_versions(self) -> bool {
        match self {
            Self::Starting | Self::Stepping => true,
            Self::Initial
            | Self::Pinning
            | Self::PinningToCanary
            | Self::UpdatingStable
            | Self::PinningToStable
            | Self::ShiftingToStable
            | Self::RollingBack
            | Self::Draining
            | Self::RemovingCanary
            | Self::Unpinning => false,
        }
    }

    /// Returns true once the attempt's direction is decided: traffic is going back, or the canary
    /// is being taken down.
    pub fn is_unwinding(self) -> bool {
        match self {
            Self::Initial
            | Self::Pinning
            | Self::Starting
            | Self::Stepping
            | Self::PinningToCanary
            | Self::UpdatingStable
            | Self::PinningToStable
            | Self::ShiftingToStable => false,
            Self::RollingBack | Self::Draining | Self::RemovingCanary | Self::Unpinning => true,
        }
    }

    /// Returns true once traffic is where the outcome wants it.
    pub fn is_cleaning_up(self) -> bool {
        match self {
            Self::Initial
            | Self::Pinning
            | Self::Starting
            | Self::Stepping
            | Self::PinningToCanary
            | Self::UpdatingStable
            | Self::PinningToStable
            | Self::ShiftingToStable
            | Self::RollingBack => false,
            Self::Draining | Self::RemovingCanary | Self::Unpinning => true,
        }
    }
}
