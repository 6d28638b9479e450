//! The mode `Observe`: the workload is left to itself, and what would have been done with each of its releases is said.
//!
//! ```text
//!   a version runs whole ─▶ another comes ─▶ its pods are ready ─▶ a finding ─▶ that one is compared with
//!                                                    │                              the next
//!                                                    └── gates are read, until one breaches or the steps' holds are over
//! ```
//!
//! Nothing is stable, so that nothing is held, reverted or pinned, and a Rollout that is enforced again adopts what runs,
//! like a new one. What an attempt or a hold has left goes first, as for a Rollout that is deleted.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    Revision,
    reason::Finding,
    status::{Observation, ObservedFinding, ObservedRelease},
};

use super::{disowned, held, is_within, leftovers, remove_finalizer, retry_after};
use crate::{
    context::DecisionContext,
    decision::{Action, Sampled, SampledStep, Sampling},
    event::Event,
    gate::{
        self, Gate,
        evidence::{self, Alarm, Scope},
    },
    observed::{QueryCheck, Version, Workload},
    plan::Plan,
    preflight::{self, Objection, Obstacle},
    readiness::{self, Fault},
    stall::Stall,
    termination::Cause,
    waiting::{MissingForFinding, RolloutPurpose, WaitingOn},
};

/// Number of findings that are remembered.
const MEMORY: usize = 10;

/// Interval at which a query that cannot be used is put to Prometheus again.
const CHECK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// Interval at which one that can is.
const CHECK_USABLE_AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// The one step of a release that is observed: Kubernetes knows no others.
const STEP: u32 = 1;

/// What would be in the way of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InTheWay {
    /// The objects are not as a release needs them.
    Obstacle(Obstacle),
    /// A gate's query cannot be used.
    Query {
        /// The gate and its problem, in a sentence.
        problem: String,
    },
    /// A gate tells versions by what only a canary bears: it cannot be observed.
    Track {
        /// Name of the gate.
        gate: String,
    },
}

/// Sees to it that the workload is its owners' alone, and says what would be done.
pub(super) fn observe(ctx: &mut DecisionContext<'_>) {
    if !is_let_go(ctx) {
        return;
    }
    ctx.status.stable = None;
    ctx.status.backoff = None;
    ctx.status.superseded = None;
    follow(ctx);
    match Plan::parse(&ctx.observed.identity.name, &ctx.observed.spec) {
        Ok(plan) => ctx.in_the_way = in_the_way(ctx, &plan),
        Err(error) => ctx.stall(Stall::InvalidSpec(error)),
    }
}

/// Returns the traffic of the release that is observed, once its pods are ready and that is persisted.
pub(crate) fn sampling(ctx: &DecisionContext<'_>) -> Option<Sampling> {
    let before = ctx.observed.status.observation.as_ref()?.release.as_ref()?;
    let observation = ctx.status.observation.as_ref()?;
    let release = observation.release.as_ref()?;
    let since = before
        .ready_since
        .filter(|_| release.number == before.number)?;
    let workload = ctx.observed.workload.as_ref()?;
    let plan = Plan::parse(&ctx.observed.identity.name, &release.plan).ok();
    let until = plan.and_then(|plan| hold_ends(&plan, release));
    Some(Sampling {
        of: Sampled::Observed(release.number),
        since,
        alone: workload.ready_of(&observation.pod_template_hash) == 0,
        step: Some(SampledStep {
            number: STEP,
            since,
            until: until.unwrap_or(Timestamp::MAX),
        }),
    })
}

/// Takes away what an attempt or a hold has left, and the finalizer. Returns true once it is gone.
fn is_let_go(ctx: &mut DecisionContext<'_>) -> bool {
    if held::can_be_let_go(ctx) && !ctx.observed.finalizer {
        ctx.needs_finalizer = true;
        return false;
    }
    if leftovers::put_right(ctx) || held::let_go(ctx) {
        return false;
    }
    disowned::disown_fields(ctx);
    let keep = Vec::new();
    ctx.actions.push(Action::CollectRevisions { keep });
    remove_finalizer(ctx);
    true
}

