//! `tidegate off` and `tidegate on`: all Rollouts of a namespace, or of the cluster, suspended with all traffic on
//! stable, and back.
//!
//! It sets `spec.suspend`, and asks for the abort of what runs by Interventions: what follows is the engine's
//! decision.
//!
//! | module | what it owns |
//! |---|---|
//! | `rest` | the way of one Rollout until nothing of it runs |
//! | `remains` | what stays in the cluster, and what git will do about it |

mod remains;
mod rest;

use std::process::ExitCode;

use clap::Args;
use futures::{StreamExt as _, stream};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tidegate_api::{Duration, NamespacedName, Rollout, names};

use self::rest::{Order, Stopped, Suspended};
use super::{
    connection::{self, Target, answered},
    intervene,
};

/// Field manager of the two commands. That of a `kubectl` would be taken over by appliers, with its fields.
const FIELD_MANAGER: &str = "tidegate-off";

/// Number of Rollouts that are seen to at once.
const AT_ONCE: usize = 64;

/// Arguments of `tidegate off`.
#[derive(Args, Clone, Debug)]
pub struct OffArgs {
    /// Reason; it is an annotation of the Rollouts and part of the records of what is aborted
    #[arg(short, long)]
    reason: String,
    /// Maximum wait for each Rollout to be at rest
    #[arg(long, default_value = "2m")]
    timeout: Duration,
    #[command(flatten)]
    scope: Scope,
}

/// Arguments of `tidegate on`.
#[derive(Args, Clone, Debug)]
pub struct OnArgs {
    #[command(flatten)]
    scope: Scope,
}

/// Rollouts that are meant.
#[derive(Args, Clone, Debug, Default)]
struct Scope {
    #[command(flatten)]
    target: Target,
    /// Rollouts of all namespaces; overrides `--namespace` and its variable
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

/// Suspends every Rollout, aborts what runs, and waits until all traffic is on stable.
pub(super) async fn off(args: &OffArgs) -> anyhow::Result<ExitCode> {
    let (client, rollouts) = args.scope.rollouts().await?;
    let order = Order {
        by: intervene::username(client.clone()).await?,
        reason: args.reason.clone(),
        timeout: args.timeout,
        client,
    };
    let all = stop_all(&order, rollouts).await;
    let remains = remains::find(&order.client, &all).await;
    print!("{}", remains::told(&remains, args.scope.all_namespaces));
    Ok(code(all.iter().all(Stopped::is_at_rest)))
}

/// Suspends them all before any is waited for, so that nothing begins elsewhere meanwhile, and tells how each ends.
async fn stop_all(order: &Order, rollouts: Vec<Rollout>) -> Vec<Stopped> {
    // `on` releases what this command has suspended, and nothing else.
    let (before, others): (Vec<_>, Vec<_>) = rollouts
        .into_iter()
        .partition(|rollout| rollout.spec.suspend && !is_by_off(rollout));
    let suspended = patch_all(&order.client, others, &suspension(order)).await;
    let suspended = suspended
        .into_iter()
        .map(|(id, patched)| (id, patched.map(Suspended::ByOff)));
    let before = before
        .into_iter()
        .map(|rollout| (NamespacedName::of(&rollout), Ok(Suspended::Before(rollout))));
    let mut all: Vec<_> = suspended.chain(before).collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    let ways = all
        .into_iter()
        .map(|(id, suspended)| rest::stop(order, id, suspended));
    let mut ways = stream::iter(ways).buffered(AT_ONCE);
    let mut all = Vec::new();
    while let Some(stopped) = ways.next().await {
        println!("{stopped}");
        all.push(stopped);
    }
    all
}

/// Has every Rollout go on that `off` has suspended.
pub(super) async fn on(args: &OnArgs) -> anyhow::Result<ExitCode> {
    let (client, rollouts) = args.scope.rollouts().await?;
    Ok(code(release_all(&client, rollouts).await))
}

/// Releases what `off` has suspended, and tells what stays suspended. Returns true if all of it was released.
async fn release_all(client: &Client, rollouts: Vec<Rollout>) -> bool {
    let (by_off, others): (Vec<_>, Vec<_>) = rollouts.into_iter().partition(is_by_off);
    for other in others.iter().filter(|other| other.spec.suspend) {
        let id = NamespacedName::of(other);
        println!("{id}: stays suspended, as it was suspended by hand or in git");
    }
    let change = json!({
        "metadata": { "annotations": { names::SUSPEND_REASON_ANNOTATION: null } },
        "spec": { "suspend": false },
    });
    let mut is_done = true;
    for (id, patched) in patch_all(client, by_off, &change).await {
        match patched {
            Ok(_) => println!("{id}: no longer suspended"),
            Err(why) => {
                is_done = false;
                eprintln!("{id}: still suspended: {why:#}");
            }
        }
    }
    is_done
}

/// Returns true if `off` has suspended the Rollout, and nobody has set it since: who has is the one who lets it go.
fn is_by_off(rollout: &Rollout) -> bool {
    let annotations = rollout.annotations();
    let is_said = annotations.contains_key(names::SUSPEND_REASON_ANNOTATION);
    let entries = rollout.metadata.managed_fields.iter().flatten();
    let mut ours = entries.filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    let is_set_by_us = ours.any(|entry| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| fields.0.pointer("/f:spec/f:suspend").is_some())
    });
    rollout.spec.suspend && is_said && is_set_by_us
}

fn suspension(order: &Order) -> Value {
    let why = format!("{} ({})", order.reason, order.by);
    json!({
        "metadata": { "annotations": { names::SUSPEND_REASON_ANNOTATION: why } },
        "spec": { "suspend": true },
    })
}

/// Patches each Rollout, and returns it as it is then. One that cannot be patched holds up no other.
async fn patch_all(
    client: &Client,
    rollouts: Vec<Rollout>,
    change: &Value,
) -> Vec<(NamespacedName, anyhow::Result<Rollout>)> {
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patches = rollouts.into_iter().map(|rollout| {
        let (params, change) = (&params, Patch::Merge(change));
        async move {
            let id = NamespacedName::of(&rollout);
            let api: Api<Rollout> = Api::namespaced(client.clone(), &id.namespace);
            let patched = answered(api.patch(&id.name, params, &change)).await;
            (id, patched)
        }
    });
    stream::iter(patches).buffered(AT_ONCE).collect().await
}

fn code(is_done: bool) -> ExitCode {
    if is_done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

// === impl Scope ===

impl Scope {
    /// Returns the Rollouts that are meant, and a client for their cluster.
    async fn rollouts(&self) -> anyhow::Result<(Client, Vec<Rollout>)> {
        let (client, namespace) = self.target.connect().await?;
        let api = connection::rollouts(client.clone(), &namespace, self.all_namespaces);
        let found = answered(api.list(&ListParams::default())).await?.items;
        if found.is_empty() {
            eprintln!("No Rollouts found.");
        }
        Ok((client, found))
    }
}

#[cfg(test)]
mod tests;
