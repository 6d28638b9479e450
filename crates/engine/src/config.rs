//! Config of a workload that is held: what stable's pods need must not be pruned while a newer template waits.
//!
//! An applier prunes a ConfigMap with a generated name as soon as its git names another one, though the workload is
//! paused and stable's pods are made from the old template: one that is lost could not start again. The same goes for
//! the candidate's while it is promoted. So both are kept from adoption on, before any such commit comes.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use tidegate_api::config::ConfigRef;

use crate::{context::DecisionContext, decision::Action, observed::Brake};

/// Time until what could not be kept, or let go, is tried again.
const RETRY_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// Notes in the status what is to be kept, and what was. Returns the action that sees to it, unless this process has
/// done that.
pub(crate) fn keep(ctx: &mut DecisionContext<'_>) -> Option<Action> {
    let needed = needed(ctx)?;
    let noted: BTreeSet<_> = ctx.status.kept_config.iter().cloned().collect();
    let is_done = ctx.observed.kept_config.as_ref() == Some(&needed);
    if is_done || needed.is_empty() && noted.is_empty() {
        ctx.status.kept_config = needed.into_iter().collect();
        return None;
    }
    // What is no longer needed stays there until it is let go.
    ctx.status.kept_config = needed.union(&noted).cloned().collect();
    let others = &ctx.observed.config_of_others;
    let unneeded = noted.difference(&needed);
    let release = unneeded.filter(|config| !others.contains(config));
    let release = release.cloned().collect();
    ctx.requeue_after(RETRY_INTERVAL);
    Some(Action::KeepConfig {
        keep: needed,
        release,
        // Where the workload is somebody else's now, its pods may need it still.
        prune: ctx.observed.brake == Brake::Pause && !is_over(ctx),
    })
}

/// Returns what is to be kept now; `None` where that is not known.
fn needed(ctx: &DecisionContext<'_>) -> Option<BTreeSet<ConfigRef>> {
    let observed = ctx.observed;
    match observed.brake {
        Brake::Unknown => None,
        Brake::Sync => Some(BTreeSet::new()),
        Brake::Pause if is_over(ctx) => Some(BTreeSet::new()),
        // Without a finalizer nobody would let go of it.
        Brake::Pause if !observed.finalizer || ctx.status.stable.is_none() => None,
        Brake::Pause => {
            let config = observed.config.as_ref()?;
            // What another Rollout needs is let go by whoever needs it last.
            Some(config.union(&observed.config_of_others).cloned().collect())
        }
    }
}

/// Returns true if the workload is not held any more, and will not be.
fn is_over(ctx: &DecisionContext<'_>) -> bool {
    let workload = ctx.observed.workload.as_ref();
    let cannot_be_held =
        workload.is_none_or(|workload| workload.held.is_none() && workload.hold_obstacle.is_some());
    let is_let_go = ctx.observed.is_deleting() || ctx.observed.is_observing();
    ctx.status.attempt.is_none() && (is_let_go || cannot_be_held)
}
