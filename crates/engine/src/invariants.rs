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
//! | `exits` | that whoever wants an attempt to end gets that in time |
//! | `working` | workloads that nobody calls: the canary's pods are its share |
//! | `observing` | workloads that are left to themselves |
//! | `released` | config: that it comes and goes with its template |
//! | `verdict` | what is rolled out, what is rejected, and what the status says |

mod evidence;
mod exits;
mod observing;
mod ownership;
mod planned;
mod progress;
mod released;
mod snapshot;
mod traffic;
mod verdict;
mod working;

use std::{fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    Revision, record::Outcome, rollout::Mode, status::RolloutStatus, workload::VersionId,
};

use self::planned::Planned;
use crate::{pin::Pin, plan::Plan, revision::Digest, weight::Weight};

/// The world after each write, in order.
#[derive(Clone, Debug, Default)]
pub struct History {
    snapshots: Vec<Snapshot>,
    /// The plan of the newest snapshot's attempt, if any.
    plan: Option<Planned>,
    /// Indices of the snapshots in which Tidegate wrote a route.
    route_writes: Vec<usize>,
}

/// The world after one write.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each with its own name"
)]
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
    /// The newest revision that git wants, if any.
    pub wanted: Option<WantedSeen>,
    /// True if the canary workload or the canary Service exists.
    pub canary: bool,
    /// Digest of the canary's template.
    pub canary_template: Option<Digest>,
    /// Digest of the template whose config stable's pods read, where config is released.
    pub config: Option<Digest>,
    /// Number of pods that the canary is to have.
    pub canary_replicas: u32,
    /// True if the revision that is tried misbehaves: by itself, as Prometheus shows it, or because its
    /// pods have just stopped being ready.
    pub culpable: bool,
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
    /// Tidegate, what git says.
    Sync,
    /// Nobody: Tidegate has looked at everything as it is, and all that it wanted was done.
    Decision,
    /// Kubernetes' own controllers, or the gateway.
    Controllers,
    /// People and other programs.
    Others,
    /// Nobody: pods stopped being ready.
    PodFailure,
}

/// A revision that git wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedSeen {
    /// Its full name.
    pub revision: Revision,
    /// Its place in the order of revisions.
    pub sequence: i64,
}

/// A Rollout.
#[derive(Clone, Debug)]
pub struct RolloutSeen {
    /// The persisted status, which many snapshots share.
    pub status: Arc<RolloutStatus>,
    /// True if it has Tidegate's finalizer.
    pub finalizer: bool,
    /// True if it is being deleted.
    pub deleting: bool,
    /// True if its spec says that it is suspended.
    pub suspended: bool,
    /// Its mode.
    pub mode: Mode,
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
    /// Digest of its template, without the mark of a restart.
    pub template: Digest,
    /// Its versions.
    pub versions: Vec<VersionSeen>,
    /// Number of pods that it is to have.
    pub replicas: u32,
    /// True if it is paused.
    pub paused: bool,
    /// True if appliers are told to pass it by.
    pub passed_by: bool,
    /// The epoch annotation.
    pub epoch: Option<u64>,
}

/// A version of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionSeen {
    /// Its name.
    pub id: VersionId,
    /// Digest of its template, without the mark of a restart.
    pub template: Digest,
    /// Number of its pods.
    pub replicas: u32,
    /// Number of its ready pods.
    pub ready: u32,
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
    history: &'a History,
}

/// Time beyond its own in which something is acted on: for an answer, for caches that are late, and for
/// a write that failed and is tried again.
const ALLOWANCE: SignedDuration = SignedDuration::from_secs(8);

/// Time for which caches and endpoints may not have a change.
const RECENT: SignedDuration = SignedDuration::from_secs(2);

