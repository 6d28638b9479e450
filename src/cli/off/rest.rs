//! The way of one Rollout until nothing of it runs: what runs is aborted, and its end is waited for.

use std::fmt;

use kube::{Api, Client, ResourceExt as _, api::PostParams, runtime::wait::await_condition};
use tidegate_api::{
    Duration, Intervention, NamespacedName, Rollout,
    intervention::{Action, InterventionSpec},
    status::{Attempt, Stage},
};
use tokio::time::timeout;

use super::super::{connection::answered, intervene};

/// What is to be done, by whom and why.
pub(super) struct Order {
    pub(super) client: Client,
    pub(super) by: String,
    pub(super) reason: String,
    pub(super) timeout: Duration,
}

/// A Rollout that is suspended.
pub(super) enum Suspended {
    /// By this command, or by an earlier one.
    ByOff(Rollout),
    /// By hand or in git.
    Before(Rollout),
}

/// A Rollout that was to be stopped.
pub(super) struct Stopped {
    pub(super) id: NamespacedName,
    /// The Rollout as it was last; `None` where it was deleted meanwhile, or could not be suspended.
    pub(super) rollout: Option<Rollout>,
    /// True if it was suspended already, by hand or in git.
    was_suspended: bool,
    /// The attempt that was aborted for it.
    aborted: Option<u32>,
    end: End,
}

/// End of the way.
enum End {
    /// Nothing runs.
    AtRest,
    /// Something runs still.
    TimedOut(Duration),
    /// It could not be seen to.
    Failed(anyhow::Error),
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Nothing: it is at rest.
    AtRest,
    /// The attempt of this number is to be aborted.
    Abort(u32),
    /// Something runs, and ends by itself; or Tidegate has not seen the suspension.
    Wait,
}

/// Goes the way of a Rollout that was suspended, to its end or until the time is over.
pub(super) async fn stop(
    order: &Order,
    id: NamespacedName,
    suspended: anyhow::Result<Suspended>,
) -> Stopped {
    let (rollout, was_suspended, failure) = match suspended {
        Ok(Suspended::ByOff(rollout)) => (Some(rollout), false, None),
        Ok(Suspended::Before(rollout)) => (Some(rollout), true, None),
        Err(why) => (None, false, Some(why)),
    };
    let mut stopped = Stopped {
        id,
        rollout,
        was_suspended,
        aborted: None,
        end: End::TimedOut(order.timeout),
    };
    if let Some(why) = failure {
        stopped.end = End::Failed(why);
        return stopped;
    }
    match timeout(order.timeout.as_std(), until_rest(order, &mut stopped)).await {
        Ok(Ok(())) => stopped.end = End::AtRest,
        Ok(Err(why)) => stopped.end = End::Failed(why),
        Err(_) => {}
    }
    stopped
}

async fn until_rest(order: &Order, stopped: &mut Stopped) -> anyhow::Result<()> {
    while let Some(rollout) = &stopped.rollout {
        match next(rollout, stopped.aborted) {
            Next::AtRest => break,
            Next::Abort(attempt) => {
                abort(order, rollout).await?;
                stopped.aborted = Some(attempt);
            }
            Next::Wait => stopped.rollout = changed(&order.client, &stopped.id, rollout).await?,
        }
    }
    Ok(())
}

/// Returns what is to be done about a Rollout for which this attempt was aborted.
fn next(rollout: &Rollout, aborted: Option<u32>) -> Next {
    let attempt = attempt(rollout);
    match attempt {
        Some(attempt) if is_to_abort(attempt) && aborted != Some(attempt.number) => {
            Next::Abort(attempt.number)
        }
        // A first deploy has nothing to go back to, and moves no traffic.
        Some(attempt) if attempt.stage != Stage::Initial => Next::Wait,
        Some(_) | None if is_seen(rollout) => Next::AtRest,
        Some(_) | None => Next::Wait,
    }
}

fn attempt(rollout: &Rollout) -> Option<&Attempt> {
    rollout.status.as_ref()?.attempt.as_ref()
}

/// Returns true if the attempt does not end by itself. A promotion that has updated stable's template does.
fn is_to_abort(attempt: &Attempt) -> bool {
    let is_over = attempt.ending.is_some() || attempt.stable_template_updated;
    !is_over && attempt.stage != Stage::Initial
}

/// Returns true if Tidegate has seen the spec as it is.
fn is_seen(rollout: &Rollout) -> bool {
    let status = rollout.status.as_ref();
    status.and_then(|status| status.observed_generation) >= rollout.metadata.generation
}

async fn abort(order: &Order, rollout: &Rollout) -> anyhow::Result<()> {
    let Some(attempt) = attempt(rollout) else {
        return Ok(());
    };
    let spec = InterventionSpec {
        rollout: rollout.name_any(),
        attempt: attempt.number,
        revision: Some(attempt.revision.to_string()),
        step: None,
        action: Action::Abort,
        reason: order.reason.clone(),
        by: order.by.clone(),
    };
    let namespace = rollout.namespace().unwrap_or_default();
    let api: Api<Intervention> = Api::namespaced(order.client.clone(), &namespace);
    let intervention = intervene::intervention(rollout, spec);
    answered(api.create(&PostParams::default(), &intervention)).await?;
    Ok(())
}

/// Waits until the Rollout is another than this one, and returns it; `None` once it is gone.
async fn changed(
    client: &Client,
    id: &NamespacedName,
    before: &Rollout,
) -> anyhow::Result<Option<Rollout>> {
    let api: Api<Rollout> = Api::namespaced(client.clone(), &id.namespace);
    let seen = before.resource_version();
    let is_another =
        move |now: Option<&Rollout>| now.is_none_or(|now| now.resource_version() != seen);
    Ok(await_condition(api, &id.name, is_another).await?)
}

// === impl Stopped ===

impl Stopped {
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.end, End::AtRest)
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.id)?;
        let Some(rollout) = &self.rollout else {
            return match &self.end {
                End::Failed(why) => write!(f, "not suspended: {why:#}"),
                End::AtRest | End::TimedOut(_) => f.write_str("deleted meanwhile"),
            };
        };
        f.write_str(if self.was_suspended {
            "was suspended before, and stays so after `tidegate on`"
        } else {
            "suspended"
        })?;
        if let Some(attempt) = self.aborted {
            write!(f, "; attempt {attempt} was aborted")?;
        }
        let status = rollout.status.clone().unwrap_or_default();
        match (&self.end, &status.stable) {
            (End::AtRest, Some(stable)) => {
                let revision = stable.revision.short();
                write!(f, "; all traffic is on stable (revision {revision})")
            }
            (End::AtRest, None) if status.observation.is_some() => {
                f.write_str("; it only observes (spec.mode), so there was nothing to stop")
            }
            (End::AtRest, None) => f.write_str("; no revision is stable yet"),
            (End::TimedOut(within), _) if !is_seen(rollout) => write!(
                f,
                "; Tidegate has not seen that within {within}: see if it runs, or go on by kubectl alone \
                 (docs/break-glass.md)"
            ),
            (End::TimedOut(within), _) => write!(
                f,
                "; not at rest within {within}: {}: {}",
                status.phase, status.message
            ),
            (End::Failed(why), _) => write!(f, "; not seen to its end: {why:#}"),
        }
    }
}
