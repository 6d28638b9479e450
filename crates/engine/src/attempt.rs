//! The beginning and the end of an attempt.

use jiff::SignedDuration;
use tidegate_api::{
    CommitId, Revision,
    config::ConfigRef,
    record::{Outcome, PendingRecord, Reason, Record, RestoreOrder, RestoreResult},
    rollout::GitOnRollback,
    status::{
        Attempt, Backoff, Ending, KnownGoodRevision, OutcomeSummary, Rejected, Shortcut, Stable,
        Stage, Superseded,
    },
};

use crate::{
    context::DecisionContext,
    event::Event,
    observed::{Brake, Candidate, Observed},
    plan::Plan,
    records, released_config,
    weight::Weight,
};

/// Pause after a revision's first inconclusive attempt; twice as long after each next.
const BACKOFF: SignedDuration = SignedDuration::from_mins(5);

/// The longest that it waits.
const MAX_BACKOFF: SignedDuration = SignedDuration::from_hours(2);

/// Time within which a promoted revision that is left for an older one is no longer known to be good.
const LEFT_SOON: SignedDuration = SignedDuration::from_hours(24);

/// Number of rejected revisions that are remembered.
const MEMORY: usize = 20;

/// Obstacle to a restore.
pub(crate) enum RestoreObstacle {
    /// Stable was adopted as it ran, so no commit holds its template.
    NoGoodCommit {
        /// File that holds the workload.
        path: String,
    },
    /// The revision has config of its own, which is not put back: a template alone would be half of what was good.
    Config {
        /// The ConfigMaps and Secrets.
        config: Vec<ConfigRef>,
        /// Commit that asked for the revision.
        commit: Option<CommitId>,
    },
}

/// Begins an attempt of the candidate at this stage. The finalizer is there before it: a Rollout that
/// is deleted right then must not take what git is owed with it.
pub(crate) fn begin(
    ctx: &mut DecisionContext<'_>,
    plan: &Plan,
    candidate: &Candidate,
    stage: Stage,
    shortcut: Option<Shortcut>,
) {
    if !ctx.observed.finalizer {
        ctx.needs_finalizer = true;
        return;
    }
    let number = ctx.status.attempts + 1;
    let attempt = Attempt {
        number,
        id: records::id(&ctx.observed.identity, candidate.revision.as_str(), number),
        revision: candidate.revision.clone(),
        sequence: candidate.sequence,
        source: candidate.source.clone(),
        images: candidate.images.clone(),
        // Where nothing is stable yet, nobody reads what was there before.
        config: candidate.config.clone().filter(|_| stage != Stage::Initial),
        started_at: ctx.now,
        epoch: ctx.observed.epoch,
        shortcut,
        plan: ctx.observed.spec.clone(),
        stage,
        stage_since: ctx.now,
        step: 0,
        weight: Weight::ZERO,
        traffic_since: None,
        confirmed_at: None,
        unready_since: None,
        readiness_lost_at: Vec::new(),
        stable_ready_replicas: ready_replicas(ctx.observed),
        failovers: Vec::new(),
        min_canary_replicas: 0,
        sized_for: ctx
            .observed
            .workload
            .as_ref()
            .map(|workload| workload.replicas),
        paused: false,
        suspension: None,
        stable_template_updated: false,
        canary_pod_template_hash: None,
        promoted_pod_template_hash: None,
        steps: Vec::new(),
        gates: plan
            .gates
            .iter()
            .map(|gate| crate::gate::evidence::begin_step(gate, None))
            .collect(),
        ending: None,
    };
    ctx.emit(Event::Started {
        attempt: number,
        revision: attempt.revision.clone(),
        commit: attempt.source.commit.clone(),
    });
    ctx.status.attempts = number;
    let record = records::started(&ctx.observed.identity, &attempt, ctx.status.stable.as_ref());
    ctx.status.attempt = Some(attempt);
    owe(ctx, Record::Started(Box::new(record)), None);
}

/// Returns the number of stable's ready pods, if none is missing.
fn ready_replicas(observed: &Observed) -> Option<u32> {
    let workload = observed.workload.as_ref()?;
    let ready = observed.ready_of_stable();
    if workload.replicas > 0 && ready >= workload.replicas {
        Some(ready)
    } else {
        None
    }
}

