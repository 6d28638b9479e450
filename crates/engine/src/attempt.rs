//! The beginning and the end of an attempt.

use jiff::SignedDuration;
use tidegate_api::{
    record::{Outcome, PendingRecord, Reason, Record, RestoreOrder, RestoreResult},
    rollout::{OnRollback, WorkloadKind, WorkloadRef},
    status::{
        Attempt, Backoff, Ending, KnownGoodRevision, OutcomeSummary, Rejected, Shortcut, Stable,
        Stage,
    },
};

use crate::{decision::Action, note::Note, observed::Candidate, plan::Plan, records, turn::Turn};

/// How long a revision waits after its first inconclusive attempt; twice as long after each next.
const BACKOFF: SignedDuration = SignedDuration::from_mins(5);

/// The longest that it waits.
const MAX_BACKOFF: SignedDuration = SignedDuration::from_hours(2);

/// How many rejected revisions and taken interventions are remembered.
const MEMORY: usize = 20;

/// Begins an attempt of the candidate at this stage. The finalizer is there before it: a Rollout that
/// is deleted right then must not take what git is owed with it.
pub(crate) fn begin(
    turn: &mut Turn<'_>,
    plan: &Plan,
    candidate: &Candidate,
    stage: Stage,
    shortcut: Option<Shortcut>,
) {
    if !turn.seen.finalizer {
        turn.actions.push(Action::AddFinalizer);
        return;
    }
    let number = turn.status.attempts + 1;
    let attempt = Attempt {
        number,
        id: records::id(&turn.seen.identity, candidate.revision.as_str(), number),
        revision: candidate.revision.to_string(),
        sequence: candidate.sequence,
        source: candidate.source.clone(),
        images: candidate.images.clone(),
        started_at: turn.now,
        epoch: turn.seen.epoch,
        shortcut,
        plan: turn.seen.spec.clone(),
        stage,
        stage_since: turn.now,
        step: 0,
        weight: 0.0,
        confirmed_at: None,
        unready_since: None,
        losses: 0,
        paused: false,
        template_in: false,
        canary_hash: None,
        promoted_hash: None,
        steps: Vec::new(),
        gates: plan
            .gates
            .iter()
            .map(|gate| crate::gate::evidence::begin_step(gate, None))
            .collect(),
        ending: None,
    };
    turn.say(Note::Started {
        attempt: number,
        revision: attempt.revision.clone(),
        commit: attempt.source.commit.clone(),
    });
    turn.status.attempts = number;
    let record = records::started(&turn.seen.identity, &attempt, turn.status.stable.as_ref());
    turn.status.attempt = Some(attempt);
    owe(turn, Record::Started(Box::new(record)), None);
}

/// The outcome is certain: it is remembered, and owed to git.
pub(crate) fn conclude(turn: &mut Turn<'_>, plan: &Plan) {
    let attempt = turn.attempt().clone();
    let Some(ending) = attempt.ending.clone() else {
        return;
    };
    let mut record = records::outcome(turn, &attempt, &ending);
    let restore = match restore_order(turn, plan, &attempt, &ending) {
        Some(Ok(order)) => Some(order),
        Some(Err(why)) => {
            record.restore = Some(RestoreResult::Refused { why });
            None
        }
        None => None,
    };
    owe(turn, Record::Outcome(Box::new(record)), restore);
    match ending.outcome {
        Outcome::Promoted => promote(turn, plan, &attempt),
        Outcome::Aborted if ending.reason == Reason::Inconclusive => back_off(turn, &attempt),
        Outcome::RolledBack | Outcome::Failed | Outcome::Aborted => reject(turn, &attempt, &ending),
        Outcome::Superseded => {}
    }
}

