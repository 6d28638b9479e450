//! Between attempts: adopting a workload, and beginning the next attempt.

mod admission;
mod disowned;
mod foreign_pods;
mod held;
mod leftovers;
pub(crate) mod observing;
mod queries;
mod rejected;
mod restart;

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    Revision,
    rollout::KnownGood,
    status::{Shortcut, Stable, Stage},
};

use crate::{
    attempt,
    context::DecisionContext,
    decision::Action,
    event::{Event, GovernedField},
    interventions,
    observed::{Brake, Candidate, Comparison, Workload},
    plan::Plan,
    preflight::{self, Objection, Obstacle},
    provenance,
    stall::Stall,
    waiting::{RolloutPurpose, WaitingOn},
};

/// Number of inconclusive attempts of one revision before the next needs a person's Retry: trying again
/// by itself would not change the result.
const MAX_INCONCLUSIVE: u32 = 3;

/// Number of unwritten records (two per attempt) at which no new attempt starts: the status must stay
/// below the size limit of etcd.
const MAX_PENDING_RECORDS: usize = 20;

/// Interval at which an obstacle to a release is checked again.
const RECHECK_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// Time until the next look at a commit that was not applied whole.
const PARTIAL_APPLY_REQUEUE: SignedDuration = SignedDuration::from_millis(200);

/// No attempt runs.
pub(crate) fn idle(ctx: &mut DecisionContext<'_>) {
    if ctx.observed.is_observing() {
        return observing::observe(ctx);
    }
    // Enforced again, it adopts what runs.
    ctx.status.observation = None;
    let is_anything_left = leftovers::put_right(ctx);
    if ctx.observed.is_deleting() {
        if !is_anything_left && !held::let_go(ctx) {
            disowned::disown_fields(ctx);
            on_delete(ctx);
        }
        return;
    }
    if !is_anything_left {
        look_for_work(ctx);
    }
    // Reported as soon as the Rollout exists, not at its first release.
    let begins = ctx.status.attempt.is_some();
    if let Some(obstacle) = preflight::standing_obstacle(ctx.observed, begins)
        && ctx.stalled.is_none()
    {
        requeue_later(ctx);
        ctx.stall(Stall::PreflightFailed(obstacle));
    }
    let is_held = held::hold(ctx);
    if ctx.status.attempt.is_none() && !is_anything_left {
        disowned::disown_fields(ctx);
    }
    if !is_held {
        remove_finalizer(ctx);
    }
}

/// The finalizer is there only during an attempt, while the workload is held, and while records are unwritten: they would
/// be lost with the Rollout.
fn remove_finalizer(ctx: &mut DecisionContext<'_>) {
    if ctx.observed.finalizer
        && ctx.status.attempt.is_none()
        && ctx.status.pending_records.is_empty()
        && ctx.status.kept_config.is_empty()
        && ctx.waiting != Some(WaitingOn::Leftovers)
    {
        ctx.actions.push(Action::RemoveFinalizer);
    }
}

/// An attempt has just ended. Where its revision is rejected, that is said with its end.
pub(crate) fn after_attempt(ctx: &mut DecisionContext<'_>) {
    let (Some(candidate), Some(stable)) = (&ctx.observed.candidate, &ctx.status.stable) else {
        return;
    };
    if candidate.revision == stable.revision || ctx.observed.is_deleting() {
        return;
    }
    let stable = stable.clone();
    if let Some(rejected) = rejected::rejection(ctx, candidate) {
        rejected::report(ctx, &stable, rejected);
    }
}

fn look_for_work(ctx: &mut DecisionContext<'_>) {
    let plan = match Plan::parse(&ctx.observed.identity.name, &ctx.observed.spec) {
        Ok(plan) => plan,
        Err(error) => {
            adopt_meanwhile(ctx, None);
            return ctx.stall(Stall::InvalidSpec(error));
        }
    };
    let conflict = preflight::ownership_conflict(ctx.observed, &plan);
    if let Some(conflict) = conflict {
        requeue_later(ctx);
        adopt_meanwhile(ctx, Some(&plan));
        return ctx.stall(Stall::PreflightFailed(conflict));
    }
    delete_orphaned_canary(ctx);
    restart::follow(ctx);
    if let Some(stable) = lost_for_good(ctx) {
        return ctx.stall(Stall::RevisionLost {
            revision: stable.revision,
        });
    }
    let Some(candidate) = &ctx.observed.candidate else {
        // What nobody asks for is reverted, whoever else is waited for.
        if let Some(stable) = ctx.status.stable.clone() {
            revert_stable_template(ctx, &stable);
        }
        let workload = plan.workload;
        let on = match ctx.observed.brake {
            Brake::Pause => WaitingOn::Workload { workload },
            Brake::Sync | Brake::Unknown => WaitingOn::ConfigRepo { workload },
        };
        if ctx.observed.brake == Brake::Unknown {
            // No change of a ConfigRepo wakes a Rollout.
            requeue_later(ctx);
        }
        return ctx.wait(on, None);
    };
    match ctx.status.stable.clone() {
        None if candidate.first_deploy => first_deploy(ctx, &plan, candidate),
        None => adopt(ctx, Some(&plan), candidate),
        Some(stable) => compare(ctx, &plan, &stable, candidate),
    }
}

