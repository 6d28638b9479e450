//! Config that is released with a revision.

use super::{Author, Moment, ensure, observing::is_ungoverned, verdict::template_of};

/// No pod is made of a template whose config is not there: a variable is read once, and nothing would make it again.
pub(super) fn a_template_comes_with_its_config(moment: Moment<'_>) -> Result<(), String> {
    let (now, Some(last)) = (moment.now, moment.last()) else {
        return Ok(());
    };
    let (Some(workload), Some(before)) = (&now.workload, &last.workload) else {
        return Ok(());
    };
    let Some(config) = now.config.filter(|_| !has_begun_anew(moment)) else {
        return Ok(());
    };
    let ours = matches!(now.by, Author::Effect | Author::Sync) && !is_late(moment);
    ensure(
        !ours || workload.template == before.template || workload.template == config,
        || format!("{} rolled out a template without its config", now.what),
    )
}

/// What stable's pods read changes with their template and not before, and is back before callers are.
pub(super) fn stable_reads_its_own_config(moment: Moment<'_>) -> Result<(), String> {
    let now = moment.now;
    let is_touched = now
        .attempt()
        .is_some_and(|attempt| attempt.stable_template_updated);
    let (Some(config), Some(stable)) = (
        now.config,
        now.status().and_then(|status| status.stable.as_ref()),
    ) else {
        return Ok(());
    };
    if is_touched || has_begun_anew(moment) {
        return Ok(());
    }
    ensure(
        template_of(moment, stable).is_none_or(|template| template == config),
        || format!("{}: stable reads the config of another revision", now.what),
    )
}

/// Returns true if config could not be put back for so long that the template does not wait for it any more.
fn is_late(moment: Moment<'_>) -> bool {
    moment.now.attempt().is_some_and(|attempt| {
        let since = moment.now.at.duration_since(attempt.stage_since);
        attempt.has_failed() && since >= attempt.plan.progress_deadline.as_signed()
    })
}

/// Returns true if the Rollout was deleted before: whoever did that by force in the middle of an attempt has left what
/// that had written. And while nothing was governed, config was applied at once.
fn has_begun_anew(moment: Moment<'_>) -> bool {
    let mut past = moment.before.iter();
    past.any(|past| past.rollout.is_none() || is_ungoverned(past))
}
