//! Executing: what was decided is done, in its order, without a choice of its own.
//!
//! Urgent effects go out first and whether or not the status can be written. Then the status is
//! written, with the intent of everything that follows. The rest ends with the first effect that
//! fails, be it an urgent one: the next decision is made from what is there then.

mod canary;
mod objects;

pub(super) use self::objects::delete_revision;

use kube::ResourceExt;
use serde_json::json;
use tidegate_api::{NamespacedName, Rollout, names};
use tidegate_engine::{
    decision::{Action, Decision},
    plan::Plan,
};

use super::{context::Context, events, surroundings};
use crate::{
    kubernetes::{
        clients::AccountName,
        fence::NotLeading,
        writer::{Writer, denial},
    },
    traffic::{RouteChange, RouteError},
    workload::WorkloadError,
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
    pub(crate) service_account: Option<&'a str>,
}

/// Does what cannot wait, and writes the status.
pub(crate) async fn persist(
    ctx: &Context,
    subject: &Subject<'_>,
    decision: &Decision,
) -> Result<(), ExecuteError> {
    let urgent = act_urgently(ctx, subject, decision).await;
    if decision.persist {
        write_status(ctx, subject, decision).await?;
    }
    // What the status says now is not said again, whatever becomes of the effects.
    for event in &decision.events {
        events::publish(&ctx.events, subject.rollout, event);
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
    match action {
        Action::AddFinalizer => set_finalizer(ctx, subject, true).await,
        Action::RemoveFinalizer => set_finalizer(ctx, subject, false).await,
        Action::DryRunCandidate => objects::compare_candidate(ctx, subject).await,
        Action::DryRunStable => objects::compare_stable(ctx, subject).await,
        Action::DryRunCanary => canary::dry_run(ctx, subject).await,
        Action::CheckQueries => {
            let metrics = subject.rollout.spec.metrics.as_ref();
            ctx.memory.query_checks.ask(
                subject.rollout,
                ctx.prometheuses.of(&subject.id.namespace, metrics),
            );
            Ok(())
        }
        Action::RunPreflightWarnings => {
            surroundings::look(ctx, subject.rollout, plan(subject)?);
            Ok(())
        }
        Action::SnapshotLiveTemplate(revision) => objects::keep_live(ctx, subject, revision).await,
        Action::SnapshotVersion { revision, version } => {
            objects::keep_version(ctx, subject, revision, version).await
        }
        Action::ScaleDownVersion(version) => {
            let target = objects::target(ctx, subject)?;
            let workloads = &ctx.caches.workloads;
            Ok(workloads.scale_down_version(target, version).await?)
        }
        Action::SetRoute {
            route,
            weight,
            epoch,
        } => {
            let plan = plan(subject)?;
            let change = RouteChange {
                namespace: &subject.id.namespace,
                route,
                weight: *weight,
                epoch: *epoch,
            };
            Ok(ctx
                .caches
                .routers
                .set(&ctx.clients.writing, plan, &change)
                .await?)
        }
        Action::SetService { name, pin, epoch } => {
            objects::set_service(ctx, subject, name, pin.as_ref(), *epoch).await
        }
        Action::SetWorkload { paused, epoch } => {
            let target = objects::target(ctx, subject)?;
            let workloads = &ctx.caches.workloads;
            Ok(workloads.pause(target, *paused, *epoch).await?)
        }
        Action::WriteTemplate(revision) => objects::write_template(ctx, subject, revision).await,
        Action::ApplyCanary { revision, replicas } => {
            canary::apply(ctx, subject, revision, *replicas).await
        }
        Action::DeleteCanary => canary::delete(ctx, subject).await,
        Action::Record(pending) => {
            ctx.records
                .write(&subject.id.namespace, &subject.id.name, pending);
            Ok(())
        }
        Action::TransferPendingRecords(pending) => hand_over(ctx, subject, pending).await,
        Action::CollectRevisions { keep } => objects::collect_revisions(ctx, subject, keep).await,
        Action::AnswerIntervention { name, answer } => {
            let (state, message) = (answer.state(), answer.to_string());
            let status = json!({ "state": state, "message": message, "at": crate::clock::now() });
            let interventions = &ctx.caches.interventions;
            let asked = interventions.get(&subject.id.namespace, name);
            let asked =
                asked.ok_or_else(|| ExecuteError::Missing(format!("the Intervention {name}")))?;
            let answered = writer(ctx, subject)
                .patch_status(interventions, &*asked, status)
                .await;
            answered.map_err(failed(format!("answer the Intervention {name}")))
        }
    }
}

/// Writes the next status over the one that the decision was made from, and no other.
async fn write_status(
    ctx: &Context,
    subject: &Subject<'_>,
    decision: &Decision,
) -> Result<(), ExecuteError> {
    ctx.fence.epoch()?;
    let mut rollout = subject.rollout.clone();
    rollout.status = Some(decision.status.clone());
    rollout.metadata.managed_fields = None;
    let written = writer(ctx, subject)
        .replace_status(&ctx.caches.rollouts, &rollout)
        .await;
    written.map_err(failed(format!(
        "write the status of the Rollout {}",
        subject.id.name
    )))?;
    ctx.counters
        .persisted(subject.rollout.status.as_ref(), &decision.status);
    Ok(())
}

async fn set_finalizer(
    ctx: &Context,
    subject: &Subject<'_>,
    wanted: bool,
) -> Result<(), ExecuteError> {
    // As the last write left it.
    let current = ctx
        .caches
        .rollouts
        .get(&subject.id.namespace, &subject.id.name);
    let current =
        current.ok_or_else(|| ExecuteError::Missing(format!("the Rollout {}", subject.id.name)))?;
    let mut finalizers = current.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != names::FINALIZER);
    if wanted {
        finalizers.push(names::FINALIZER.to_owned());
    }
    let patch = json!({ "metadata": { "finalizers": finalizers } });
    let patched = writer(ctx, subject)
        .patch(&ctx.caches.rollouts, &*current, patch)
        .await;
    patched.map_err(failed(format!(
        "set the finalizer of the Rollout {}",
        subject.id.name
    )))
}