/// Returns stable if its template is in no ControllerRevision and no ReplicaSet any more.
fn lost_for_good(ctx: &DecisionContext<'_>) -> Option<Stable> {
    let stable = ctx.status.stable.clone();
    stable.filter(|stable| ctx.observed.is_lost_for_good(&stable.pod_template_hash))
}

/// Deletes a canary that belongs to no attempt: the last write of a former leader, or a leftover of a
/// Rollout whose finalizer was removed by force.
fn delete_orphaned_canary(ctx: &mut DecisionContext<'_>) {
    let there = ctx.observed.canary_service
        || ctx
            .observed
            .canary
            .as_ref()
            .is_some_and(|canary| !canary.deleting);
    let named = ctx
        .observed
        .routes
        .iter()
        .filter_map(|route| route.state.as_ref())
        .any(|state| state.split);
    if there && !named {
        ctx.actions.push(Action::DeleteCanary);
    }
}

/// The Rollout goes, and everything of it but the user's own objects. What git is owed goes to the
/// `ConfigRepo`'s queue: deletion never waits for git.
fn on_delete(ctx: &mut DecisionContext<'_>) {
    // They stay in the status until they are written: a crash on the way must not lose them.
    let owed = &ctx.status.pending_records;
    if !owed.is_empty() {
        ctx.actions
            .push(Action::TransferPendingRecords(owed.clone()));
    }
    ctx.actions
        .push(Action::CollectRevisions { keep: Vec::new() });
    if ctx.observed.finalizer {
        ctx.actions.push(Action::RemoveFinalizer);
    }
}

/// Nothing of the workload has ever been ready: the template goes straight in.
fn first_deploy(ctx: &mut DecisionContext<'_>, plan: &Plan, candidate: &Candidate) {
    let rolled_out = ctx
        .observed
        .workload
        .as_ref()
        .is_some_and(Workload::rolled_out);
    let rejection = rejected::rejection(ctx, candidate);
    if rejection.is_some() && rolled_out && candidate.comparison == Comparison::Unknown {
        ctx.actions.push(Action::DryRunCandidate);
    }
    let ready = rolled_out && candidate.comparison == Comparison::Same;
    match rejection {
        // What has failed and became ready after all has not failed.
        Some(rejected) if !ready => {
            ctx.stall(Stall::InitialFailed {
                cause: rejected.message,
            });
        }
        Some(_) | None => attempt::begin(ctx, plan, candidate, Stage::Initial, None),
    }
}

/// A blocked release must not prevent adoption: without a stable revision the next template would go
/// straight in. A workload that another Rollout governs is the other's.
fn adopt_meanwhile(ctx: &mut DecisionContext<'_>, plan: Option<&Plan>) {
    if ctx.status.stable.is_none()
        && !ctx.observed.workload_conflict
        && let Some(candidate) = &ctx.observed.candidate
    {
        adopt(ctx, plan, candidate);
    }
}