/// Follows the versions of the workload.
fn follow(ctx: &mut DecisionContext<'_>) {
    let workload = ctx.observed.workload.as_ref();
    let reference = ctx.observed.spec.workload.clone();
    let Some(workload) = workload.filter(|workload| !workload.deleting) else {
        let workload = reference;
        return ctx.wait(WaitingOn::Workload { workload }, None);
    };
    let Some(current) = workload.current() else {
        let workload = reference;
        return ctx.wait(WaitingOn::WorkloadVersion { workload }, None);
    };
    let Some(mut observation) = ctx.status.observation.take() else {
        return first(ctx, workload, current);
    };
    follow_restart(&mut observation, workload, current);
    let release = observation.release.as_ref();
    if release.is_some_and(|release| release.pod_template_hash != current.id) {
        let why = "another version came before there was a finding".to_owned();
        conclude(ctx, &mut observation, Finding::Superseded, why);
    }
    if observation.release.is_none() && observation.pod_template_hash != current.id {
        begin(ctx, &mut observation, current);
    }
    if observation.release.is_some() {
        judge(ctx, &mut observation, workload);
    }
    ctx.status.observation = Some(observation);
}

/// What runs alone is what the first release is compared with.
fn first(ctx: &mut DecisionContext<'_>, workload: &Workload, current: &Version) {
    if workload.runs_one_version() {
        ctx.status.observation = Some(Observation {
            pod_template_hash: current.id.clone(),
            revision: revision_of(current),
            releases: 0,
            release: None,
            findings: Vec::new(),
        });
        return;
    }
    let on = WaitingOn::WorkloadRollout {
        workload: ctx.observed.spec.workload.clone(),
        purpose: RolloutPurpose::Adoption,
        problem: workload.problem.clone(),
    };
    ctx.wait(on, None);
}

/// A restart makes another version of the same content, and no release.
fn follow_restart(observation: &mut Observation, workload: &Workload, current: &Version) {
    let is_restart = |version| {
        let version = workload.version(version);
        version.is_some_and(|version| version.content == current.content)
    };
    let version = match &mut observation.release {
        Some(release) => &mut release.pod_template_hash,
        None => &mut observation.pod_template_hash,
    };
    if is_restart(version) {
        version.clone_from(&current.id);
    }
}

fn begin(ctx: &mut DecisionContext<'_>, observation: &mut Observation, current: &Version) {
    // Of a spec that is refused nobody knows the gates.
    let Ok(plan) = Plan::parse(&ctx.observed.identity.name, &ctx.observed.spec) else {
        return;
    };
    observation.releases += 1;
    let release = ObservedRelease {
        number: observation.releases,
        pod_template_hash: current.id.clone(),
        revision: revision_of(current),
        plan: ctx.observed.spec.clone(),
        started_at: ctx.now,
        ready_since: None,
        gates: plan
            .gates
            .iter()
            .map(|gate| evidence::begin_step(gate, None))
            .collect(),
    };
    ctx.emit(Event::ReleaseObserved {
        release: release.number,
        revision: release.revision.clone(),
    });
    observation.release = Some(Box::new(release));
}

/// Reads the gates of the release, and says what would have become of it once that is certain.
fn judge(ctx: &mut DecisionContext<'_>, observation: &mut Observation, workload: &Workload) {
    let Some(mut release) = observation.release.take() else {
        return;
    };
    let plan = Plan::parse(&ctx.observed.identity.name, &release.plan);
    if release.ready_since.is_none() && workload.ready_of(&release.pod_template_hash) > 0 {
        release.ready_since = Some(ctx.now);
    }
    let found = match &plan {
        Ok(plan) => {
            fold_readings(ctx, plan, &mut release);
            finding(ctx, plan, &release, workload)
        }
        Err(error) => Some((Finding::Inconclusive, error.to_string())),
    };
    observation.release = Some(release);
    if let Some((finding, why)) = found {
        conclude(ctx, observation, finding, why);
    }
}

