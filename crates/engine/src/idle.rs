//! Between attempts: adopting a workload, and beginning the next attempt.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    rollout::KnownGood,
    status::{Rejected, Shortcut, Stable, Stage},
};

use crate::{
    attempt,
    context::{DecisionContext, Wait},
    decision::Action,
    event::{Event, StallReason},
    observed::{Candidate, Comparison, QueryCheck, Workload},
    plan::Plan,
    preflight,
    revision::{Revision, short},
};

/// How long what stands in the way of a release is taken for granted.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// How long what Prometheus said of the queries is: a series may appear with the next scrape.
const CHECK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// After this long Prometheus has scraped stable's pods, if it ever does.
const SCRAPED_BY: SignedDuration = SignedDuration::from_mins(2);

/// What Prometheus said so long ago was of another time.
const CHECK_OLD: SignedDuration = SignedDuration::from_secs(60);

/// How soon it is looked again whether a commit has been applied whole.
const APPLIED_SOON: SignedDuration = SignedDuration::from_millis(200);

/// No attempt runs.
pub(crate) fn idle(ctx: &mut DecisionContext<'_>) {
    if ctx.observed.deleting {
        return on_delete(ctx);
    }
    look_for_work(ctx);
    // Said as soon as a Rollout is there, not at its first release.
    if let Some(unlisted) = preflight::unlisted_routes(ctx.observed)
        && ctx.stalled.is_none()
    {
        requeue_later(ctx);
        ctx.stall(StallReason::PreflightFailed, unlisted);
    }
    // What git is owed would be lost with the Rollout.
    if ctx.observed.finalizer
        && ctx.status.attempt.is_none()
        && ctx.status.pending_records.is_empty()
    {
        ctx.actions.push(Action::RemoveFinalizer);
    }
}

fn look_for_work(ctx: &mut DecisionContext<'_>) {
    let plan = match Plan::parse(&ctx.observed.identity.name, &ctx.observed.spec) {
        Ok(plan) => plan,
        Err(error) => return ctx.stall(StallReason::InvalidSpec, error.to_string()),
    };
    // Said before anything else: what another Rollout governs never comes to this one.
    if let Some(refusal) = preflight::ownership_conflict(ctx.observed, &plan) {
        requeue_later(ctx);
        return ctx.stall(StallReason::PreflightFailed, refusal);
    }
    collect_canary(ctx);
    let Some(candidate) = &ctx.observed.candidate else {
        return wait(
            ctx,
            format!("waiting for a ConfigRepo to bring {}", plan.workload),
        );
    };
    match ctx.status.stable.clone() {
        None if candidate.first_deploy => first_deploy(ctx, &plan, candidate),
        None => adopt(ctx, &plan, candidate),
        Some(stable) => compare(ctx, &plan, &stable, candidate),
    }
}

/// A canary of no attempt: a former leader's last write, or what a Rollout left whose finalizer
/// somebody has taken off.
fn collect_canary(ctx: &mut DecisionContext<'_>) {
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
    let rejection = rejection(ctx, candidate);
    if rejection.is_some() && rolled_out && candidate.comparison == Comparison::Unknown {
        ctx.actions.push(Action::DryRunCandidate);
    }
    let ready = rolled_out && candidate.comparison == Comparison::Same;
    match rejection {
        // What has failed and became ready after all has not failed.
        Some(rejected) if !ready => {
            let message = format!(
                "the first revision failed ({}): commit another",
                rejected.message
            );
            ctx.stall(StallReason::InitialFailed, message);
        }
        Some(_) | None => attempt::begin(ctx, plan, candidate, Stage::Initial, None),
    }
}