/// A workload that runs already is stable as it runs, well or not, and whatever the rest of the spec
/// says; it is known to be good once it is well. `plan` is missing where the spec is invalid.
fn adopt(ctx: &mut DecisionContext<'_>, plan: Option<&Plan>, candidate: &Candidate) {
    let Some(workload) = ctx
        .observed
        .workload
        .as_ref()
        .filter(|workload| match workload.held {
            Some(_) => workload.running().is_some(),
            None => workload.runs_one_version() && !workload.paused,
        })
    else {
        let on = WaitingOn::WorkloadRollout {
            workload: ctx.observed.spec.workload.clone(),
            purpose: RolloutPurpose::Adoption,
            problem: ctx
                .observed
                .workload
                .as_ref()
                .and_then(|live| live.problem.clone()),
        };
        return ctx.wait(on, None);
    };
    let Some(current) = workload.running() else {
        let workload = ctx.observed.spec.workload.clone();
        return ctx.wait(WaitingOn::WorkloadVersion { workload }, None);
    };
    let (revision, source) = match candidate.comparison {
        _ if ctx.observed.brake == Brake::Pause => (
            Revision::named(current.template.to_string()),
            tidegate_api::status::Source::default(),
        ),
        Comparison::Unknown => return ctx.actions.push(Action::DryRunCandidate),
        Comparison::Same => (candidate.revision.clone(), candidate.source.clone()),
        Comparison::Different | Comparison::Refused { .. } => (
            Revision::named(workload.template.to_string()),
            tidegate_api::status::Source::default(),
        ),
    };
    ctx.emit(Event::Adopted {
        revision: revision.clone(),
    });
    if let Some(plan) = plan
        && workload.rolled_out()
    {
        attempt::remember_good(ctx, plan, &revision);
    }
    let as_live = Some(workload).filter(|live| current.template == live.live());
    ctx.status.stable = Some(Stable {
        revision,
        pod_template_hash: current.id.clone(),
        restarted_at: as_live.and_then(|live| live.restarted_at.clone()),
        config: as_live.and_then(|live| live.config.clone()),
        source,
        since: ctx.now,
    });
}

/// Compares the candidate with stable, and starts an attempt if there is something to release and
/// nothing in the way.
fn compare(ctx: &mut DecisionContext<'_>, plan: &Plan, stable: &Stable, candidate: &Candidate) {
    ctx.actions.push(Action::CollectRevisions {
        keep: kept(ctx, stable, candidate),
    });
    if revert_stable_template(ctx, stable) {
        return;
    }
    foreign_pods::scale_down(ctx, plan, stable);
    remember_adopted(ctx, plan, stable);
    if candidate.revision == stable.revision {
        if ctx.observed.workload.is_none() {
            wait_for_workload(ctx, plan);
        }
        return;
    }
    if let Some((on, until)) = provenance::sought(ctx, candidate) {
        return ctx.wait(on, Some(until));
    }
    if let Some(rejected) = rejected::rejection(ctx, candidate) {
        return rejected::report(ctx, stable, rejected);
    }
    if let Some((times, until)) = rejected::asked_again(ctx, candidate) {
        return ctx.wait(WaitingOn::RejectedRevision { times, until }, Some(until));
    }
    match &candidate.comparison {
        Comparison::Unknown if ctx.observed.workload.is_none() => {
            wait_for_workload(ctx, plan);
        }
        Comparison::Unknown => ctx.actions.push(Action::DryRunCandidate),
        Comparison::Same => update_stable_source(ctx, candidate),
        Comparison::Different if ctx.observed.spec.suspend => {
            let revision = Some(candidate.revision.clone());
            ctx.wait(WaitingOn::Suspension { revision }, None);
        }
        Comparison::Refused { why, at } => {
            ctx.stall(Stall::PreflightFailed(Obstacle::TemplateDenied {
                denial: why.clone(),
            }));
            retry_after(ctx, *at, RECHECK_INTERVAL, Action::DryRunCandidate);
        }
        Comparison::Different if restart::give_up(ctx, plan) => {}
        Comparison::Different => start(ctx, plan, candidate),
    }
}

/// What was adopted while pods were missing is known to be good once it is well.
fn remember_adopted(ctx: &mut DecisionContext<'_>, plan: &Plan, stable: &Stable) {
    let known = &ctx.status.history;
    let well = ctx.observed.workload.as_ref().is_some_and(|workload| {
        let current = workload.current();
        workload.rolled_out()
            && current.is_some_and(|current| current.id == stable.pod_template_hash)
    });
    if known.is_empty() && well && plan.revision_history_limit > 0 {
        attempt::remember_good(ctx, plan, &stable.revision);
    }
}

/// Looks again after a while: an obstacle may be an object that does not wake this Rollout, like
/// another workload or another Rollout.
fn requeue_later(ctx: &mut DecisionContext<'_>) {
    ctx.requeue_after(RECHECK_INTERVAL);
}

/// Asks again after a while: an answer may be another one once a right was given or a policy was
/// changed.
fn retry_after(
    ctx: &mut DecisionContext<'_>,
    asked: Timestamp,
    after: SignedDuration,
    ask: Action,
) {
    let due = asked.saturating_add(after).unwrap_or(Timestamp::MAX);
    ctx.requeue_at(due);
    if ctx.now >= due {
        ctx.actions.push(ask);
    }
}

fn is_within(at: Timestamp, limit: SignedDuration, now: Timestamp) -> bool {
    now.duration_since(at) < limit
}

