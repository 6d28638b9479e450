//! Verdicts: what is rolled out, what is rejected, and what the status says of it.

use std::io;

use tidegate_api::{
    Condition,
    reason::{AvailableReason, ConditionType, ReasonCode as _},
    record::Outcome,
    status::Stable,
};

use super::{
    Author, Moment, Snapshot, ensure,
    observing::{is_observed, is_ungoverned},
};
use crate::revision::Digest;

/// Maximum size of a status, in bytes: a Rollout has it beside a spec, and an object holds 64 KiB.
const MAX_STATUS_BYTES: usize = 56 * 1024;

/// Size of what is written, which is kept nowhere.
#[derive(Default)]
struct Size {
    bytes: usize,
}

/// The workload's template is stable's, or one that has passed its steps as the canary, whatever is
/// refused or removed. What people write is theirs.
pub(super) fn only_what_is_verified_is_rolled_out(moment: Moment<'_>) -> Result<(), String> {
    let (now, Some(last)) = (moment.now, moment.last()) else {
        return Ok(());
    };
    let (Some(workload), Some(before)) = (&now.workload, &last.workload) else {
        return Ok(());
    };
    let ours = matches!(now.by, Author::Effect | Author::Sync);
    let Some(stable) = now.status().and_then(|status| status.stable.as_ref()) else {
        return Ok(());
    };
    if !ours || workload.template == before.template || is_ungoverned(now) {
        return Ok(());
    }
    let is_stable = template_of(moment, stable) == Some(workload.template);
    let is_verified = verified(moment) == Some(workload.template);
    ensure(is_stable || is_verified, || {
        format!(
            "{} rolled out a template that is neither stable's nor verified",
            now.what
        )
    })
}

/// Returns the template that the running attempt has verified, unless it has failed.
fn verified(moment: Moment<'_>) -> Option<Digest> {
    let attempt = moment.now.attempt()?;
    if attempt.has_failed() || !attempt.stable_template_updated {
        return None;
    }
    let past = moment.before.iter().rev();
    [moment.now]
        .into_iter()
        .chain(past)
        .find_map(|past| past.canary_template)
}

/// Returns the template of stable's version, as the workload last ran it.
pub(super) fn template_of(moment: Moment<'_>, stable: &Stable) -> Option<Digest> {
    let past = moment.before.iter().rev();
    let mut workloads = [moment.now]
        .into_iter()
        .chain(past)
        .filter_map(|past| past.workload.as_ref());
    workloads.find_map(|workload| {
        let mut versions = workload.versions.iter();
        let version = versions.find(|version| version.id == stable.pod_template_hash);
        version.map(|version| version.template)
    })
}

/// `Ready` is true only where what git wants is stable, the workload runs it, callers are served and
/// nothing is under way.
pub(super) fn ready_means_that_what_is_wanted_is_stable(moment: Moment<'_>) -> Result<(), String> {
    let now = moment.now;
    let Some(status) = now.status().filter(|_| now.by == Author::Decision) else {
        return Ok(());
    };
    let ready = Condition::find(&status.conditions, ConditionType::Ready);
    if !ready.is_some_and(Condition::is_true) {
        return Ok(());
    }
    if is_observed(now) {
        return is_rolled_out(moment);
    }
    let stable = status.stable.as_ref();
    let revision = stable.map(|stable| &stable.revision);
    let wanted = now.wanted.as_ref().map(|wanted| &wanted.revision);
    ensure(revision.is_some() && revision == wanted, || {
        format!("Ready is true, git wants {wanted:?}, and stable is {revision:?}")
    })?;
    ensure(status.attempt.is_none(), || {
        "Ready is true while an attempt runs".to_owned()
    })?;
    let available = Condition::find(&status.conditions, ConditionType::Available);
    let is_uncalled = available.is_some_and(|available| {
        available.reason == AvailableReason::PodsReady.as_str() && now.is_scaled_to_zero()
    });
    ensure(now.stable_ready > 0 || is_uncalled, || {
        "Ready is true while no endpoint is".to_owned()
    })?;
    let template = stable.and_then(|stable| template_of(moment, stable));
    let workload = now.workload.as_ref();
    let drifted = template
        .zip(workload)
        .is_some_and(|(template, workload)| workload.template != template);
    ensure(!drifted, || {
        "Ready is true and the workload has another template than stable's".to_owned()
    })?;
    // Pods that have just failed are still endpoints.
    let mut recent = moment.recent();
    ensure(
        is_uncalled || runs(now, template) || recent.any(|past| runs(past, template)),
        || "Ready is true and no pod of stable's is ready".to_owned(),
    )
}

/// The workload runs its own template and no other.
fn is_rolled_out(moment: Moment<'_>) -> Result<(), String> {
    let workload = moment.now.workload.as_ref();
    let is_whole = workload.is_some_and(|workload| {
        let mut versions = workload.versions.iter();
        versions.all(|seen| seen.template == workload.template || seen.replicas == 0)
    });
    ensure(is_whole, || {
        "Ready is true while an observed workload is rolling".to_owned()
    })
}

/// Returns true if a pod of this template is ready in the workload.
fn runs(snapshot: &Snapshot, template: Option<Digest>) -> bool {
    let mut versions = snapshot
        .workload
        .iter()
        .flat_map(|workload| &workload.versions);
    versions.any(|seen| Some(seen.template) == template && seen.ready > 0)
}

/// A revision is rejected for what it does itself, never for its surroundings.
pub(super) fn only_the_culpable_is_rejected(moment: Moment<'_>) -> Result<(), String> {
    let (now, Some(last)) = (moment.now, moment.last()) else {
        return Ok(());
    };
    let (Some(status), Some(before)) = (now.status(), last.status()) else {
        return Ok(());
    };
    let Some(rejected) = status.rejected.first() else {
        return Ok(());
    };
    let known = before
        .rejected
        .iter()
        .any(|known| known.attempt == rejected.attempt);
    // An attempt without an ending is none that has just been judged.
    let Some((attempt, ending)) = now
        .attempt()
        .filter(|attempt| attempt.number == rejected.attempt && !known)
        .and_then(|attempt| Some((attempt, attempt.ending.as_ref()?)))
    else {
        return Ok(());
    };
    let blamed = matches!(ending.outcome, Outcome::RolledBack | Outcome::Failed);
    let its_time = |past: &&Snapshot| past.at >= attempt.started_at;
    let mut during = moment.before.iter().rev().take_while(its_time);
    ensure(!blamed || during.any(|past| past.culpable), || {
        format!(
            "attempt {} rejected {} for what is not its fault: {}",
            attempt.number, attempt.revision, ending.message
        )
    })
}

/// The status leaves room in its object.
pub(super) fn the_status_stays_small(moment: Moment<'_>) -> Result<(), String> {
    let Some(status) = moment
        .now
        .status()
        .filter(|_| moment.now.by == Author::Status)
    else {
        return Ok(());
    };
    let mut size = Size::default();
    let bytes = serde_json::to_writer(&mut size, status).map_or(0, |()| size.bytes);
    ensure(bytes <= MAX_STATUS_BYTES, || {
        format!("the status has {bytes} bytes, and at most {MAX_STATUS_BYTES} leave room")
    })
}

// === impl Size ===

impl io::Write for Size {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.bytes += written.len();
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