/// The outcome is certain: it is remembered, and owed to git.
pub(crate) fn conclude(ctx: &mut DecisionContext<'_>, plan: &Plan) {
    let attempt = ctx.attempt().clone();
    let Some(ending) = attempt.ending.clone() else {
        return;
    };
    let mut record = records::outcome(ctx, &attempt, &ending);
    let restore = match restore_order(ctx, &attempt, &ending) {
        Some(Ok(order)) => Some(order),
        Some(Err(obstacle)) => {
            record.restore = Some(RestoreResult::Refused {
                why: obstacle.to_string(),
            });
            None
        }
        None => None,
    };
    owe(ctx, Record::Outcome(Box::new(record)), restore);
    match ending.outcome {
        Outcome::Promoted => promote(ctx, plan, &attempt),
        Outcome::Aborted if !is_held(ending.reason) => back_off(ctx, &attempt, &ending),
        Outcome::RolledBack | Outcome::Failed | Outcome::Aborted => reject(ctx, &attempt, &ending),
        Outcome::Superseded => {}
    }
    count_superseded(ctx, &attempt, &ending);
}

/// Counts the attempts in a row that a newer revision has ended: where commits come faster than releases
/// end, nothing is ever promoted.
fn count_superseded(ctx: &mut DecisionContext<'_>, attempt: &Attempt, ending: &Ending) {
    if ending.outcome != Outcome::Superseded {
        ctx.status.superseded = None;
        return;
    }
    let superseded = ctx.status.superseded.get_or_insert(Superseded {
        times: 0,
        since: attempt.started_at,
    });
    superseded.times = superseded.times.saturating_add(1);
}

/// Returns true if an aborted revision is not tried again by itself: a person has said so. Anything
/// else is nothing that the revision could be blamed for.
fn is_held(reason: Reason) -> bool {
    matches!(reason, Reason::AbortRequested | Reason::ApprovalTimeout)
}

/// Nothing of the attempt is left in the cluster.
pub(crate) fn end(ctx: &mut DecisionContext<'_>) {
    let Some(attempt) = ctx.status.attempt.take() else {
        return;
    };
    let Some(ending) = attempt.ending else { return };
    ctx.emit(Event::Ended {
        attempt: attempt.number,
        revision: attempt.revision.clone(),
        ending: ending.clone(),
    });
    ctx.status.last_outcome = Some(OutcomeSummary {
        attempt: attempt.number,
        revision: attempt.revision,
        commit: attempt.source.commit,
        ending,
    });
}

fn promote(ctx: &mut DecisionContext<'_>, plan: &Plan, attempt: &Attempt) {
    // A first revision may have been restarted before it was ready, and what somebody applies may bear the mark of
    // a restart. Any other is written without one.
    let workload = ctx.observed.workload.as_ref();
    let may_bear_mark = attempt.stage == Stage::Initial || ctx.observed.brake == Brake::Pause;
    let marked = workload.filter(|_| may_bear_mark);
    let stable = Stable {
        revision: attempt.revision.clone(),
        pod_template_hash: attempt
            .promoted_pod_template_hash
            .clone()
            .unwrap_or_default(),
        restarted_at: marked.and_then(|workload| workload.restarted_at.clone()),
        config: match marked {
            Some(workload) => workload.config.clone(),
            None => attempt.config.as_ref().map(|config| config.digest.clone()),
        },
        source: attempt.source.clone(),
        since: ctx.now,
    };
    ctx.status
        .rejected
        .retain(|rejected| rejected.revision != stable.revision);
    ctx.status.backoff = None;
    forget_left(ctx, &stable.revision);
    remember_good(ctx, plan, &stable.revision);
    ctx.status.stable = Some(stable);
}

/// Forgets that stable was good, if it is left for an older revision soon after it was promoted:
/// somebody has found in it what no gate had.
fn forget_left(ctx: &mut DecisionContext<'_>, promoted: &Revision) {
    let Some(left) = &ctx.status.stable else {
        return;
    };
    let history = &mut ctx.status.history;
    let is_older = history.iter().any(|known| known.revision == *promoted);
    if is_older && left.revision != *promoted && ctx.now.duration_since(left.since) < LEFT_SOON {
        history.retain(|known| known.revision != left.revision);
    }
}