/// A rule: the sentence says what is wrong.
type Rule = fn(Moment<'_>) -> Result<(), String>;

/// In the order of the design's list.
const RULES: [(&str, Rule); 40] = [
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
        "2, callers leave who is not ready",
        traffic::callers_leave_who_is_not_ready,
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
    (
        "17, only what is verified is rolled out",
        verdict::only_what_is_verified_is_rolled_out,
    ),
    (
        "18, Ready means that what is wanted is stable",
        verdict::ready_means_that_what_is_wanted_is_stable,
    ),
    (
        "19, only the culpable is rejected",
        verdict::only_the_culpable_is_rejected,
    ),
    ("20, an attempt can be left", exits::an_attempt_can_be_left),
    ("20, an attempt makes room", exits::an_attempt_makes_room),
    ("20, a promotion goes on", exits::a_promotion_goes_on),
    (
        "22, a suspended Rollout goes back and never on",
        progress::a_suspended_rollout_never_goes_on,
    ),
    (
        "22, a failover that is held back leaves no more",
        progress::a_failover_that_is_held_back_leaves_no_more,
    ),
    (
        "23, a canary works for its share",
        working::a_canary_works_for_its_share,
    ),
    (
        "24, a template comes with its config",
        released::a_template_comes_with_its_config,
    ),
    (
        "24, stable reads its own config",
        released::stable_reads_its_own_config,
    ),
    (
        "25, an observed workload is left alone",
        observing::an_observed_workload_is_left_alone,
    ),
    (
        "21, the status stays small",
        verdict::the_status_stays_small,
    ),
];

/// Asks every rule of the newest snapshot. To be called after each [`History::push`].
pub fn check(history: &History) -> Result<(), Violation> {
    let Some((now, before)) = history.snapshots.split_last() else {
        return Ok(());
    };
    let moment = Moment {
        now,
        before,
        history,
    };
    RULES.iter().try_for_each(|(rule, holds)| {
        holds(moment).map_err(|sentence| Violation { rule, sentence })
    })
}

/// Asks what must hold once nothing moves any more, all faults being gone: rules 7, 12 and 14.
pub fn check_quiet(history: &History) -> Result<(), Violation> {
    let Some(now) = history.snapshots.last() else {
        return Ok(());
    };
    let ended = progress::every_attempt_has_ended(now);
    named("12, every attempt ends", ended)?;
    let recorded = ownership::every_attempt_has_an_outcome(now, &history.snapshots);
    named("7, every attempt has an outcome", recorded)?;
    let free = ownership::nothing_is_held_in_the_end(now);
    named("14, in the end nothing is held", free)
}

fn named(rule: &'static str, result: Result<(), String>) -> Result<(), Violation> {
    result.map_err(|sentence| Violation { rule, sentence })
}

// === impl History ===

impl History {
    /// Adds the world as it is after a write.
    pub fn push(&mut self, snapshot: Snapshot) {
        let last = self.snapshots.last();
        if snapshot.by == Author::Effect && last.is_some_and(|last| last.routes != snapshot.routes)
        {
            self.route_writes.push(self.snapshots.len());
        }
        let known = self.plan.take();
        self.plan = snapshot.attempt().map(|attempt| match known {
            Some(known) if known.is_of(attempt) => known,
            Some(_) | None => Planned::of(attempt),
        });
        self.snapshots.push(snapshot);
    }
}

// === impl Author ===

impl Author {
    /// Returns true if it was Tidegate.
    pub(crate) fn is_tidegate(self) -> bool {
        match self {
            Self::Effect | Self::Status | Self::Decision => true,
            Self::Sync | Self::Controllers | Self::Others | Self::PodFailure => false,
        }
    }
}

// === impl Moment ===

impl<'a> Moment<'a> {
    /// The snapshot before this one.
    fn last(&self) -> Option<&Snapshot> {
        self.before.last()
    }

    /// The states that caches and endpoints may still have.
    fn recent(&self) -> impl Iterator<Item = &'a Snapshot> {
        self.since(RECENT)
    }

    /// The states of this last while, newest first: the last of them was there when it began.
    fn since(&self, limit: SignedDuration) -> impl Iterator<Item = &'a Snapshot> {
        let now = self.now.at;
        let mut is_newer = true;
        self.before.iter().rev().take_while(move |past| {
            std::mem::replace(&mut is_newer, now.duration_since(past.at) <= limit)
        })
    }

    /// Returns true if the finalizer was not there a moment ago: the turn that puts it back only lowers risk.
    fn lacked_finalizer(&self) -> bool {
        let mut recent = self.recent().filter_map(|past| past.rollout.as_ref());
        recent.any(|rollout| !rollout.finalizer)
    }

    /// The plan of the attempt that there is.
    fn plan(&self) -> Option<&'a Plan> {
        self.history.plan.as_ref()?.plan.as_ref()
    }

    /// Every time that Tidegate gave the canary a share of this route, oldest first.
    fn canary_weight_writes(self, route: &str) -> impl Iterator<Item = (&'a Snapshot, Weight)> {
        let snapshots = &self.history.snapshots;
        let writes = self.history.route_writes.iter();
        writes.filter_map(move |index| {
            let (last, now) = (snapshots.get(index - 1)?, snapshots.get(*index)?);
            let seen = now.route(route)?;
            if last
                .route(route)
                .is_some_and(|last| last.canary == seen.canary)
            {
                None
            } else {
                Some((now, seen.canary))
            }
        })
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Effect => "effect",
            Self::Status => "status",
            Self::Sync => "sync",
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
