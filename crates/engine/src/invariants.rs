//! Invariants: rules that hold whatever happens, checked over a history of the world.
//!
//! A [`History`] gets a [`Snapshot`] after every write, whoever made it, and [`check`] asks every
//! rule of the newest one. The rules are those of the design that can be told from outside; they
//! judge by what the cluster has, and by the persisted status only where the rule is about that.
//!
//! | module | its rules |
//! |---|---|
//! | `traffic` | who may get traffic, and how much |
//! | `evidence` | readings: that they are made, and count |
//! | `progress` | steps, stays, evidence, and the order of attempts |
//! | `ownership` | what is held, what is left behind, and what git was told |

mod evidence;
mod ownership;
mod progress;
mod traffic;

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    record::Outcome,
    status::{Attempt, RolloutStatus},
    workload::VersionId,
};

use crate::{pin::Pin, revision::Digest, weight::Weight};

/// The world after each write, in order.
#[derive(Clone, Debug, Default)]
pub struct History {
    snapshots: Vec<Snapshot>,
}

/// The world after one write.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Time.
    pub at: Timestamp,
    /// Author of the write.
    pub by: Author,
    /// The write, in words.
    pub what: String,
    /// The Rollout, unless it is gone.
    pub rollout: Option<RolloutSeen>,
    /// The routes that exist.
    pub routes: Vec<RouteSeen>,
    /// The Services whose selector matches the workload's pods.
    pub services: Vec<ServiceSeen>,
    /// The workload, unless it is gone.
    pub workload: Option<WorkloadSeen>,
    /// True if the canary workload or the canary Service exists.
    pub canary: bool,
    /// The ready endpoints of the Service that callers use.
    pub stable_ready: u32,
    /// The ready endpoints of the canary Service.
    pub canary_ready: u32,
    /// True if Prometheus shows a breach of an enforced gate by the canary.
    pub breach_shown: bool,
    /// True if a leader runs that can read it.
    pub leading: bool,
    /// Outcomes on the records branch or on their way there, by attempt, each time that one is
    /// written.
    pub outcomes: Vec<(u32, Outcome)>,
}

/// Author of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// Tidegate, an object of the user's or the canary.
    Effect,
    /// Tidegate, the Rollout's status.
    Status,
    /// Nobody: Tidegate has looked at everything as it is, and all that it wanted was done.
    Decision,
    /// Kubernetes' own controllers, or the gateway.
    Controllers,
    /// People and other programs.
    Others,
    /// Nobody: pods stopped being ready.
    PodFailure,
}