/// Remembers a promoted revision, newest first.
pub(crate) fn remember_good(ctx: &mut DecisionContext<'_>, plan: &Plan, revision: &Revision) {
    let now = ctx.now;
    let history = &mut ctx.status.history;
    history.retain(|known| known.revision != *revision);
    history.insert(
        0,
        KnownGoodRevision {
            revision: revision.clone(),
            at: now,
        },
    );
    history.truncate(plan.revision_history_limit);
}

/// An aborted revision is held like one that was rolled back: nobody wants it tried again by
/// itself. It does not count as known good any more.
fn reject(ctx: &mut DecisionContext<'_>, attempt: &Attempt, ending: &Ending) {
    let status = &mut ctx.status;
    let before = status
        .rejected
        .iter()
        .find(|rejected| rejected.revision == attempt.revision)
        .map_or(0, |rejected| rejected.rejected_before.saturating_add(1));
    status
        .rejected
        .retain(|rejected| rejected.revision != attempt.revision);
    if ending.outcome == Outcome::RolledBack {
        status
            .history
            .retain(|known| known.revision != attempt.revision);
    }
    status.rejected.insert(
        0,
        Rejected {
            revision: attempt.revision.clone(),
            commit: attempt.source.commit.clone(),
            sequence: attempt.sequence,
            attempt: attempt.number,
            rejected_before: before,
            message: ending.message.clone(),
            at: ending.at,
        },
    );
    status.rejected.truncate(MEMORY);
}

fn back_off(ctx: &mut DecisionContext<'_>, attempt: &Attempt, ending: &Ending) {
    let before = ctx
        .status
        .backoff
        .as_ref()
        .filter(|before| before.revision == attempt.revision);
    let tries = before.map_or(0, |before| before.tries) + 1;
    let inconclusive = before.map_or(0, |before| before.inconclusive)
        + u32::from(ending.reason == Reason::Inconclusive);
    let wait = BACKOFF
        .saturating_mul(1 << (tries - 1).min(10))
        .min(MAX_BACKOFF);
    let until = ctx.now.saturating_add(wait).unwrap_or(ctx.now);
    ctx.status.backoff = Some(Backoff {
        revision: attempt.revision.clone(),
        tries,
        inconclusive,
        attempt: attempt.number,
        message: ending.message.clone(),
        until,
    });
}

/// A record that is to be written, where a `ConfigRepo` is there to take it.
fn owe(ctx: &mut DecisionContext<'_>, record: Record, restore: Option<RestoreOrder>) {
    if let Some(config_repo) = record.head().source.config_repo.clone() {
        ctx.status.pending_records.push(PendingRecord {
            config_repo,
            record,
            restore,
        });
    }
}

/// Returns the order to restore the last good template on the config branch, where that is wanted;
/// or the obstacle to it.
fn restore_order(
    ctx: &DecisionContext<'_>,
    attempt: &Attempt,
    ending: &Ending,
) -> Option<Result<RestoreOrder, RestoreObstacle>> {
    let on_rollback = attempt.plan.on_rollback;
    let git = on_rollback.unwrap_or(ctx.observed.default_on_rollback).git;
    if ending.outcome != Outcome::RolledBack || git != GitOnRollback::Restore {
        return None;
    }
    let good = ctx.status.stable.as_ref().map(|stable| &stable.source);
    let path = attempt.source.path.clone()?;
    let Some(good_commit) = good.and_then(|good| good.commit.clone()) else {
        return Some(Err(RestoreObstacle::NoGoodCommit { path }));
    };
    let config = released_config::objects(attempt);
    if !config.is_empty() {
        let commit = attempt.source.commit.clone();
        return Some(Err(RestoreObstacle::Config { config, commit }));
    }
    Some(Ok(RestoreOrder {
        good_commit,
        good_path: good.and_then(|good| good.path.clone()),
        path,
        workload: attempt.plan.workload.clone(),
        rejected: attempt.revision.clone(),
        written_as: attempt.source.written_as.clone(),
    }))
}
