//! Workloads that nobody calls: the canary's pods are its share of the work.

use super::{Author, Moment, Snapshot, ensure};
use crate::{plan::working_replicas, weight::Weight};

/// Tidegate makes no pod of the canary beyond the share that is persisted, none while the Rollout is suspended, and
/// none for an attempt that has failed, which is left without any.
pub(super) fn a_canary_works_for_its_share(moment: Moment<'_>) -> Result<(), String> {
    let (now, Some(last)) = (moment.now, moment.last()) else {
        return Ok(());
    };
    let Some(attempt) = now.attempt().filter(|_| is_without_service(now)) else {
        return Ok(());
    };
    let made = now.canary_replicas;
    if now.by == Author::Decision && attempt.has_failed() {
        return ensure(made == 0, || {
            format!("the attempt has failed, and the canary is to have {made} pods")
        });
    }
    if now.by != Author::Effect || made <= last.canary_replicas {
        return Ok(());
    }
    let is_suspended = now.rollout.as_ref().is_some_and(|one| one.suspended);
    let may_go_on = !is_suspended || attempt.stable_template_updated;
    ensure(may_go_on && !attempt.has_failed(), || {
        format!("the canary was given {made} pods, and the attempt may only go back")
    })?;
    let workload = now.workload.as_ref().map_or(0, |one| one.replicas);
    // What somebody has scaled just now could not be known.
    let recent = moment.recent().filter_map(|past| past.workload.as_ref());
    let most = recent.map(|past| past.replicas).max();
    let stable = attempt.sized_for.max(most).unwrap_or(workload);
    let allowed = working_replicas(attempt.weight, stable);
    ensure(made <= allowed, || {
        format!(
            "the canary was given {made} pods, and {} beside {stable} others are {allowed}",
            attempt.weight
        )
    })
}

/// Returns true if nobody calls the workload of the attempt that runs.
pub(super) fn is_without_service(snapshot: &Snapshot) -> bool {
    let attempt = snapshot.attempt();
    attempt.is_some_and(|attempt| attempt.plan.is_without_service())
}

/// Returns the share of the work for which the canary has pods, or is to have them.
pub(super) fn share_of_work(snapshot: &Snapshot) -> Weight {
    let attempt = snapshot.attempt();
    let Some(attempt) = attempt.filter(|_| snapshot.canary_replicas > 0) else {
        return Weight::ZERO;
    };
    if attempt.plan.is_without_service() {
        attempt.weight
    } else {
        Weight::ZERO
    }
}
