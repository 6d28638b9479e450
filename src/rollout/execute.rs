//! Executing: what was decided is done, in its order, without a choice of its own.
//!
//! Urgent effects go out first and whether or not the status can be written. Then the status is
//! written, with the intent of everything that follows. The rest ends with the first effect that
//! fails, be it an urgent one: the next decision is made from what is there then.

mod canary;
mod config;
mod objects;
mod released_config;
mod resources;

pub(super) use self::objects::delete_revision;

use kube::Client;
use tidegate_api::{
    NamespacedName, Revision, Rollout, config::ConfigRef, status::Stable, workload::WorkloadRef,
};
use tidegate_engine::{
    decision::{Action, Decision},
    observed::{Admission, Brake},
    plan::Plan,
};

use super::{context::Context, events, surroundings, templates::Templates};
use crate::{
    caches::Caches,
    kubernetes::{
        clients::{self, AccountName},
        fence::NotLeading,
        writer::{Writer, denial},
    },
    traffic::{RouteChange, RouteError},
    workload::{Compared, Target, WorkloadError},
};

/// Failure of an effect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    /// Somebody else leads.
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
    /// A route.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A workload.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// An account.
    #[error(transparent)]
    Account(#[from] AccountName),
    /// A write.
    #[error("cannot {what}: {source}")]
    Write {
        /// Operation, in words.
        what: String,
        /// Answer of the API server.
        source: kube::Error,
    },
    /// Something that is needed is not there.
    #[error("{0} is not there")]
    Missing(String),
    /// Something is not any more what it was when the decision was made.
    #[error("{0} has changed meanwhile")]
    Changed(String),
    /// An object that keeps a template was deleted.
    #[error(
        "the ControllerRevision {0} is lost, and with it the template that it kept; commit the template again"
    )]
    RevisionLost(String),
    /// A copy of config that was deleted.
    #[error(
        "the {} {copy} is lost, and with it the content of {object} that the canary was verified with; abort the attempt, \
         and have the revision tried again", .object.kind.as_str()
    )]
    CopyLost {
        /// The object that it is a copy of.
        object: ConfigRef,
        /// Its name.
        copy: String,
    },
    /// The copy of what an object had before an attempt was deleted.
    #[error(
        "the {} {copy} is lost, and with it what {object} had before; write that into {object} by hand",
        .object.kind.as_str()
    )]
    FormerLost {
        /// The object that it is a copy of.
        object: ConfigRef,
        /// Its name.
        copy: String,
    },
    /// A refusal whose words may tell what a Secret contains.
    #[error(
        "cannot {what}: the API server answers {code}; its words are withheld, since they may quote the Secret"
    )]
    Withheld {
        /// Operation, in words.
        what: String,
        /// The HTTP status.
        code: u16,
    },
    /// No account in whose name a template could be written.
    #[error(
        "no ConfigRepo names the ServiceAccount in whose name the template of {0} is written: create the ConfigRepo that brings it"
    )]
    NoAccount(String),
    /// A template that cannot be read.
    #[error("the ControllerRevision {0} holds no template")]
    NoTemplate(String),
}

/// More characters of a refusal do not fit into a condition that people read.
const LONGEST_REFUSAL: usize = 1000;

/// Rollout that effects belong to.
pub(crate) struct Subject<'a> {
    pub(crate) id: &'a NamespacedName,
    pub(crate) rollout: &'a Rollout,
    /// The plan that the effects belong to: the attempt's, else the spec's.
    pub(crate) plan: Option<&'a Plan>,
    /// The ServiceAccount in whose name the workload's template is written; `None` where no ConfigRepo
    /// names one.
    pub(crate) service_account: Option<&'a NamespacedName>,
    /// What keeps a new template from rolling out.
    pub(crate) brake: Brake,
}

/// Effects of a Rollout on objects: each is written over the object that the decision was made from.
#[derive(Clone, Copy)]
struct Effects<'a> {
    subject: &'a Subject<'a>,
    /// Objects as they were seen, and as the last writes left them.
    caches: &'a Caches,
    /// Writes in Tidegate's own name.
    client: &'a Client,
    /// Templates that were read before.
    templates: &'a Templates,
}

/// Does what cannot wait, and writes the status.
pub(crate) async fn persist(
    ctx: &Context,
    subject: &Subject<'_>,
    decision: &Decision,
) -> Result<(), ExecuteError> {
    let urgent = act_urgently(ctx, subject, decision).await;
    if decision.persist {
        ctx.fence.epoch()?;
        let effects = Effects::new(ctx, subject);
        effects.write_status(&decision.status).await?;
        ctx.counters
            .persisted(subject.rollout.status.as_ref(), &decision.status);
    }
    // What the status says now is not said again, whatever becomes of the effects.
    events::tell(ctx, subject.rollout, decision);
    if urgent.is_err() && decision.actions.contains(&Action::AddFinalizer) {
        // Deleted without it, the Rollout would leave behind what could not be taken back.
        let kept = act(ctx, subject, &Action::AddFinalizer).await;
        return urgent.and(kept);
    }
    // Nothing raises risk while something that lowers it has failed.
    urgent
}