fn fold_readings(ctx: &mut DecisionContext<'_>, plan: &Plan, release: &mut ObservedRelease) {
    let Some(since) = release.ready_since else {
        return;
    };
    for (gate, status) in plan.gates.iter().zip(&mut release.gates) {
        let readings = ctx.observed.readings.iter();
        let own = readings.filter(|one| one.gate == gate.name && one.sampled_at >= since);
        for reading in own {
            let scope = match reading.step {
                Some(_) => Scope::Step,
                None => Scope::Earlier,
            };
            evidence::fold(gate, status, reading, scope, false);
        }
        if let Some(alarm) = evidence::next_alarm(gate, status) {
            ctx.requeue_at(alarm);
        }
    }
}

/// Returns what would have become of a release, once that is certain, with its cause; says what is missing until then.
fn finding(
    ctx: &mut DecisionContext<'_>,
    plan: &Plan,
    release: &ObservedRelease,
    workload: &Workload,
) -> Option<(Finding, String)> {
    let gates = plan.gates.iter().zip(&release.gates);
    let mut enforced = gates.filter(|(gate, _)| gate.enforced);
    let now = ctx.now;
    let mut alarms = enforced
        .clone()
        .filter_map(|(gate, status)| evidence::alarm(gate, status, now));
    if let Some(alarm) = alarms.next() {
        return Some(of_alarm(alarm, release, now));
    }
    if !workload.rolled_out() {
        let since = release.started_at;
        if let Some(overdue) = readiness::overdue(ctx, plan, Some(workload), since) {
            let finding = match overdue.fault() {
                Fault::Revision => Finding::WouldHaveRolledBack,
                Fault::Surroundings | Fault::Unknown => Finding::Inconclusive,
            };
            return Some((finding, Cause::CanaryNotStarted { overdue }.to_string()));
        }
        let problem = workload.problem.clone();
        wait(ctx, release, MissingForFinding::Pods { problem }, None);
        return None;
    }
    let Some(until) = hold_ends(plan, release) else {
        // It is scaled to zero.
        wait(
            ctx,
            release,
            MissingForFinding::Pods { problem: None },
            None,
        );
        return None;
    };
    if now < until {
        wait(ctx, release, MissingForFinding::Hold { until }, Some(until));
        return None;
    }
    let missing =
        enforced.find(|(_, status)| status.readings == 0 || !gate::passes(status.verdict));
    if let Some((gate, _)) = missing {
        let gate = gate.name.clone();
        wait(ctx, release, MissingForFinding::Gate { gate }, None);
        return None;
    }
    let time = tidegate_api::Duration::from(hold_of(plan).unsigned_abs());
    let why = format!("every gate passed for {time}, as long as the steps hold");
    Some((Finding::WouldHavePromoted, why))
}

fn of_alarm(alarm: Alarm, release: &ObservedRelease, now: Timestamp) -> (Finding, String) {
    match alarm {
        Alarm::Breach(why) | Alarm::MetricsUnavailable(why) => {
            let since = release.ready_since.unwrap_or(release.started_at);
            let after = now.duration_since(since).as_secs().unsigned_abs();
            let after = tidegate_api::Duration::from_secs(after);
            let why = format!("{why}, {after} after its first pod was ready");
            (Finding::WouldHaveRolledBack, why)
        }
        Alarm::Inconclusive(why) => (Finding::Inconclusive, why),
    }
}

fn wait(
    ctx: &mut DecisionContext<'_>,
    release: &ObservedRelease,
    missing: MissingForFinding,
    until: Option<Timestamp>,
) {
    let on = WaitingOn::Finding {
        release: release.number,
        revision: release.revision.clone(),
        missing,
    };
    ctx.wait(on, until);
}

