//! Context of one decision: the snapshot, the time, and the decision so far.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    record::Outcome,
    status::{Attempt, Ending, RolloutStatus, Stage},
};

use crate::{
    decision::Action,
    event::Event,
    idle::observing::InTheWay,
    observed::{Candidate, Observed, Route},
    plan::Plan,
    route::PendingRoute,
    stall::Stall,
    suspension,
    termination::{Cause, Termination},
    waiting::{Flow, PinnedPods, RouteChange, Unconfirmed, WaitingOn},
    weight::Weight,
};

/// A decision in the making.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each with its own name"
)]
pub(crate) struct DecisionContext<'a> {
    pub(crate) observed: &'a Observed,
    pub(crate) now: Timestamp,
    pub(crate) status: RolloutStatus,
    /// Effects that are not derived from the difference between the target and the world.
    pub(crate) actions: Vec<Action>,
    pub(crate) events: Vec<Event>,
    pub(crate) requeue_at: Option<Timestamp>,
    /// Condition that is waited for.
    pub(crate) waiting: Option<WaitingOn>,
    /// Cause for which manual action is required.
    pub(crate) stalled: Option<Stall>,
    /// What would be in the way of a release, where the workload is left to itself.
    pub(crate) in_the_way: Option<InTheWay>,
    /// True if what git asks for was rejected, and nothing is to be done about it before the Rollout is no longer
    /// suspended.
    pub(crate) is_rejected_in_suspension: bool,
    /// True if stable has too few ready pods although traffic should go there.
    pub(crate) stable_unready: bool,
    /// True if the finalizer is to be added, before any other effect.
    pub(crate) needs_finalizer: bool,
    /// True if the gateways are not waited for any longer: the routes' own text is all that can be known.
    pub(crate) without_gateway: bool,
}

// === impl DecisionContext ===

impl<'a> DecisionContext<'a> {
    pub(crate) fn new(observed: &'a Observed, now: Timestamp) -> Self {
        Self {
            observed,
            now,
            status: observed.status.clone(),
            actions: Vec::new(),
            events: Vec::new(),
            requeue_at: None,
            waiting: None,
            stalled: None,
            in_the_way: None,
            is_rejected_in_suspension: false,
            stable_unready: false,
            needs_finalizer: false,
            without_gateway: false,
        }
    }

    pub(crate) fn emit(&mut self, note: Event) {
        self.events.push(note);
    }

    /// Looks again at `at`, at the latest.
    pub(crate) fn requeue_at(&mut self, at: Timestamp) {
        if at > self.now {
            self.requeue_at = Some(self.requeue_at.map_or(at, |before| before.min(at)));
        }
    }

    /// Looks again after this time, at the latest.
    pub(crate) fn requeue_after(&mut self, time: SignedDuration) {
        let due = self.now.saturating_add(time).unwrap_or(Timestamp::MAX);
        self.requeue_at(due);
    }

    /// Waits for this, and looks again at `until` at the latest.
    pub(crate) fn wait(&mut self, on: WaitingOn, until: Option<Timestamp>) {
        self.waiting = Some(on);
        if let Some(until) = until {
            self.requeue_at(until);
        }
    }

    pub(crate) fn stall(&mut self, stall: Stall) {
        self.stalled = Some(stall);
    }

    /// The attempt that runs. Stages are only reached with one.
    pub(crate) fn attempt(&self) -> &Attempt {
        self.status
            .attempt
            .as_ref()
            .expect("a stage belongs to an attempt")
    }