/// A workload that runs already is stable as it runs.
fn adopt(ctx: &mut DecisionContext<'_>, plan: &Plan, candidate: &Candidate) {
    let Some(workload) = ctx
        .observed
        .workload
        .as_ref()
        .filter(|workload| workload.rolled_out() && !workload.paused)
    else {
        return wait(
            ctx,
            format!(
                "waiting for {} to be fully rolled out, to adopt it",
                plan.workload
            ),
        );
    };
    let Some(current) = workload.current() else {
        return wait(
            ctx,
            format!("waiting for the current version of {}", plan.workload),
        );
    };
    let (revision, source) = match candidate.comparison {
        Comparison::Unknown => return ctx.actions.push(Action::DryRunCandidate),
        Comparison::Same => (candidate.revision.clone(), candidate.source.clone()),
        Comparison::Different | Comparison::Refused { .. } => (
            Revision::named(workload.template.to_string()),
            tidegate_api::status::Source::default(),
        ),
    };
    ctx.emit(Event::Adopted {
        revision: revision.to_string(),
    });
    attempt::remember_good(ctx, plan, revision.as_str());
    ctx.status.stable = Some(Stable {
        revision: revision.to_string(),
        pod_template_hash: current.id.clone(),
        source,
        since: ctx.now,
    });
}

/// Whether there is something to release, and whether it may be.
fn compare(ctx: &mut DecisionContext<'_>, plan: &Plan, stable: &Stable, candidate: &Candidate) {
    ctx.actions.push(Action::CollectRevisions {
        keep: kept(ctx, stable, candidate),
    });
    if revert_stable_template(ctx, stable) {
        return;
    }
    if candidate.revision.as_str() == stable.revision {
        if ctx.observed.workload.is_none() {
            wait(ctx, format!("{} does not exist", plan.workload));
        }
        return;
    }
    if let Some(rejected) = rejection(ctx, candidate) {
        let revision = candidate.revision.short();
        let message = format!(
            "revision {revision} was not promoted ({}): commit another, commit it again, or ask to retry attempt {}",
            rejected.message, rejected.attempt
        );
        return ctx.stall(StallReason::Rejected, message);
    }
    match &candidate.comparison {
        Comparison::Unknown if ctx.observed.workload.is_none() => {
            wait(ctx, format!("{} does not exist", plan.workload));
        }
        Comparison::Unknown => ctx.actions.push(Action::DryRunCandidate),
        Comparison::Same => relabel_stable(ctx, candidate),
        Comparison::Refused { why, at } => {
            ctx.stall(
                StallReason::PreflightFailed,
                format!("the API server refuses the new template: {why}"),
            );
            retry_after(ctx, *at, ASK_AGAIN, Action::DryRunCandidate);
        }
        Comparison::Different => start(ctx, plan, candidate),
    }
}

/// What stands in the way may be an object that wakes others than this Rollout: a workload beside
/// it, or another Rollout.
fn requeue_later(ctx: &mut DecisionContext<'_>) {
    let due = ctx.now.saturating_add(ASK_AGAIN).unwrap_or(Timestamp::MAX);
    ctx.requeue_at(due);
}

/// What was refused when it was asked may be taken later: a right was given, a policy was changed.
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

/// What others changed in stable's template is put back before anything else, whatever git asks for:
/// an attempt pins traffic to stable's pods, so they must be there.
fn revert_stable_template(ctx: &mut DecisionContext<'_>, stable: &Stable) -> bool {
    let Some(workload) = &ctx.observed.workload else {
        return false;
    };
    let wrong = ctx
        .observed
        .is_known_to_differ_from_stable(workload, &stable.pod_template_hash);
    if wrong {
        ctx.emit(Event::DriftCorrected {
            what: "the workload's template".to_owned(),
            manager: workload.template_manager.clone(),
        });
        ctx.actions
            .push(Action::WriteTemplate(Revision::named(&stable.revision)));
    }
    wrong
}

/// Another text for the same content: git is right already.
fn relabel_stable(ctx: &mut DecisionContext<'_>, candidate: &Candidate) {
    if let Some(stable) = &mut ctx.status.stable {
        stable.revision = candidate.revision.to_string();
        stable.source = candidate.source.clone();
    }
}