/// Reverts changes of other writers in stable's template before anything else, whatever git asks for:
/// an attempt pins traffic to stable's pods, so they must be there.
fn revert_stable_template(ctx: &mut DecisionContext<'_>, stable: &Stable) -> bool {
    let Some(workload) = &ctx.observed.workload else {
        return false;
    };
    let wrong = ctx
        .observed
        .content_differs_from_stable(workload, &stable.pod_template_hash);
    // One that is held is let go first: the write would look like somebody else's.
    if wrong && workload.held.is_none() {
        ctx.emit(Event::DriftCorrected {
            field: GovernedField::WorkloadTemplate,
            manager: workload.template_manager.clone(),
        });
        ctx.actions
            .push(Action::WriteTemplate(stable.revision.clone()));
    }
    wrong
}

/// The candidate differs from stable in its text alone (formatting, defaults): it becomes stable's source.
fn update_stable_source(ctx: &mut DecisionContext<'_>, candidate: &Candidate) {
    if let Some(stable) = &mut ctx.status.stable {
        stable.revision = candidate.revision.clone();
        stable.source = candidate.source.clone();
    }
}

fn start(ctx: &mut DecisionContext<'_>, plan: &Plan, candidate: &Candidate) {
    let backoff = ctx
        .status
        .backoff
        .as_ref()
        .filter(|backoff| backoff.revision == candidate.revision);
    let asked = interventions::promotes(&ctx.status, &candidate.revision);
    if let Some(backoff) = backoff
        && !asked
    {
        if backoff.inconclusive >= MAX_INCONCLUSIVE {
            let stall = Stall::Inconclusive {
                revision: backoff.revision.clone(),
                tries: backoff.inconclusive,
                attempt: backoff.attempt,
                cause: backoff.message.clone(),
            };
            return ctx.stall(stall);
        }
        let until = backoff.until;
        if until > ctx.now {
            return ctx.wait(WaitingOn::Backoff { until }, Some(until));
        }
    }
    let pending = ctx.status.pending_records.len();
    if pending >= MAX_PENDING_RECORDS && !asked {
        return ctx.wait(WaitingOn::Records { pending }, None);
    }
    match preflight::check(ctx.observed, plan) {
        None => start_now(ctx, plan, candidate),
        Some(Objection::Waits(on)) => {
            requeue_later(ctx);
            ctx.wait(on, None);
        }
        Some(Objection::Blocked(obstacle)) => {
            requeue_later(ctx);
            ctx.stall(Stall::PreflightFailed(obstacle));
        }
    }
}

/// Starts an attempt, unless its gates cannot be read, the commit is not applied whole, or its canary would
/// be denied.
fn start_now(ctx: &mut DecisionContext<'_>, plan: &Plan, candidate: &Candidate) {
    let known = ctx
        .status
        .history
        .iter()
        .any(|known| known.revision == candidate.revision);
    let shortcut = match plan.known_good {
        _ if interventions::promotes(&ctx.status, &candidate.revision) => Some(Shortcut::Promote),
        KnownGood::Fast if known => Some(Shortcut::KnownGood),
        KnownGood::Fast | KnownGood::Steps => None,
    };
    // Steps that are skipped need no share.
    if shortcut.is_none()
        && let Some(obstacle) = preflight::share_out_of_reach(ctx.observed, plan)
    {
        requeue_later(ctx);
        return ctx.stall(Stall::PreflightFailed(obstacle));
    }
    // A revision that was good before is not held up by Prometheus, nor is one that somebody wants
    // without its data.
    if shortcut.is_none() && !queries::gates_can_be_read(ctx, plan, candidate) {
        return;
    }
    // While a commit is partly applied, spec and template may come from different commits.
    if ctx.observed.applying {
        return ctx.requeue_after(PARTIAL_APPLY_REQUEUE);
    }
    if shortcut != Some(Shortcut::Promote) && !admission::is_admitted(ctx, candidate) {
        return;
    }
    attempt::begin(ctx, plan, candidate, Stage::Pinning, shortcut);
    if ctx.status.attempt.is_some() {
        ctx.actions.push(Action::RunPreflightWarnings);
    }
}

/// The revisions that may be needed again.
fn kept(ctx: &DecisionContext<'_>, stable: &Stable, candidate: &Candidate) -> Vec<Revision> {
    let history = ctx
        .status
        .history
        .iter()
        .map(|known| known.revision.clone());
    history
        .chain([stable.revision.clone(), candidate.revision.clone()])
        .collect()
}

fn wait_for_workload(ctx: &mut DecisionContext<'_>, plan: &Plan) {
    let workload = plan.workload.clone();
    ctx.wait(WaitingOn::Workload { workload }, None);
}
