//! One turn of [`decide`](crate::decide::decide): the snapshot, the time, and what has been decided
//! so far.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    record::{Outcome, Reason},
    status::{Attempt, Ending, RolloutStatus, Stage},
};

use crate::{
    decision::Action,
    event::{Event, StallReason},
    observed::Observed,
    plan::Plan,
    weight::Weight,
};

/// A decision in the making.
pub(crate) struct DecisionContext<'a> {
    pub(crate) observed: &'a Observed,
    pub(crate) now: Timestamp,
    pub(crate) status: RolloutStatus,
    /// Effects that are not derived from the difference between the target and the world.
    pub(crate) actions: Vec<Action>,
    pub(crate) events: Vec<Event>,
    pub(crate) requeue_at: Option<Timestamp>,
    /// What is waited for, in a sentence.
    pub(crate) waiting: Option<String>,
    /// Why a person must act.
    pub(crate) stalled: Option<Stall>,
    /// Whether stable has no ready endpoint although traffic should go there.
    pub(crate) stable_unready: bool,
    /// Whether only a person's approval is missing.
    pub(crate) awaits_approval: bool,
    /// Whether the gateway is waited for no longer: what the routes say is all that can be known.
    pub(crate) without_gateway: bool,
}

/// Why a person must act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    pub(crate) reason: StallReason,
    pub(crate) message: String,
}

/// Whether a stage has been left.
pub(crate) enum Flow {
    /// The attempt is in another stage or step now.
    Moved,
    /// It stays, waiting for this.
    Waits(Wait),
}

/// What is waited for.
pub(crate) struct Wait {
    pub(crate) message: String,
    pub(crate) until: Option<Timestamp>,
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
            stable_unready: false,
            awaits_approval: false,
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

    pub(crate) fn wait(&mut self, wait: Wait) {
        self.waiting = Some(wait.message);
        if let Some(until) = wait.until {
            self.requeue_at(until);
        }
    }

    pub(crate) fn stall(&mut self, reason: StallReason, message: impl Into<String>) {
        self.stalled = Some(Stall {
            reason,
            message: message.into(),
        });
    }

    /// The attempt that runs. Stages are only reached with one.
    pub(crate) fn attempt(&self) -> &Attempt {
        self.status
            .attempt
            .as_ref()
            .expect("a stage belongs to an attempt")
    }

    /// The attempt that runs, to be changed.
    pub(crate) fn attempt_mut(&mut self) -> &mut Attempt {
        self.status
            .attempt
            .as_mut()
            .expect("a stage belongs to an attempt")
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
        let attempt = self.attempt_mut();
        if intended(attempt) != weight {
            attempt.weight = weight.percent();
            attempt.confirmed_at = None;
        }
    }

    /// Decides how the attempt ends, unless that is decided.
    pub(crate) fn terminate(
        &mut self,
        outcome: Outcome,
        reason: Reason,
        message: impl Into<String>,
    ) {
        let (at, message) = (self.now, message.into());
        if self.attempt().ending.is_some() {
            return;
        }
        if outcome != Outcome::Promoted {
            self.emit(Event::RollingBack {
                outcome,
                reason,
                message: message.clone(),
            });
        }
        self.attempt_mut().ending = Some(Ending {
            outcome,
            reason,
            message,
            at,
        });
    }

    /// Whether the stage has lasted this long.
    pub(crate) fn stage_lasted(&mut self, limit: SignedDuration) -> bool {
        let end = self
            .attempt()
            .stage_since
            .saturating_add(limit)
            .unwrap_or(Timestamp::MAX);
        self.requeue_at(end);
        self.now >= end
    }

    /// Whether every route has this share and the data plane has taken it. A route that is not
    /// there sends the canary nothing.
    pub(crate) fn routes_have(&self, weight: Weight) -> bool {
        self.observed.routes.iter().all(|route| match &route.state {
            Some(state) if !state.split => weight == Weight::ZERO && state.accepted,
            Some(state) => state.weight == Some(weight) && state.accepted,
            None => weight == Weight::ZERO,
        })
    }

    /// Whether no route sends anything to the canary, whatever the data plane has made of that.
    pub(crate) fn routes_say_nothing_for_the_canary(&self) -> bool {
        let states = self
            .observed
            .routes
            .iter()
            .filter_map(|route| route.state.as_ref());
        states
            .filter(|state| state.split)
            .all(|state| state.weight.is_none_or(|weight| weight == Weight::ZERO))
    }

    /// Whether the gateway has had its time in this stage. One that is gone, or that refuses the
    /// route, never answers: an attempt that is over does not wait for it for ever.
    pub(crate) fn gateway_is_late(&mut self, plan: &Plan) -> bool {
        self.stage_lasted(plan.progress_deadline)
    }
}

// === impl Wait ===

impl Wait {
    /// A wait for an event.
    pub(crate) fn event(message: impl Into<String>) -> Flow {
        Flow::Waits(Self {
            message: message.into(),
            until: None,
        })
    }

    /// A wait for a time.
    pub(crate) fn until(message: impl Into<String>, until: Timestamp) -> Flow {
        Flow::Waits(Self {
            message: message.into(),
            until: Some(until),
        })
    }
}

/// The share that an attempt intends.
pub(crate) fn intended(attempt: &Attempt) -> Weight {
    Weight::from_percent(attempt.weight).unwrap_or(Weight::ZERO)
}

/// The plan that an attempt runs under.
pub(crate) fn plan_of(rollout: &str, attempt: &Attempt) -> Option<Plan> {
    Plan::parse(rollout, &attempt.plan).ok()
}