/// A Rollout.
#[derive(Clone, Debug)]
pub struct RolloutSeen {
    /// The persisted status.
    pub status: RolloutStatus,
    /// True if it has Tidegate's finalizer.
    pub finalizer: bool,
    /// True if it is being deleted.
    pub deleting: bool,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSeen {
    /// Its name.
    pub name: String,
    /// The Service's share.
    pub stable: Weight,
    /// The canary's share.
    pub canary: Weight,
    /// True if the canary is named.
    pub split: bool,
    /// The epoch annotation.
    pub epoch: Option<u64>,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSeen {
    /// Its name.
    pub name: String,
    /// Its pin.
    pub pin: Option<Pin>,
    /// The epoch annotation.
    pub epoch: Option<u64>,
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadSeen {
    /// Digest of its template.
    pub template: Digest,
    /// Its versions, each with the number of its ready pods.
    pub ready: Vec<(VersionId, u32)>,
    /// Number of pods that it is to have.
    pub replicas: u32,
    /// True if it is paused.
    pub paused: bool,
    /// The epoch annotation.
    pub epoch: Option<u64>,
}

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invariant {rule}: {sentence}")]
pub struct Violation {
    /// The rule's name.
    pub rule: &'static str,
    /// The violation, in a sentence.
    pub sentence: String,
}

/// The newest snapshot, with what came before.
#[derive(Clone, Copy)]
struct Moment<'a> {
    now: &'a Snapshot,
    before: &'a [Snapshot],
}

/// Time beyond its own in which something is acted on: for an answer, for caches that are late, and for
/// a write that failed and is tried again.
const ALLOWANCE: SignedDuration = SignedDuration::from_secs(8);

/// A rule: the sentence says what is wrong.
type Rule = fn(Moment<'_>) -> Result<(), String>;

/// In the order of the design's list.
const RULES: [(&str, Rule); 26] = [
    ("1, weights sum to 100", traffic::weights_sum_to_100),
    (
        "2, no weight without a ready canary",
        traffic::no_weight_without_a_ready_canary,
    ),
    (
        "2, no raise on a stable that lost pods",
        traffic::no_raise_on_a_stable_that_lost_pods,
    ),
    (
        "2, an unready canary gets nothing",
        traffic::an_unready_canary_gets_nothing,
    ),
    (
        "2, traffic goes to whoever is ready",
        traffic::traffic_goes_to_whoever_is_ready,
    ),
    (
        "3, what has breached serves only where nobody else does",
        traffic::what_has_breached_serves_only_alone,
    ),
    (
        "2, the canary is kept out of the user's Services",
        traffic::the_canary_is_pinned_out,
    ),
    (
        "3, a failed attempt gets no more traffic",
        traffic::a_failed_attempt_gets_no_more_traffic,
    ),
    (
        "3, a failed attempt ends on stable",
        traffic::a_failed_attempt_ends_on_stable,
    ),
    (
        "4, weights follow the plan",
        progress::weights_follow_the_plan,
    ),
    ("4, steps follow the plan", progress::steps_follow_the_plan),
    ("5, holds last", progress::holds_last),
    (
        "6, a promotion has evidence",
        evidence::a_promotion_has_evidence,
    ),
    (
        "6, promotion comes after every step",
        progress::promotion_comes_after_every_step,
    ),
    (
        "7, one outcome per attempt",
        ownership::one_outcome_per_attempt,
    ),
    (
        "8, an attempt begins anew",
        progress::an_attempt_begins_anew,
    ),
    (
        "9, older never supersedes newer",
        progress::older_never_supersedes_newer,
    ),
    ("10, epochs only grow", ownership::epochs_only_grow),
    (
        "11, traffic is never sent to nobody",
        traffic::traffic_is_never_sent_to_nobody,
    ),
    (
        "11, stable is replaced when the canary carries all",
        traffic::stable_is_replaced_when_the_canary_carries_all,
    ),
    (
        "11, a pinned workload does not roll",
        ownership::a_pinned_workload_does_not_roll,
    ),
    (
        "14, what is held has a finalizer",
        ownership::what_is_held_has_a_finalizer,
    ),
    (
        "14, nothing is left behind",
        ownership::nothing_is_left_behind,
    ),
    (
        "14, at rest nothing is held",
        ownership::at_rest_nothing_is_held,
    ),
    (
        "15, evidence is not folded twice",
        evidence::evidence_is_not_folded_twice,
    ),
    (
        "16, a breach that is shown is acted on",
        evidence::a_breach_that_is_shown_is_acted_on,
    ),
];

/// Asks every rule of the newest snapshot. To be called after each [`History::push`].
pub fn check(history: &History) -> Result<(), Violation> {
    let Some((now, before)) = history.snapshots.split_last() else {
        return Ok(());
    };
    let moment = Moment { now, before };
    RULES.iter().try_for_each(|(rule, holds)| {
        holds(moment).map_err(|sentence| Violation { rule, sentence })
    })
}

/// Asks what must hold once nothing moves any more, all faults being gone: rules 7 and 12.
pub fn check_quiet(history: &History) -> Result<(), Violation> {
    let Some(now) = history.snapshots.last() else {
        return Ok(());
    };
    let ended = progress::every_attempt_has_ended(now);
    named("12, every attempt ends", ended)?;
    let recorded = ownership::every_attempt_has_an_outcome(now, &history.snapshots);
    named("7, every attempt has an outcome", recorded)
}

fn named(rule: &'static str, result: Result<(), String>) -> Result<(), Violation> {
    result.map_err(|sentence| Violation { rule, sentence })
}

// === impl History ===

impl History {
    /// Adds the world as it is after a write.
    pub fn push(&mut self, snapshot: Snapshot) {
        self.snapshots.push(snapshot);
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// The persisted attempt.
    fn attempt(&self) -> Option<&Attempt> {
        self.rollout.as_ref()?.status.attempt.as_ref()
    }

    /// The persisted status.
    fn status(&self) -> Option<&RolloutStatus> {
        self.rollout.as_ref().map(|rollout| &rollout.status)
    }

    /// The greatest share that the canary has in any route.
    fn canary_share(&self) -> Weight {
        self.routes
            .iter()
            .map(|route| route.canary)
            .max()
            .unwrap_or_default()
    }

    /// Number of ready pods of stable's own version.
    fn ready_of_stable(&self) -> u32 {
        let stable = self.status().and_then(|status| status.stable.as_ref());
        let version = stable.map(|stable| &stable.pod_template_hash);
        let versions = self.workload.iter().flat_map(|workload| &workload.ready);
        versions
            .filter(|(id, _)| Some(id) == version)
            .map(|(_, ready)| ready)
            .sum()
    }

    /// Returns true if a ready endpoint is there for every share of traffic.
    fn is_served(&self) -> bool {
        self.routes.iter().all(|route| {
            (route.canary == Weight::ZERO || self.canary_ready > 0)
                && (route.stable == Weight::ZERO || self.stable_ready > 0)
        })
    }

    /// Returns true if the workload is to have no pod.
    fn is_scaled_to_zero(&self) -> bool {
        self.workload
            .as_ref()
            .is_some_and(|workload| workload.replicas == 0)
    }

    fn route(&self, name: &str) -> Option<&RouteSeen> {
        self.routes.iter().find(|route| route.name == name)
    }
}

// === impl Author ===

impl Author {
    /// Returns true if it was Tidegate.
    pub(crate) fn is_tidegate(self) -> bool {
        match self {
            Self::Effect | Self::Status | Self::Decision => true,
            Self::Controllers | Self::Others | Self::PodFailure => false,
        }
    }
}

// === impl Moment ===

impl<'a> Moment<'a> {
    /// The snapshot before this one.
    fn last(&self) -> Option<&Snapshot> {
        self.before.last()
    }

    /// Every time that Tidegate gave the canary a share of this route, oldest first.
    fn canary_weight_writes(self, route: &str) -> impl Iterator<Item = (&'a Snapshot, Weight)> {
        let pairs = self
            .before
            .iter()
            .zip(self.before.iter().skip(1).chain([self.now]));
        pairs
            .filter(|(_, now)| now.by == Author::Effect)
            .filter_map(move |(last, now)| {
                let (last, now_seen) = (last.route(route), now.route(route)?);
                if last == Some(now_seen) {
                    return None;
                }
                Some((now, now_seen.canary))
            })
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Effect => "effect",
            Self::Status => "status",
            Self::Decision => "decision",
            Self::Controllers => "cluster",
            Self::Others => "others",
            Self::PodFailure => "pods failed",
        })
    }
}

/// An error with this sentence, unless it holds.
fn ensure(holds: bool, sentence: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(sentence()) }
}

#[cfg(test)]
mod tests;
