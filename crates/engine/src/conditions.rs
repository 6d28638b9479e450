//! Conditions of a Rollout, by the rules of kstatus: `Ready` is true only of what is wanted,
//! `Reconciling` and `Stalled` say why it is not true yet, and each condition says which generation
//! it is about.

pub(crate) mod cause;

use tidegate_api::{
    Condition,
    condition::{self, ConditionStatus},
    reason::{
        AvailableReason, ConditionType, FieldConflictReason, ReadyReason, ReasonCode,
        StableDegradedReason, StallReason, SuspendedReason,
    },
    status::{Attempt, Phase},
};

use self::cause::{MissingPods, Unavailable};
use crate::{
    context::DecisionContext,
    event::Event,
    field_conflict,
    observed::{Observed, RouteState, Workload},
    stall,
    weight::Weight,
    wording,
};

/// Progress towards the wanted revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The wanted revision is stable and nothing is to be done.
    Done,
    /// No revision is stable yet.
    First,
    /// An attempt is running, or the wanted revision waits for one.
    Pending,
}

/// Sets every condition of the status, whose phase and message are set already.
pub(crate) fn set_all(ctx: &mut DecisionContext<'_>) {
    let unavailable = unavailable(ctx);
    set_available(ctx, unavailable.as_ref());
    let progress = progress(ctx);
    set_ready(ctx, progress, unavailable.as_ref());
    set_reconciling(ctx, progress);
    set_stalled(ctx);
    set_stable_degraded(ctx);
    set_field_conflict(ctx);
    set_suspended(ctx);
}

fn progress(ctx: &DecisionContext<'_>) -> Progress {
    if ctx.observed.is_observing() {
        let workload = ctx.observed.workload.as_ref();
        let is_whole = workload.is_some_and(Workload::rolled_out) && ctx.status.stable.is_none();
        return if is_whole {
            Progress::Done
        } else {
            Progress::Pending
        };
    }
    let Some(stable) = &ctx.status.stable else {
        return Progress::First;
    };
    let wanted = ctx.observed.candidate.as_ref();
    let is_stable = wanted.is_some_and(|wanted| wanted.revision == stable.revision);
    // What somebody has just applied is wanted before it is kept.
    let observed = ctx.observed;
    let is_newest = observed.new_template().is_none() && !observed.has_unkept_template();
    if is_stable && is_newest && ctx.status.attempt.is_none() && !runs_another(ctx) {
        Progress::Done
    } else {
        Progress::Pending
    }
}

/// Returns true if the workload does not run stable's revision though no attempt has it run another:
/// somebody has written its template or deleted the version, or pods of another one still serve its
/// callers.
pub(crate) fn runs_another(ctx: &DecisionContext<'_>) -> bool {
    let (None, Some(stable), Some(workload)) = (
        &ctx.status.attempt,
        &ctx.status.stable,
        &ctx.observed.workload,
    ) else {
        return false;
    };
    let Some(version) = workload.version(&stable.pod_template_hash) else {
        return true;
    };
    let endpoints = &ctx.observed.stable_endpoints;
    let serves_another = if ctx.observed.is_without_service() {
        let mut versions = workload.versions.iter();
        versions.any(|one| one.ready > 0 && one.content != version.content)
    } else {
        endpoints.ready > 0 && !endpoints.are_of_version(&version.id)
    };
    let mut same = workload.with_content_of(version);
    version.content != workload.content || serves_another && same.all(|one| one.ready == 0)
}

fn set_available(ctx: &mut DecisionContext<'_>, unavailable: Option<&Unavailable>) {
    let (reason, message) = match unavailable {
        None if ctx.observed.is_without_service() => (AvailableReason::PodsReady, String::new()),
        None => (AvailableReason::EndpointsReady, String::new()),
        Some(cause) => (cause.reason(), cause.to_string()),
    };
    let holds = unavailable.is_none();
    set(ctx, ConditionType::Available, holds, reason, &message);
}