fn start(ctx: &mut DecisionContext<'_>, plan: &Plan, candidate: &Candidate) {
    let backoff = ctx
        .status
        .backoff
        .as_ref()
        .filter(|backoff| backoff.revision == candidate.revision.as_str());
    if let Some(until) = backoff
        .map(|backoff| backoff.until)
        .filter(|until| *until > ctx.now)
    {
        let message = format!("the last attempt was inconclusive; the next begins at {until:.0}");
        return ctx.wait(Wait {
            message,
            until: Some(until),
        });
    }
    match preflight::check(ctx.observed, plan) {
        preflight::Answer::Clear => {
            let known = ctx
                .status
                .history
                .iter()
                .any(|known| known.revision == candidate.revision.as_str());
            let fast = known && plan.known_good == KnownGood::Fast;
            // What was good before is not held up by Prometheus.
            if !fast && !gates_can_be_read(ctx, plan) {
                return;
            }
            // Half of a commit may be another plan with the template of the last one.
            if ctx.observed.applying {
                return ctx.requeue_at(
                    ctx.now
                        .saturating_add(APPLIED_SOON)
                        .unwrap_or(Timestamp::MAX),
                );
            }
            attempt::begin(
                ctx,
                plan,
                candidate,
                Stage::Pinning,
                fast.then_some(Shortcut::KnownGood),
            );
            if ctx.status.attempt.is_some() {
                ctx.actions.push(Action::RunPreflightWarnings);
            }
        }
        preflight::Answer::Waits(message) => {
            requeue_later(ctx);
            wait(ctx, message);
        }
        preflight::Answer::Refused(message) => {
            requeue_later(ctx);
            ctx.stall(StallReason::PreflightFailed, message);
        }
    }
}

/// Whether the gates could judge the candidate: one whose query says nothing of stable says nothing
/// of the canary either, and traffic does not move while nobody can watch it.
fn gates_can_be_read(ctx: &mut DecisionContext<'_>, plan: &Plan) -> bool {
    if !plan.gates.iter().any(|gate| gate.enforced) {
        return true;
    }
    let now = ctx.now;
    let recent = |at: &Timestamp, limit| now.duration_since(*at) < limit;
    match &ctx.observed.queries {
        QueryCheck::Usable { at } if recent(at, CHECK_AGAIN) => return true,
        QueryCheck::Invalid { why, at } if recent(at, CHECK_OLD) => {
            ctx.stall(StallReason::InvalidQuery, why);
            retry_after(ctx, *at, CHECK_AGAIN, Action::CheckQueries);
        }
        QueryCheck::SelectsNothing { why, at } if recent(at, CHECK_OLD) => {
            let young = ctx
                .status
                .stable
                .as_ref()
                .is_some_and(|stable| recent(&stable.since, SCRAPED_BY));
            if young {
                wait(ctx, why);
            } else {
                ctx.stall(StallReason::InvalidQuery, why);
            }
            retry_after(ctx, *at, CHECK_AGAIN, Action::CheckQueries);
        }
        QueryCheck::Unreadable { why, at } if recent(at, CHECK_OLD) => {
            wait(ctx, why);
            retry_after(ctx, *at, CHECK_AGAIN, Action::CheckQueries);
        }
        QueryCheck::Unknown
        | QueryCheck::Usable { .. }
        | QueryCheck::Invalid { .. }
        | QueryCheck::SelectsNothing { .. }
        | QueryCheck::Unreadable { .. } => ctx.actions.push(Action::CheckQueries),
    }
    false
}

/// The rejection that holds the candidate back: of the same revision, asked for by the same commit.
fn rejection(ctx: &DecisionContext<'_>, candidate: &Candidate) -> Option<Rejected> {
    let same = |rejected: &&Rejected| {
        rejected.revision == candidate.revision.as_str()
            && rejected.commit == candidate.source.commit
    };
    ctx.status.rejected.iter().find(same).cloned()
}

/// The revisions that may be needed again.
fn kept(ctx: &DecisionContext<'_>, stable: &Stable, candidate: &Candidate) -> Vec<Revision> {
    let history = ctx
        .status
        .history
        .iter()
        .map(|known| Revision::named(&known.revision));
    history
        .chain([
            Revision::named(&stable.revision),
            candidate.revision.clone(),
        ])
        .collect()
}

fn wait(ctx: &mut DecisionContext<'_>, message: impl Into<String>) {
    ctx.wait(Wait {
        message: message.into(),
        until: None,
    });
}

/// The stable revision in words, for messages.
pub(crate) fn stable_in_words(stable: Option<&Stable>) -> String {
    stable.map_or_else(
        || "no revision is stable yet".to_owned(),
        |stable| format!("revision {} is stable", short(&stable.revision)),
    )
}
