//! Workloads that are left to themselves.

use tidegate_api::rollout::Mode;

use super::{Author, Moment, Snapshot, ensure};

/// While a Rollout only observes, and no attempt is left that goes on to its end, Tidegate takes away what it has left,
/// and adds nothing: no pause, no pin, no share, no canary, and no template but stable's over one that it holds.
pub(super) fn an_observed_workload_is_left_alone(moment: Moment<'_>) -> Result<(), String> {
    let (now, Some(last)) = (moment.now, moment.last()) else {
        return Ok(());
    };
    if now.by != Author::Effect || !is_observed(now) || !is_observed(last) {
        return Ok(());
    }
    if let (Some(workload), Some(before)) = (&now.workload, &last.workload) {
        let is_freed = before.paused || now.status().is_some_and(|status| status.stable.is_some());
        ensure(!workload.paused || before.paused, || {
            format!("{}: an observed workload was paused", now.what)
        })?;
        ensure(workload.template == before.template || is_freed, || {
            format!("{}: an observed workload got another template", now.what)
        })?;
    }
    for service in &now.services {
        let mut before = last.services.iter();
        let was_pinned = before.any(|past| past.name == service.name && past.pin.is_some());
        // Callers are kept from a canary that an earlier Rollout has left, until it is gone.
        ensure(service.pin.is_none() || was_pinned || last.canary, || {
            format!(
                "the Service {} of an observed workload was pinned",
                service.name
            )
        })?;
    }
    let shares = now.canary_share() <= last.canary_share();
    ensure(shares && (last.canary || !now.canary), || {
        format!("{}: an observed workload got a canary", now.what)
    })
}

/// Returns true if the workload is left to itself.
pub(super) fn is_observed(snapshot: &Snapshot) -> bool {
    let rollout = snapshot.rollout.as_ref();
    rollout.is_some_and(|rollout| !rollout.deleting) && is_ungoverned(snapshot)
}

/// Returns true if what git says is applied as it is.
pub(super) fn is_ungoverned(snapshot: &Snapshot) -> bool {
    let rollout = snapshot.rollout.as_ref();
    rollout.is_some_and(|rollout| rollout.mode == Mode::Observe) && snapshot.attempt().is_none()
}