/// Ends the release that is observed. The next is compared with it, unless it has not replaced what ran before.
fn conclude(
    ctx: &mut DecisionContext<'_>,
    observation: &mut Observation,
    finding: Finding,
    message: String,
) {
    let Some(release) = observation.release.take() else {
        return;
    };
    let before = &observation.pod_template_hash;
    let workload = ctx.observed.workload.as_ref();
    let is_replaced = workload.is_none_or(|workload| workload.ready_of(before) == 0);
    if finding != Finding::Superseded || is_replaced {
        observation
            .pod_template_hash
            .clone_from(&release.pod_template_hash);
        observation.revision.clone_from(&release.revision);
    }
    let finding = ObservedFinding {
        release: release.number,
        pod_template_hash: release.pod_template_hash,
        revision: release.revision,
        finding,
        message,
        at: ctx.now,
    };
    ctx.emit(Event::Found {
        finding: finding.clone(),
    });
    observation.findings.insert(0, finding);
    observation.findings.truncate(MEMORY);
}

/// Returns the time from which on a release that is whole could have been promoted.
fn hold_ends(plan: &Plan, release: &ObservedRelease) -> Option<Timestamp> {
    release.ready_since?.checked_add(hold_of(plan)).ok()
}

/// Time that the steps hold, all together.
fn hold_of(plan: &Plan) -> SignedDuration {
    let holds = plan.steps.iter().map(|step| step.hold);
    holds.fold(SignedDuration::ZERO, SignedDuration::saturating_add)
}

/// Returns what would be in the way of a release now. While one is observed, its version may be.
fn in_the_way(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Option<InTheWay> {
    let workload = ctx.observed.workload.as_ref();
    if workload.is_some_and(|workload| workload.held.is_some()) {
        // An earlier Rollout has left it so, with another template than the one that runs.
        let workload = plan.workload.clone();
        return Some(InTheWay::Obstacle(Obstacle::WorkloadPaused { workload }));
    }
    let obstacle = preflight::ownership_conflict(ctx.observed, plan)
        .or_else(|| match preflight::check(ctx.observed, plan) {
            Some(Objection::Blocked(obstacle)) => Some(obstacle),
            Some(Objection::Waits(_)) | None => None,
        })
        .or_else(|| preflight::share_out_of_reach(ctx.observed, plan));
    if let Some(obstacle) = obstacle {
        return Some(InTheWay::Obstacle(obstacle));
    }
    let mut enforced = plan.gates.iter().filter(|gate| gate.enforced);
    if let Some(gate) = enforced.find(|gate| is_by_track(gate)) {
        let gate = gate.name.clone();
        return Some(InTheWay::Track { gate });
    }
    let observation = ctx.status.observation.as_ref()?;
    let is_enforced = plan.gates.iter().any(|gate| gate.enforced);
    if observation.release.is_some() || !is_enforced {
        return None;
    }
    let (problem, at) = match &ctx.observed.queries {
        QueryCheck::Unknown => {
            ctx.actions.push(Action::CheckQueries);
            return None;
        }
        QueryCheck::Usable { at } => (None, *at),
        QueryCheck::Invalid { why, at }
        | QueryCheck::SelectsNothing { why, at }
        | QueryCheck::ScrapedOnce { why, at }
        | QueryCheck::Unreadable { why, at } => (Some(why.clone()), *at),
    };
    let again = match problem {
        Some(_) => CHECK_AGAIN,
        None => CHECK_USABLE_AGAIN,
    };
    retry_after(ctx, at, again, Action::CheckQueries);
    let problem = problem.filter(|_| is_within(at, CHECK_AGAIN * 2, ctx.now))?;
    Some(InTheWay::Query { problem })
}

/// Returns true if a query of the gate has the placeholder of the label that the canary's pods bear.
fn is_by_track(gate: &Gate) -> bool {
    let is_track = |text: &str| {
        text.split_whitespace()
            .collect::<String>()
            .contains("{{track}}")
    };
    gate.queries().iter().any(|query| is_track(&query.text))
}

fn revision_of(version: &Version) -> Revision {
    Revision::named(version.template.to_string())
}