    /// Returns the revision that git asks for, if it is newer than that of the attempt that runs.
    pub(crate) fn newer_revision(&self) -> Option<&'a Candidate> {
        let sequence = self.status.attempt.as_ref()?.sequence;
        self.observed
            .candidate
            .as_ref()
            .filter(|candidate| candidate.sequence > sequence)
    }

    /// The attempt that runs, to be changed.
    pub(crate) fn attempt_mut(&mut self) -> &mut Attempt {
        self.status
            .attempt
            .as_mut()
            .expect("a stage belongs to an attempt")
    }

    /// Returns true if the attempt may not go on, because the Rollout is suspended.
    pub(crate) fn is_suspended(&self) -> bool {
        suspension::holds_back(self.attempt(), self.observed)
    }

    /// Enters a stage.
    pub(crate) fn enter(&mut self, stage: Stage) -> Flow {
        let now = self.now;
        let attempt = self.attempt_mut();
        attempt.stage = stage;
        attempt.stage_since = now;
        Flow::Moved
    }

    /// Intends this weight; it is confirmed anew.
    pub(crate) fn set_weight(&mut self, weight: Weight) {
        let now = self.now;
        let attempt = self.attempt_mut();
        if attempt.weight == weight {
            return;
        }
        if attempt.weight == Weight::ZERO {
            attempt.traffic_since = Some(now);
        }
        attempt.weight = weight;
        attempt.confirmed_at = None;
    }

    /// Returns the time since which the canary has had traffic that its gates judge; `None` while it
    /// has none. Gateways may still send it some after the weight was taken away in promotion.
    pub(crate) fn judged_since(&self) -> Option<Timestamp> {
        let attempt = self.status.attempt.as_ref()?;
        let has_traffic = attempt.weight > Weight::ZERO
            || attempt.stage == Stage::ShiftingToStable && self.observed.canary_endpoints.ready > 0;
        if !has_traffic || !attempt.stage.gates_are_read() || judging_is_suspended(attempt) {
            return None;
        }
        // An attempt of an earlier version of Tidegate does not say since when. What comes within a
        // window of a failover is still of its traffic.
        let since = attempt.traffic_since.or(attempt.confirmed_at)?;
        if since > self.now { None } else { Some(since) }
    }

    /// Terminates the attempt, unless that is decided already.
    pub(crate) fn terminate(&mut self, cause: Cause) -> Flow {
        if self.attempt().ending.is_some() {
            return Flow::Moved;
        }
        let termination = Termination::from(cause);
        self.attempt_mut().ending = Some(Ending {
            outcome: termination.outcome,
            reason: termination.reason,
            message: termination.cause.to_string(),
            at: self.now,
        });
        if termination.outcome != Outcome::Promoted {
            self.emit(Event::RollingBack { termination });
        }
        Flow::Moved
    }

    /// Returns true if the stage has lasted this long.
    pub(crate) fn stage_lasted(&mut self, limit: SignedDuration) -> bool {
        let end = self
            .attempt()
            .stage_since
            .saturating_add(limit)
            .unwrap_or(Timestamp::MAX);
        self.requeue_at(end);
        self.now >= end
    }

    /// Returns the routes that do not have this weight yet, or whose gateways have not accepted it.
    pub(crate) fn routes_without(&self, weight: Weight) -> Vec<PendingRoute> {
        let pending = self
            .observed
            .routes
            .iter()
            .filter(|route| !has_weight(route, weight));
        pending.map(Route::pending).collect()
    }

    /// Returns what has not taken this weight yet: routes, or Services where these split traffic. Once stable's
    /// template is updated Services are pinned for other reasons.
    pub(crate) fn without_weight(
        &self,
        weight: Weight,
        change: RouteChange,
    ) -> Option<Unconfirmed> {
        let routes = self.routes_without(weight);
        if !routes.is_empty() {
            return Some(Unconfirmed::Routes { routes, change });
        }
        let is_updated = self.attempt().stable_template_updated;
        let by_services = self.observed.splits_by_replicas() && !is_updated;
        if by_services && !self.observed.services_give(weight) {
            let to = PinnedPods::of_share(weight);
            return Some(Unconfirmed::Services { to });
        }
        None
    }

    /// Returns true if neither a route nor a Service that splits traffic sends anything to the canary, accepted
    /// or not.
    pub(crate) fn nothing_is_said_for_the_canary(&self) -> bool {
        let is_updated = self.attempt().stable_template_updated;
        (is_updated || self.observed.services_keep_the_canary_out())
            && self.routes_say_nothing_for_the_canary()
    }

    fn routes_say_nothing_for_the_canary(&self) -> bool {
        let states = self
            .observed
            .routes
            .iter()
            .filter_map(|route| route.state.as_ref());
        states
            .filter(|state| state.split)
            .all(|state| state.weight.is_none_or(|weight| weight == Weight::ZERO))
    }

    /// Returns true if the gateways have had their time in this stage. One that is gone, or that rejects the
    /// route, never answers: an attempt that is over does not wait for it for ever.
    pub(crate) fn gateway_is_late(&mut self, plan: &Plan) -> bool {
        self.stage_lasted(plan.progress_deadline)
    }
}

/// Returns true while neither holds nor readings count: in a failover of an attempt whose stable was
/// well when it started. One that was degraded then holds nothing up, or its cure would never come.
pub(crate) fn judging_is_suspended(attempt: &Attempt) -> bool {
    attempt.failover().is_some() && attempt.stable_ready_replicas.is_some()
}

/// Returns true if the route has this weight and its gateways have accepted it; nothing, once those
/// that serve it have. A route that does not exist sends the canary nothing.
fn has_weight(route: &Route, weight: Weight) -> bool {
    match &route.state {
        Some(state) if !state.split => weight == Weight::ZERO && state.followed,
        Some(state) if weight == Weight::ZERO => {
            state.weight == Some(Weight::ZERO) && state.followed
        }
        Some(state) => state.weight == Some(weight) && state.accepted,
        None => weight == Weight::ZERO,
    }
}

/// The plan that an attempt runs under.
pub(crate) fn plan_of(rollout: &str, attempt: &Attempt) -> Option<Plan> {
    Plan::parse(rollout, &attempt.plan).ok()
}