/// Nothing of the attempt is left in the cluster.
pub(crate) fn end(turn: &mut Turn<'_>) {
    let Some(attempt) = turn.status.attempt.take() else {
        return;
    };
    let Some(ending) = attempt.ending else { return };
    turn.say(Note::Ended {
        attempt: attempt.number,
        revision: attempt.revision.clone(),
        outcome: ending.outcome,
        reason: ending.reason,
        message: ending.message.clone(),
    });
    turn.status.last_outcome = Some(OutcomeSummary {
        attempt: attempt.number,
        revision: attempt.revision,
        ending,
    });
}

fn promote(turn: &mut Turn<'_>, plan: &Plan, attempt: &Attempt) {
    let stable = Stable {
        revision: attempt.revision.clone(),
        pod_template_hash: attempt.promoted_hash.clone().unwrap_or_default(),
        source: attempt.source.clone(),
        since: turn.now,
    };
    turn.status
        .rejected
        .retain(|rejected| rejected.revision != stable.revision);
    turn.status.backoff = None;
    remember_good(turn, plan, &stable.revision);
    turn.status.stable = Some(stable);
}

/// Remembers a promoted revision, newest first.
pub(crate) fn remember_good(turn: &mut Turn<'_>, plan: &Plan, revision: &str) {
    let now = turn.now;
    let history = &mut turn.status.history;
    history.retain(|known| known.revision != revision);
    history.insert(
        0,
        KnownGoodRevision {
            revision: revision.to_owned(),
            at: now,
        },
    );
    history.truncate(plan.history);
}

/// An aborted revision is held like one that was rolled back: nobody wants it tried again by
/// itself. It does not count as known good any more.
fn reject(turn: &mut Turn<'_>, attempt: &Attempt, ending: &Ending) {
    let status = &mut turn.status;
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
            attempt: attempt.number,
            message: ending.message.clone(),
            at: ending.at,
        },
    );
    status.rejected.truncate(MEMORY);
}

fn back_off(turn: &mut Turn<'_>, attempt: &Attempt) {
    let before = turn
        .status
        .backoff
        .as_ref()
        .filter(|before| before.revision == attempt.revision);
    let tries = before.map_or(0, |before| before.tries) + 1;
    let wait = BACKOFF
        .saturating_mul(1 << (tries - 1).min(10))
        .min(MAX_BACKOFF);
    let until = turn.now.saturating_add(wait).unwrap_or(turn.now);
    turn.status.backoff = Some(Backoff {
        revision: attempt.revision.clone(),
        tries,
        until,
    });
}

/// A record that is to be written, where a `ConfigRepo` is there to take it.
fn owe(turn: &mut Turn<'_>, record: Record, restore: Option<RestoreOrder>) {
    if let Some(config_repo) = record.head().source.config_repo.clone() {
        turn.status.pending_records.push(PendingRecord {
            config_repo,
            record,
            restore,
        });
    }
}

/// What is to be put back on the config branch, where that is wanted; or why nothing can be.
fn restore_order(
    turn: &Turn<'_>,
    plan: &Plan,
    attempt: &Attempt,
    ending: &Ending,
) -> Option<Result<RestoreOrder, String>> {
    let asked = attempt
        .plan
        .outcomes
        .as_ref()
        .and_then(|outcomes| outcomes.on_rollback);
    let wanted = asked.unwrap_or(turn.seen.default_on_rollback) == OnRollback::Restore;
    if ending.outcome != Outcome::RolledBack || !wanted {
        return None;
    }
    let good = turn.status.stable.as_ref().map(|stable| &stable.source);
    let path = attempt.source.path.clone()?;
    let Some(good_commit) = good.and_then(|good| good.commit.clone()) else {
        return Some(Err(format!(
            "no commit holds what runs, because it was adopted as it ran: put its template into `{path}` by hand"
        )));
    };
    Some(Ok(RestoreOrder {
        good_commit,
        good_path: good.and_then(|good| good.path.clone()),
        path,
        workload: WorkloadRef {
            kind: WorkloadKind::Deployment,
            name: plan.workload.clone(),
        },
        rejected: attempt.revision.clone(),
    }))
}