/// Puts what git is owed into the queues of the ConfigRepos, which outlive the Rollout.
async fn hand_over(
    ctx: &Context,
    subject: &Subject<'_>,
    pending: &[tidegate_api::record::PendingRecord],
) -> Result<(), ExecuteError> {
    let repos = &ctx.caches.config_repos;
    for owed in pending {
        // A ConfigRepo that is gone can be told nothing.
        let Some(guarded) = repos.get(&subject.id.namespace, &owed.config_repo) else {
            continue;
        };
        let Ok(repo) = &guarded.0 else { continue };
        let mut queue = repo.status.clone().unwrap_or_default().pending_records;
        if queue
            .iter()
            .any(|queued| queued.record.path() == owed.record.path())
        {
            continue;
        }
        queue.push(owed.clone());
        let status = json!({ "pendingRecords": queue });
        let patched = writer(ctx, subject)
            .patch_status(repos, &*guarded, status)
            .await;
        patched.map_err(failed(format!(
            "queue a record at the ConfigRepo {}",
            owed.config_repo
        )))?;
    }
    Ok(())
}

fn plan<'a>(subject: &Subject<'a>) -> Result<&'a Plan, ExecuteError> {
    subject
        .plan
        .ok_or_else(|| ExecuteError::Missing(format!("a plan of the Rollout {}", subject.id.name)))
}

/// Writes in Tidegate's own name.
fn writer<'a>(ctx: &'a Context, subject: &Subject<'a>) -> Writer<'a> {
    Writer {
        client: &ctx.clients.writing,
        namespace: &subject.id.namespace,
    }
}

fn failed(what: String) -> impl FnOnce(kube::Error) -> ExecuteError {
    |source| ExecuteError::Write { what, source }
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
            | Self::NoTemplate(_) => return false,
        };
        matches!(source, kube::Error::Api(status) if status.code == 409)
    }

    /// Returns the API server's words if it refuses the effect until somebody changes something: a
    /// right, a quota, a policy, a webhook.
    pub(crate) fn refusal(&self) -> Option<String> {
        let said = match self {
            Self::Account(_) | Self::NoAccount(_) | Self::NoTemplate(_) | Self::RevisionLost(_) => {
                self.to_string()
            }
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
