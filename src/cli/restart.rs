//! `tidegate restart`: stable's pods are replaced by others of the same content, without a release.
//!
//! A workload that a ConfigRepo applies gets the mark of `kubectl rollout restart`, and rolls. One that is held is
//! paused, so that kubectl refuses, and a mark would be a template that waits: its pods are evicted one after the
//! other instead, as a drain does it.

mod eviction;

use anyhow::{Context as _, bail};
use clap::Args;
use kube::{Api, Client};
use tidegate_api::{Duration, Rollout, workload::VersionId};
use tokio::time::timeout;

use self::eviction::Pods;
use super::connection::{Target, answered};
use crate::{
    clock,
    workload::{self, Restart},
};

/// Arguments of `tidegate restart`.
#[derive(Args, Clone, Debug)]
pub struct RestartArgs {
    /// Name of the Rollout
    name: String,
    /// Maximum wait for the pods of a held workload to be replaced
    #[arg(long, default_value = "10m")]
    timeout: Duration,
    #[command(flatten)]
    target: Target,
}

/// Restarts the workload of a Rollout.
pub(super) async fn run(args: &RestartArgs) -> anyhow::Result<()> {
    let (client, namespace) = args.target.connect().await?;
    restart(&client, &namespace, &args.name, args.timeout).await
}

async fn restart(
    client: &Client,
    namespace: &str,
    name: &str,
    within: Duration,
) -> anyhow::Result<()> {
    let api: Api<Rollout> = Api::namespaced(client.clone(), namespace);
    let rollout = answered(api.get(name)).await?;
    let version = idle_version(&rollout)?;
    let workload = &rollout.spec.workload;
    let target = workload::Target {
        client,
        namespace,
        workload,
    };
    match workload::restart(target, clock::now()).await? {
        Restart::Rolls => {
            println!("{workload} is restarted: its own strategy replaces its pods");
            Ok(())
        }
        Restart::Paused => bail!(
            "{workload} is paused, and not by Tidegate: it replaces no pod; `kubectl rollout resume` it first"
        ),
        Restart::Held => {
            let pods = Pods {
                client,
                namespace,
                workload,
                version: &version,
                rollout: name,
            };
            let replaced = timeout(within.as_std(), pods.replace()).await;
            let replaced = replaced.ok().with_context(|| {
                format!("not all pods are replaced within {within}; the same command goes on with all of them")
            })??;
            println!("{workload}: {replaced} pods of stable are replaced, one after the other");
            Ok(())
        }
    }
}

/// Returns stable's version of a Rollout at rest. An attempt pins callers to pods, and would undo a restart.
fn idle_version(rollout: &Rollout) -> anyhow::Result<VersionId> {
    let status = rollout.status.clone().unwrap_or_default();
    if let Some(attempt) = status.attempt {
        bail!(
            "attempt {} is running, and callers are pinned to the pods that there are: wait for its end, or create \
             an Abort Intervention",
            attempt.number
        );
    }
    let stable = status.stable.context(
        "no revision is stable yet, so there is nothing to keep: use `kubectl rollout restart`",
    )?;
    Ok(stable.pod_template_hash)
}

#[cfg(test)]
mod tests;