fn set_ready(ctx: &mut DecisionContext<'_>, progress: Progress, unavailable: Option<&Unavailable>) {
    let reason = match (progress, unavailable) {
        _ if ctx.stalled.is_some() => ReadyReason::Stalled,
        (Progress::Done, None) if ctx.observed.is_observing() => ReadyReason::RolledOut,
        (Progress::Pending, _) if ctx.observed.is_observing() => ReadyReason::RollingOut,
        (Progress::First, _) => ReadyReason::NoStableRevision,
        (Progress::Pending, _) if ctx.is_rejected_in_suspension => ReadyReason::Rejected,
        (Progress::Pending, _) if ctx.observed.spec.suspend => ReadyReason::Suspended,
        (Progress::Pending, _) => ReadyReason::RevisionPending,
        (Progress::Done, Some(_)) => ReadyReason::NotAvailable,
        (Progress::Done, None) => ReadyReason::RevisionStable,
    };
    let message = ctx.status.message.clone();
    let holds = matches!(reason, ReadyReason::RevisionStable | ReadyReason::RolledOut);
    set(ctx, ConditionType::Ready, holds, reason, &message);
}

fn set_reconciling(ctx: &mut DecisionContext<'_>, progress: Progress) {
    let (holds, reason) = match progress {
        _ if ctx.stalled.is_some() => (false, Phase::Stalled),
        Progress::Done => (false, ctx.status.phase),
        Progress::First | Progress::Pending => match ctx.status.phase {
            // Between attempts, before the next one may start.
            Phase::Stable => (true, Phase::Waiting),
            phase => (true, phase),
        },
    };
    let message = ctx.status.message.clone();
    set(ctx, ConditionType::Reconciling, holds, reason, &message);
}

fn set_stalled(ctx: &mut DecisionContext<'_>) {
    stall::remember_ended(ctx);
    let Some(stall) = ctx.stalled.clone() else {
        set(
            ctx,
            ConditionType::Stalled,
            false,
            StallReason::NotStalled,
            "",
        );
        return;
    };
    let message = stall.to_string();
    let before = Condition::find(&ctx.observed.status.conditions, ConditionType::Stalled);
    let said = before.is_some_and(|before| before.is_true() && before.message == message);
    let reason = stall.reason();
    set(ctx, ConditionType::Stalled, true, reason, &message);
    if !said {
        ctx.emit(Event::Stalled { stall });
    }
}

fn set_stable_degraded(ctx: &mut DecisionContext<'_>) {
    let missing = missing_pods(ctx);
    let failover = ctx.status.attempt.as_ref().and_then(Attempt::failover);
    let holds = ctx.stable_unready || missing.is_some() || failover.is_some();
    let lacks = match missing {
        Some(missing) => missing.to_string(),
        None if holds => "stable has fewer ready pods than all traffic needs".to_owned(),
        None => String::new(),
    };
    let (reason, message) = match failover {
        Some(failover) => (
            StableDegradedReason::FailedOver,
            wording::failed_over(failover, ctx.observed.ready_of_stable(), &lacks),
        ),
        None if holds => (StableDegradedReason::InsufficientReadyReplicas, lacks),
        None => (StableDegradedReason::SufficientReadyReplicas, lacks),
    };
    set(ctx, ConditionType::StableDegraded, holds, reason, &message);
}

/// Returns the pods that stable lacks. While its template is replaced, or put back, the numbers say
/// nothing.
pub(crate) fn missing_pods(ctx: &DecisionContext<'_>) -> Option<MissingPods> {
    let replaced = ctx
        .status
        .attempt
        .as_ref()
        .is_some_and(|attempt| attempt.stable_template_updated);
    let stable = ctx.status.stable.as_ref().filter(|_| !replaced)?;
    let workload = ctx.observed.workload.as_ref()?;
    let version = workload.version(&stable.pod_template_hash)?;
    let ready = workload.with_content_of(version).map(|one| one.ready).sum();
    if ready >= workload.replicas {
        return None;
    }
    Some(MissingPods {
        ready,
        wanted: workload.replicas,
        revision: stable.revision.clone(),
        version: version.id.clone(),
    })
}