/// Does what cannot wait, all of it whatever fails, and returns the first failure.
pub(crate) async fn act_urgently(
    ctx: &Context,
    subject: &Subject<'_>,
    decision: &Decision,
) -> Result<(), ExecuteError> {
    let mut done = Ok(());
    for action in &decision.urgent {
        done = done.and(act(ctx, subject, action).await);
    }
    done
}

/// Does everything else that was decided, up to the first that fails.
pub(crate) async fn act_on(
    ctx: &Context,
    subject: &Subject<'_>,
    decision: &Decision,
) -> Result<(), ExecuteError> {
    for action in &decision.actions {
        act(ctx, subject, action).await?;
    }
    Ok(())
}

async fn act(ctx: &Context, subject: &Subject<'_>, action: &Action) -> Result<(), ExecuteError> {
    ctx.fence.epoch()?;
    if !matches!(action, Action::Record(_)) {
        tracing::debug!(?action, "executing action");
    }
    let effects = Effects::new(ctx, subject);
    match action {
        Action::AddFinalizer => effects.set_finalizer(true).await,
        Action::RemoveFinalizer => effects.set_finalizer(false).await,
        Action::DryRunCandidate => remember(ctx, subject.id, effects.compare_candidate().await),
        Action::DryRunStable => remember(ctx, subject.id, effects.compare_stable().await),
        Action::DryRunCanary => {
            let (revision, admission) = effects.dry_run_canary().await?;
            remember_admission(ctx, subject, revision, admission)
        }
        Action::CheckQueries => {
            let metrics = subject.rollout.spec.metrics.as_ref();
            let prometheus = ctx.prometheuses.of(&subject.id.namespace, metrics);
            ctx.memory.query_checks.ask(subject.rollout, prometheus);
            Ok(())
        }
        Action::RunPreflightWarnings => {
            let (client, plan) = (&ctx.clients.writing, subject.plan()?);
            surroundings::look(&ctx.caches, client, &ctx.events, subject.rollout, plan);
            Ok(())
        }
        Action::SnapshotLiveTemplate(revision) => effects.keep_live(revision).await,
        Action::KeepCandidate(revision) => effects.keep_candidate(revision).await,
        Action::SnapshotVersion { revision, version } => {
            effects.keep_version(revision, version).await
        }
        Action::ScaleDownVersion(version) => effects.scale_down_version(version).await,
        Action::SetRoute {
            route,
            weight,
            epoch,
        } => {
            let change = RouteChange {
                namespace: &subject.id.namespace,
                route,
                weight: *weight,
                epoch: *epoch,
            };
            effects.set_route(&change).await
        }
        Action::SetService { name, pin, epoch } => {
            effects.set_service(name, pin.as_ref(), *epoch).await
        }
        Action::SetWorkload {
            paused,
            hold,
            epoch,
        } => effects.pause(*paused, *hold, *epoch).await,
        Action::KeepConfig {
            keep,
            release,
            prune,
        } => {
            let observations = &ctx.memory.observations;
            observations.keeps_config(subject.id, None);
            if effects.keep_config(keep, release, *prune).await? {
                observations.keeps_config(subject.id, Some(keep.clone()));
                ctx.requeue(subject.id);
            }
            Ok(())
        }
        Action::WriteConfig(revision) => {
            let attempt = effects.write_config(revision).await?;
            let observations = &ctx.memory.observations;
            observations.wrote_config(subject.id, attempt, revision.clone());
            ctx.requeue(subject.id);
            Ok(())
        }
        Action::DisownFields(owned) => effects.disown_fields(owned).await,
        Action::WriteTemplate(revision) => effects.write_template(revision).await,
        Action::ApplyCanary { revision, replicas } => {
            effects.apply_canary(revision, *replicas).await
        }
        Action::ScaleDownCanary { replicas } => effects.scale_down_canary(*replicas).await,
        Action::DeleteCanary => effects.delete_canary().await,
        Action::RetainPod { until } => effects.retain_pod(*until).await,
        Action::DeleteRetainedPod(name) => effects.delete_retained_pod(name).await,
        Action::Record(pending) => {
            let NamespacedName { namespace, name } = subject.id;
            ctx.records.write(namespace, name, pending);
            Ok(())
        }
        Action::TransferPendingRecords(pending) => effects.hand_over(pending).await,
        Action::CollectRevisions { keep } => effects.collect_revisions(keep).await,
        Action::AnswerIntervention { name, answer } => {
            effects.answer_intervention(name, answer).await
        }
    }
}

/// Keeps the result of a dry run for the next decision, which is due then.
fn remember(
    ctx: &Context,
    id: &NamespacedName,
    compared: Result<(Revision, Compared), ExecuteError>,
) -> Result<(), ExecuteError> {
    let (revision, Compared { with, answer }) = compared?;
    let observations = &ctx.memory.observations;
    observations.compared(id, revision, with, answer);
    ctx.requeue(id);
    Ok(())
}

