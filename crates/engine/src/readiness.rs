//! Pods that do not become ready: the cause, whose fault it is, and how long they are waited for.

pub(crate) mod problem;

use jiff::Timestamp;

pub use self::problem::{Fault, Overdue, PodProblem};

use crate::{context::DecisionContext, observed::Workload, plan::Plan, revision::Digest};

/// High-water mark of a rolling update or of scaling: pods that come and go again are progress once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodProgress {
    template: Digest,
    replicas: u32,
    updated: u32,
    available: u32,
    old: u32,
    /// True if the surroundings were in the way.
    blocked: bool,
}

// === impl PodProgress ===

impl PodProgress {
    /// Begins with what a workload has. Until `observedGeneration` catches up, the counts are those of the
    /// previous template: with them all pods would be there already, and no new one would be progress.
    pub fn of(workload: &Workload) -> Self {
        let is_seen = workload.observed_generation >= workload.generation;
        let updated = if is_seen { workload.updated } else { 0 };
        Self {
            template: workload.template,
            replicas: workload.replicas,
            updated,
            available: workload.known_available(),
            old: workload.total.saturating_sub(updated),
            blocked: workload
                .problem
                .as_ref()
                .is_some_and(|problem| problem.fault == Fault::Surroundings),
        }
    }

    /// Compares a workload with its high-water mark, and raises that. Returns true if there was progress:
    /// another template, more pods wanted, made or available than before, fewer old ones, or the
    /// environment no longer in the way, with which the progress deadline restarts.
    pub fn advance(&mut self, workload: &Workload) -> bool {
        self.advance_to(Self::of(workload))
    }

    fn advance_to(&mut self, now: Self) -> bool {
        // What is scaled to zero begins anew when it is scaled up.
        if now.template != self.template || now.replicas == 0 {
            return std::mem::replace(self, now) != now;
        }
        let most = Self {
            template: self.template,
            replicas: self.replicas.max(now.replicas),
            updated: self.updated.max(now.updated),
            available: self.available.max(now.available),
            old: self.old.min(now.old),
            blocked: self.blocked,
        };
        let advanced = std::mem::replace(self, most) != most;
        let freed = std::mem::replace(&mut self.blocked, now.blocked) && !now.blocked;
        advanced || freed
    }
}

/// Returns the deadline of a workload's pods if it has passed; until then the attempt is looked at again
/// at it. It counts from `since` or from the last progress, and is `blockedTimeout` where the environment
/// is in the way.
pub(crate) fn overdue(
    ctx: &mut DecisionContext<'_>,
    plan: &Plan,
    workload: Option<&Workload>,
    since: Timestamp,
) -> Option<Overdue> {
    let problem = problem(ctx, workload);
    let progressed = workload.and_then(|workload| workload.progressed_at);
    let last = progressed.map_or(since, |at| at.max(since));
    let after = match problem.as_ref().map(|problem| problem.fault) {
        Some(Fault::Surroundings) => plan.blocked_timeout,
        Some(Fault::Revision | Fault::Unknown) | None => plan.progress_deadline,
    };
    let end = last.saturating_add(after).unwrap_or(Timestamp::MAX);
    ctx.requeue_at(end);
    if ctx.now < end {
        return None;
    }
    Some(Overdue { after, problem })
}

/// Returns the problem of a workload's pods. A fault of the revision becomes unknown while stable has no
/// ready pod, which would show that the environment lets one run; of a first revision nothing can show it.
pub(crate) fn problem(
    ctx: &DecisionContext<'_>,
    workload: Option<&Workload>,
) -> Option<PodProblem> {
    let mut problem = workload?.problem.clone()?;
    let is_first = ctx.status.stable.is_none();
    if problem.fault == Fault::Revision && !is_first && ctx.observed.ready_of_stable() == 0 {
        problem.fault = Fault::Unknown;
    }
    Some(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(updated: u32, available: u32, blocked: bool) -> PodProgress {
        PodProgress {
            template: Digest::of(&serde_json::json!({})),
            replicas: 3,
            updated,
            available,
            old: 3 - updated,
            blocked,
        }
    }

    #[test]
    fn pods_that_come_and_go_are_progress_once() {
        let mut progress = has(1, 0, false);
        assert!(progress.advance_to(has(1, 1, false)));
        assert!(!progress.advance_to(has(1, 0, false)));
        assert!(!progress.advance_to(has(1, 1, false)));
        assert!(progress.advance_to(has(2, 1, false)));
    }

    #[test]
    fn pods_that_are_scaled_up_from_zero_begin_anew() {
        let scaled = |replicas| PodProgress {
            replicas,
            ..has(0, 0, false)
        };
        let mut progress = scaled(3);
        assert!(progress.advance_to(scaled(0)));
        assert!(!progress.advance_to(scaled(0)));
        assert!(progress.advance_to(scaled(3)));
    }

    #[test]
    fn the_end_of_what_is_in_the_way_is_progress_and_its_beginning_is_none() {
        let mut progress = has(2, 2, false);
        assert!(!progress.advance_to(has(2, 2, true)));
        assert!(progress.advance_to(has(2, 2, false)));
    }
}