fn set_field_conflict(ctx: &mut DecisionContext<'_>) {
    let (holds, reason, message) = match field_conflict::conflict(&ctx.status) {
        Some(conflict) => (
            true,
            FieldConflictReason::RepeatedlyReverted,
            conflict.to_string(),
        ),
        None => (false, FieldConflictReason::NoConflict, String::new()),
    };
    set(ctx, ConditionType::FieldConflict, holds, reason, &message);
}

/// The condition is there from the first suspension on.
fn set_suspended(ctx: &mut DecisionContext<'_>) {
    let holds = ctx.observed.spec.suspend;
    let before = Condition::find(&ctx.observed.status.conditions, ConditionType::Suspended);
    if !holds && before.is_none() {
        return;
    }
    let (reason, message) = if holds {
        (SuspendedReason::SuspendRequested, wording::SUSPENDED)
    } else {
        (SuspendedReason::NotSuspended, "")
    };
    set(ctx, ConditionType::Suspended, holds, reason, message);
}

fn set(
    ctx: &mut DecisionContext<'_>,
    type_: ConditionType,
    holds: bool,
    reason: impl ReasonCode,
    message: &str,
) {
    let generation = ctx.observed.identity.generation;
    let status = ConditionStatus::from(holds);
    let condition = Condition::new(type_, status, reason, message, generation, ctx.now);
    condition::set(&mut ctx.status.conditions, condition);
}

/// Returns the first cause for which callers are not served.
fn unavailable(ctx: &DecisionContext<'_>) -> Option<Unavailable> {
    let observed = ctx.observed;
    let spec = match &ctx.status.attempt {
        Some(attempt) => &attempt.plan,
        None => &observed.spec,
    };
    let Some(service) = spec.service_name() else {
        return if is_nobody_at_work(observed) {
            Some(Unavailable::NobodyAtWork)
        } else {
            None
        };
    };
    if !observed.services.iter().any(|live| live.name == service) {
        return Some(Unavailable::ServiceNotFound {
            service: service.to_owned(),
        });
    }
    let missing = observed.routes.iter().find(|route| route.state.is_none());
    if let Some(missing) = missing {
        return Some(Unavailable::RouteNotFound {
            route: missing.route.clone(),
        });
    }
    if stable_gets_traffic(observed) && observed.stable_endpoints.ready == 0 {
        return Some(Unavailable::StableNotReady);
    }
    if canary_gets_traffic(observed) && observed.canary_endpoints.ready == 0 {
        return Some(Unavailable::CanaryNotReady);
    }
    None
}

/// Returns true if a workload that nobody calls wants pods, and none is ready, the canary's included.
fn is_nobody_at_work(observed: &Observed) -> bool {
    let ready = |workload: &Option<Workload>| {
        let workload = workload.as_ref();
        workload.map_or(0, Workload::known_available)
    };
    let wanted = observed.workload.as_ref().map_or(1, |one| one.replicas);
    wanted > 0 && ready(&observed.workload) == 0 && ready(&observed.canary) == 0
}

/// Returns true unless every route sends everything to the canary.
fn stable_gets_traffic(observed: &Observed) -> bool {
    let mut states = states(observed);
    observed.routes.is_empty() || states.any(|state| state.weight != Some(Weight::FULL))
}

fn canary_gets_traffic(observed: &Observed) -> bool {
    states(observed).any(|state| state.weight.is_some_and(|weight| weight > Weight::ZERO))
}

fn states(observed: &Observed) -> impl Iterator<Item = &RouteState> {
    observed
        .routes
        .iter()
        .filter_map(|route| route.state.as_ref())
}
