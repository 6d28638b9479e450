//! Between attempts: adopting a workload, and beginning the next attempt.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    rollout::KnownGood,
    status::{Rejected, Shortcut, Stable, Stage},
};

use crate::{
    attempt,
    decision::Action,
    note::{Note, StallReason},
    observed::{Candidate, Comparison, QueryCheck, Workload},
    plan::Plan,
    preflight,
    revision::{Revision, short},
    turn::{Turn, Wait},
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
pub(crate) fn at_rest(turn: &mut Turn<'_>) {
    if turn.seen.deleting {
        return leave(turn);
    }
    look_for_work(turn);
    // Said as soon as a Rollout is there, not at its first release.
    if !turn.seen.routes_seen && turn.stalled.is_none() {
        look_again(turn);
        turn.stall(StallReason::PreflightFailed, preflight::NO_ROUTES);
    }
    // What git is owed would be lost with the Rollout.
    if turn.seen.finalizer
        && turn.status.attempt.is_none()
        && turn.status.pending_records.is_empty()
    {
        turn.actions.push(Action::RemoveFinalizer);
    }
}

fn look_for_work(turn: &mut Turn<'_>) {
    let plan = match Plan::parse(&turn.seen.identity.name, &turn.seen.spec) {
        Ok(plan) => plan,
        Err(error) => return turn.stall(StallReason::InvalidSpec, error.to_string()),
    };
    // Said before anything else: what another Rollout governs never comes to this one.
    if let Some(refusal) = preflight::rivalry(turn.seen, &plan) {
        look_again(turn);
        return turn.stall(StallReason::PreflightFailed, refusal);
    }
    collect_canary(turn);
    let Some(candidate) = &turn.seen.candidate else {
        return wait(
            turn,
            format!(
                "waiting for a ConfigRepo to bring the Deployment {}",
                plan.workload
            ),
        );
    };
    match turn.status.stable.clone() {
        None if candidate.first_deploy => first_deploy(turn, &plan, candidate),
        None => adopt(turn, &plan, candidate),
        Some(stable) => compare(turn, &plan, &stable, candidate),
    }
}

/// A canary of no attempt: a former leader's last write, or what a Rollout left whose finalizer
/// somebody has taken off.
fn collect_canary(turn: &mut Turn<'_>) {
    let there = turn.seen.canary_service
        || turn
            .seen
            .canary
            .as_ref()
            .is_some_and(|canary| !canary.deleting);
    let named = turn
        .seen
        .routes
        .iter()
        .filter_map(|route| route.state.as_ref())
        .any(|state| state.split);
    if there && !named {
        turn.actions.push(Action::DeleteCanary);
    }
}

/// The Rollout goes, and everything of it but the user's own objects. What git is owed goes to the
/// `ConfigRepo`'s queue: deletion never waits for git.
fn leave(turn: &mut Turn<'_>) {
    // They stay in the status until they are written: a crash on the way must not lose them.
    let owed = &turn.status.pending_records;
    if !owed.is_empty() {
        turn.actions.push(Action::HandOver(owed.clone()));
    }
    turn.actions
        .push(Action::CollectRevisions { keep: Vec::new() });
    if turn.seen.finalizer {
        turn.actions.push(Action::RemoveFinalizer);
    }
}

/// Nothing of the workload has ever been ready: the template goes straight in.
fn first_deploy(turn: &mut Turn<'_>, plan: &Plan, candidate: &Candidate) {
    let rolled_out = turn
        .seen
        .workload
        .as_ref()
        .is_some_and(Workload::rolled_out);
    let rejection = rejection(turn, candidate);
    if rejection.is_some() && rolled_out && candidate.comparison == Comparison::Unknown {
        turn.actions.push(Action::CompareCandidate);
    }
    let ready = rolled_out && candidate.comparison == Comparison::Same;
    match rejection {
        // What has failed and became ready after all has not failed.
        Some(rejected) if !ready => {
            let message = format!(
                "the first revision failed ({}): commit another",
                rejected.message
            );
            turn.stall(StallReason::InitialFailed, message);
        }
        Some(_) | None => attempt::begin(turn, plan, candidate, Stage::Initial, None),
    }
}

/// A workload that runs already is stable as it runs.
fn adopt(turn: &mut Turn<'_>, plan: &Plan, candidate: &Candidate) {
    let Some(workload) = turn
        .seen
        .workload
        .as_ref()
        .filter(|workload| workload.rolled_out() && !workload.paused)
    else {
        return wait(
            turn,
            format!(
                "waiting for the Deployment {} to be fully rolled out, to adopt it",
                plan.workload
            ),
        );
    };
    let Some(current) = workload.current() else {
        return wait(
            turn,
            format!(
                "waiting for the ReplicaSet of the Deployment {}",
                plan.workload
            ),
        );
    };
    let (revision, source) = match candidate.comparison {
        Comparison::Unknown => return turn.actions.push(Action::CompareCandidate),
        Comparison::Same => (candidate.revision.clone(), candidate.source.clone()),
        Comparison::Different | Comparison::Refused { .. } => (
            Revision::named(workload.template.to_string()),
            tidegate_api::status::Source::default(),
        ),
    };
    turn.say(Note::Adopted {
        revision: revision.to_string(),
    });
    attempt::remember_good(turn, plan, revision.as_str());
    turn.status.stable = Some(Stable {
        revision: revision.to_string(),
        pod_template_hash: current.hash.clone(),
        source,
        since: turn.now,
    });
}

/// Whether there is something to release, and whether it may be.
fn compare(turn: &mut Turn<'_>, plan: &Plan, stable: &Stable, candidate: &Candidate) {
    turn.actions.push(Action::CollectRevisions {
        keep: kept(turn, stable, candidate),
    });
    if put_back(turn, stable) {
        return;
    }
    if candidate.revision.as_str() == stable.revision {
        if turn.seen.workload.is_none() {
            wait(
                turn,
                format!("the Deployment {} does not exist", plan.workload),
            );
        }
        return;
    }
    if let Some(rejected) = rejection(turn, candidate) {
        let revision = candidate.revision.short();
        let message = format!(
            "revision {revision} was not promoted ({}): commit another, commit it again, or ask to retry attempt {}",
            rejected.message, rejected.attempt
        );
        return turn.stall(StallReason::Rejected, message);
    }
    match &candidate.comparison {
        Comparison::Unknown if turn.seen.workload.is_none() => {
            wait(
                turn,
                format!("the Deployment {} does not exist", plan.workload),
            );
        }
        Comparison::Unknown => turn.actions.push(Action::CompareCandidate),
        Comparison::Same => rename_stable(turn, candidate),
        Comparison::Refused { why, at } => {
            turn.stall(
                StallReason::PreflightFailed,
                format!("the API server refuses the new template: {why}"),
            );
            again(turn, *at, ASK_AGAIN, Action::CompareCandidate);
        }
        Comparison::Different => start(turn, plan, candidate),
    }
}

/// What stands in the way may be an object that wakes others than this Rollout: a workload beside
/// it, or another Rollout.
fn look_again(turn: &mut Turn<'_>) {
    let due = turn.now.saturating_add(ASK_AGAIN).unwrap_or(Timestamp::MAX);
    turn.wake(due);
}

/// What was refused when it was asked may be taken later: a right was given, a policy was changed.
fn again(turn: &mut Turn<'_>, asked: Timestamp, after: SignedDuration, ask: Action) {
    let due = asked.saturating_add(after).unwrap_or(Timestamp::MAX);
    turn.wake(due);
    if turn.now >= due {
        turn.actions.push(ask);
    }
}

/// What others changed in stable's template is put back before anything else, whatever git asks for:
/// an attempt pins traffic to stable's pods, so they must be there.
fn put_back(turn: &mut Turn<'_>, stable: &Stable) -> bool {
    let Some(workload) = &turn.seen.workload else {
        return false;
    };
    let wrong = turn
        .seen
        .is_known_to_differ_from_stable(workload, &stable.pod_template_hash);
    if wrong {
        turn.say(Note::Overruled {
            what: "the workload's template".to_owned(),
            manager: workload.template_manager.clone(),
        });
        turn.actions
            .push(Action::WriteTemplate(Revision::named(&stable.revision)));
    }
    wrong
}

/// Another text for the same content: git is right already.
fn rename_stable(turn: &mut Turn<'_>, candidate: &Candidate) {
    if let Some(stable) = &mut turn.status.stable {
        stable.revision = candidate.revision.to_string();
        stable.source = candidate.source.clone();
    }
}

fn start(turn: &mut Turn<'_>, plan: &Plan, candidate: &Candidate) {
    let backoff = turn
        .status
        .backoff
        .as_ref()
        .filter(|backoff| backoff.revision == candidate.revision.as_str());
    if let Some(until) = backoff
        .map(|backoff| backoff.until)
        .filter(|until| *until > turn.now)
    {
        let message = format!("the last attempt was inconclusive; the next begins at {until:.0}");
        return turn.wait(Wait {
            message,
            until: Some(until),
        });
    }
    match preflight::check(turn.seen, plan) {
        preflight::Answer::Clear => {
            let known = turn
                .status
                .history
                .iter()
                .any(|known| known.revision == candidate.revision.as_str());
            let fast = known && plan.known_good == KnownGood::Fast;
            // What was good before is not held up by Prometheus.
            if !fast && !gates_can_be_read(turn, plan) {
                return;
            }
            // Half of a commit may be another plan with the template of the last one.
            if turn.seen.applying {
                return turn.wake(
                    turn.now
                        .saturating_add(APPLIED_SOON)
                        .unwrap_or(Timestamp::MAX),
                );
            }
            attempt::begin(
                turn,
                plan,
                candidate,
                Stage::Pinning,
                fast.then_some(Shortcut::KnownGood),
            );
            if turn.status.attempt.is_some() {
                turn.actions.push(Action::LookAround);
            }
        }
        preflight::Answer::Waits(message) => {
            look_again(turn);
            wait(turn, message);
        }
        preflight::Answer::Refused(message) => {
            look_again(turn);
            turn.stall(StallReason::PreflightFailed, message);
        }
    }
}

/// Whether the gates could judge the candidate: one whose query says nothing of stable says nothing
/// of the canary either, and traffic does not move while nobody can watch it.
fn gates_can_be_read(turn: &mut Turn<'_>, plan: &Plan) -> bool {
    if !plan.gates.iter().any(|gate| gate.enforced) {
        return true;
    }
    let now = turn.now;
    let recent = |at: &Timestamp, limit| now.duration_since(*at) < limit;
    match &turn.seen.queries {
        QueryCheck::Usable { at } if recent(at, CHECK_AGAIN) => return true,
        QueryCheck::Invalid { why, at } if recent(at, CHECK_OLD) => {
            turn.stall(StallReason::InvalidQuery, why);
            again(turn, *at, CHECK_AGAIN, Action::CheckQueries);
        }
        QueryCheck::SelectsNothing { why, at } if recent(at, CHECK_OLD) => {
            let young = turn
                .status
                .stable
                .as_ref()
                .is_some_and(|stable| recent(&stable.since, SCRAPED_BY));
            if young {
                wait(turn, why);
            } else {
                turn.stall(StallReason::InvalidQuery, why);
            }
            again(turn, *at, CHECK_AGAIN, Action::CheckQueries);
        }
        QueryCheck::Unreadable { why, at } if recent(at, CHECK_OLD) => {
            wait(turn, why);
            again(turn, *at, CHECK_AGAIN, Action::CheckQueries);
        }
        QueryCheck::Unknown
        | QueryCheck::Usable { .. }
        | QueryCheck::Invalid { .. }
        | QueryCheck::SelectsNothing { .. }
        | QueryCheck::Unreadable { .. } => turn.actions.push(Action::CheckQueries),
    }
    false
}

/// The rejection that holds the candidate back: of the same revision, asked for by the same commit.
fn rejection(turn: &Turn<'_>, candidate: &Candidate) -> Option<Rejected> {
    let same = |rejected: &&Rejected| {
        rejected.revision == candidate.revision.as_str()
            && rejected.commit == candidate.source.commit
    };
    turn.status.rejected.iter().find(same).cloned()
}

/// The revisions that may be needed again.
fn kept(turn: &Turn<'_>, stable: &Stable, candidate: &Candidate) -> Vec<Revision> {
    let history = turn
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

fn wait(turn: &mut Turn<'_>, message: impl Into<String>) {
    turn.wait(Wait {
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
