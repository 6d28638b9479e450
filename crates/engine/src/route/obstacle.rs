//! Reason for which a route cannot be split.

use std::fmt;

/// Reason why a route cannot be split. Rules are numbered from 0, as in the route's own conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// No rule has the name that the Rollout gives.
    NoSuchRule {
        /// Name of the rule.
        rule: String,
    },
    /// No rule sends traffic to the Service, or the only one that is split does not.
    NoBackend {
        /// Name of the only rule that is split.
        rule: Option<String>,
        /// Name of the Service.
        service: String,
    },
    /// Every backend of the Service has the weight 0.
    NoTraffic {
        /// Name of the Service.
        service: String,
    },
    /// With the canary's a rule would have more backends than the API server accepts.
    TooManyBackends {
        /// Number of the rule.
        rule: usize,
        /// Number of its backends without the canary's.
        backends: usize,
        /// Greatest number that is accepted.
        max: usize,
    },
    /// A split weight would be greater than the API server accepts.
    WeightTooLarge {
        /// Number of the rule.
        rule: usize,
        /// Greatest weight that can be split.
        max: u32,
    },
    /// A rule has a field under which weights do not hold.
    WeightsIgnored {
        /// Number of the rule.
        rule: usize,
        /// Name of the field.
        field: &'static str,
    },
}

// === impl Obstacle ===

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchRule { rule } => write!(
                f,
                "none of its rules is named {rule}: name the rule, or correct sectionName in spec.traffic"
            ),
            Self::NoBackend {
                rule: None,
                service,
            } => write!(
                f,
                "none of its rules sends traffic to the Service {service}: add a backend for it"
            ),
            Self::NoBackend {
                rule: Some(rule),
                service,
            } => write!(
                f,
                "its rule {rule} sends no traffic to the Service {service}: add a backend for it"
            ),
            Self::NoTraffic { service } => write!(
                f,
                "it gives the Service {service} the weight 0: a share of nothing cannot be split"
            ),
            Self::TooManyBackends {
                rule,
                backends,
                max,
            } => write!(
                f,
                "rule {rule} has {backends} backends, and with the canary's it would have more than {max}: remove one"
            ),
            Self::WeightTooLarge { rule, max } => write!(
                f,
                "rule {rule} has a weight above {max}, which cannot be split: write smaller weights in the same proportion"
            ),
            Self::WeightsIgnored { rule, field } => write!(
                f,
                "rule {rule} has {field}, under which weights do not hold: remove it for the time of releases"
            ),
        }
    }
}
