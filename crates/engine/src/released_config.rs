//! Config that is released with a revision.
//!
//! The canary reads copies. What stable reads is written at promotion, before the template that names it, and is put
//! back before stable's own template is: a pod never starts with the config of another revision than its own. Callers
//! are on the canary for that time, so pods of the other version that read the same objects serve nobody.

use tidegate_api::{
    Revision,
    config::{ConfigCopy, ConfigRef},
    status::{Attempt, Stable, Stage},
};

use crate::{
    decision::Action,
    observed::Observed,
    waiting::{Flow, WaitingOn},
};

/// Returns the revision whose config stable's pods are to read; `None` where nothing of it is touched.
pub(crate) fn in_force<'a>(attempt: &'a Attempt, stable: &'a Stable) -> Option<&'a Revision> {
    // One that was promoted is stable's: its copies go, and sync applies it from then on.
    let is_promoted = attempt.revision == stable.revision;
    if attempt.config.is_none() || !attempt.stable_template_updated || is_promoted {
        return None;
    }
    let goes_back = attempt.stage == Stage::RollingBack || attempt.has_failed();
    Some(if goes_back {
        &stable.revision
    } else {
        &attempt.revision
    })
}

/// Returns the action that writes config, unless this process has done so.
pub(crate) fn write(wanted: Option<&Revision>, observed: &Observed) -> Option<Action> {
    let wanted = wanted.filter(|wanted| observed.written_config.as_ref() != Some(*wanted))?;
    Some(Action::WriteConfig(wanted.clone()))
}

/// Waits until the config that is to be in force is written.
pub(crate) fn wait(
    attempt: &Attempt,
    stable: Option<&Stable>,
    observed: &Observed,
) -> Option<Flow> {
    let wanted = in_force(attempt, stable?)?;
    if observed.written_config.as_ref() == Some(wanted) {
        return None;
    }
    let config = objects(attempt);
    Some(Flow::Waits(WaitingOn::ConfigWritten { config }, None))
}

/// ConfigMaps and Secrets that are released with the revision of an attempt.
pub(crate) fn objects(attempt: &Attempt) -> Vec<ConfigRef> {
    let copies = attempt.config.iter().flat_map(|config| &config.copies);
    copies.map(ConfigCopy::object).collect()
}