/// Keeps the result of the dry runs of a canary in the same way.
fn remember_admission(
    ctx: &Context,
    subject: &Subject<'_>,
    revision: Revision,
    admission: Admission,
) -> Result<(), ExecuteError> {
    let metadata = &subject.plan()?.canary_metadata;
    let observations = &ctx.memory.observations;
    observations.dry_run(subject.id, revision, metadata, admission);
    ctx.requeue(subject.id);
    Ok(())
}

fn failed(what: String) -> impl FnOnce(kube::Error) -> ExecuteError {
    |source| ExecuteError::Write { what, source }
}

// === impl Subject ===

impl Subject<'_> {
    fn plan(&self) -> Result<&Plan, ExecuteError> {
        self.plan
            .ok_or_else(|| ExecuteError::Missing(format!("a plan of the Rollout {}", self.id.name)))
    }

    fn stable(&self) -> Option<&Stable> {
        self.rollout.status.as_ref()?.stable.as_ref()
    }
}

// === impl Effects ===

impl<'a> Effects<'a> {
    fn new(ctx: &'a Context, subject: &'a Subject<'a>) -> Self {
        Self {
            subject,
            caches: &ctx.caches,
            client: &ctx.clients.writing,
            templates: &ctx.memory.templates,
        }
    }

    /// Writes in Tidegate's own name.
    fn writer(self) -> Writer<'a> {
        Writer {
            client: self.client,
            namespace: &self.subject.id.namespace,
        }
    }

    /// The workload that the plan releases, written in Tidegate's own name.
    fn target(self) -> Result<Target<'a>, ExecuteError> {
        Ok(self.target_of(&self.subject.plan()?.workload))
    }

    /// A workload, written in Tidegate's own name.
    fn target_of<'b>(self, workload: &'b WorkloadRef) -> Target<'b>
    where
        'a: 'b,
    {
        Target {
            client: self.client,
            namespace: &self.subject.id.namespace,
            workload,
        }
    }

    /// A client that writes in the name of the ConfigRepo's ServiceAccount. What somebody has applied to a workload
    /// that is held they may apply, and Tidegate writes it in its own.
    fn as_account(self) -> Result<Client, ExecuteError> {
        let Some(account) = self.subject.service_account else {
            if self.subject.brake == Brake::Pause {
                return Ok(self.client.clone());
            }
            let workload = self.subject.plan()?.workload.to_string();
            return Err(ExecuteError::NoAccount(workload));
        };
        let NamespacedName { namespace, name } = account;
        Ok(clients::impersonating(self.client, namespace, name)?)
    }
}

// === impl ExecuteError ===

impl ExecuteError {
    /// Returns true if somebody else wrote first: observe again and decide again.
    pub(crate) fn is_conflict(&self) -> bool {
        let source = match self {
            Self::Write { source, .. } | Self::Workload(WorkloadError::Request { source, .. }) => {
                source
            }
            Self::Route(RouteError::Patch { source, .. }) => source.as_ref(),
            Self::Route(RouteError::Missing(_))
            | Self::Workload(WorkloadError::Missing(_))
            | Self::NotLeading(_)
            | Self::Account(_)
            | Self::NoAccount(_)
            | Self::Missing(_)
            | Self::Changed(_)
            | Self::RevisionLost(_)
            | Self::CopyLost { .. }
            | Self::FormerLost { .. }
            | Self::Withheld { .. }
            | Self::NoTemplate(_) => return false,
        };
        matches!(source, kube::Error::Api(status) if status.code == 409)
    }

    /// Returns the API server's words if it refuses the effect until somebody changes something: a
    /// right, a quota, a policy, a webhook.
    pub(crate) fn refusal(&self) -> Option<String> {
        let said = match self {
            Self::Account(_)
            | Self::NoAccount(_)
            | Self::NoTemplate(_)
            | Self::CopyLost { .. }
            | Self::FormerLost { .. }
            | Self::Withheld { code: 400..500, .. }
            | Self::RevisionLost(_) => self.to_string(),
            Self::Withheld { .. } => return None,
            Self::Write { what, source }
            | Self::Workload(WorkloadError::Request { what, source }) => {
                format!("cannot {what}: {}", denial(source)?)
            }
            Self::Route(RouteError::Patch { route, source }) => {
                format!("cannot change {route}: {}", denial(source)?)
            }
            Self::Route(RouteError::Missing(_))
            | Self::Workload(WorkloadError::Missing(_))
            | Self::NotLeading(_)
            | Self::Missing(_)
            | Self::Changed(_) => {
                return None;
            }
        };
        Some(match said.char_indices().nth(LONGEST_REFUSAL) {
            Some((end, _)) => format!("{}…", &said[..end]),
            None => said,
        })
    }
}

#[cfg(test)]
mod tests;
