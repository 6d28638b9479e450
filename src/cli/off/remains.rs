//! What stays in the cluster of Rollouts that are suspended, and what git will do about it.

use std::fmt::Write as _;

use futures::{StreamExt as _, stream};
use kube::Client;
use tidegate_api::{NamespacedName, Rollout, names};

use super::{AT_ONCE, rest::Stopped};
use crate::workload;

/// What git does about a field that it does not name.
const GIT: &str = "\nGit does not say so yet. Commit `suspend: true` to their manifests: whoever replaces a Rollout, or \
     applies one with `suspend: false`, sets it back.\n";

/// What stays of one Rollout.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remains {
    id: NamespacedName,
    /// What stays, each in a few words.
    what: Vec<String>,
    /// Field manager of whoever applies the Rollout.
    applier: Option<String>,
}

/// Finds what stays of those Rollouts that are still there.
pub(super) async fn find(client: &Client, all: &[Stopped]) -> Vec<Remains> {
    let there = all.iter().filter_map(|stopped| {
        let rollout = stopped.rollout.as_ref()?;
        Some((&stopped.id, rollout))
    });
    let looks = there.map(|(id, rollout)| async move {
        let target = workload::Target {
            client,
            namespace: &id.namespace,
            workload: &rollout.spec.workload,
        };
        // Without the right to read it there is the Rollout alone.
        let held = workload::read_hold(target).await;
        Remains::of(id, rollout, held.is_ok_and(|held| held.is_some()))
    });
    stream::iter(looks).buffered(AT_ONCE).collect().await
}

/// Tells what stays, what git will do about it, and the two ways on.
pub(super) fn told(all: &[Remains], all_namespaces: bool) -> String {
    let Some(first) = all.first() else {
        return String::new();
    };
    let mut text = String::new();
    for remains in all.iter().filter(|remains| !remains.what.is_empty()) {
        if text.is_empty() {
            text.push_str("\nWhat stays:\n");
        }
        _ = writeln!(text, "  {}: {}", remains.id, remains.what.join("; "));
    }
    let applied = all
        .iter()
        .filter_map(|one| Some((&one.id, one.applier.as_ref()?)));
    for (index, (id, applier)) in applied.enumerate() {
        if index == 0 {
            text.push_str(GIT);
        }
        _ = writeln!(text, "  {id}: applied by {applier}");
    }
    let (on, delete) = if all_namespaces {
        ("-A".to_owned(), "--all-namespaces".to_owned())
    } else {
        let namespace = &first.id.namespace;
        (
            format!("-n {namespace}"),
            format!("--namespace {namespace}"),
        )
    };
    _ = writeln!(
        text,
        "\nTo go on: tidegate on {on}\n\
         To remove Tidegate for good: take the Rollouts out of git, `kubectl delete rollouts.tidegate.io --all \
         {delete}`, which lets the workloads go, and then `helm uninstall`."
    );
    text
}

/// Returns the field manager that has applied the steps of a Rollout.
fn applier(rollout: &Rollout) -> Option<String> {
    let entries = rollout.metadata.managed_fields.iter().flatten();
    let mut of_steps = entries.filter(|entry| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| fields.0.pointer("/f:spec/f:steps").is_some())
    });
    of_steps.find_map(|entry| entry.manager.clone())
}

// === impl Remains ===

impl Remains {
    fn of(id: &NamespacedName, rollout: &Rollout, is_held: bool) -> Self {
        let status = rollout.status.clone().unwrap_or_default();
        let mut what = Vec::new();
        if is_held {
            let workload = &rollout.spec.workload;
            what.push(format!(
                "{workload} stays paused, and what is applied to it waits"
            ));
        }
        if !status.kept_config.is_empty() {
            let kept: Vec<_> = status.kept_config.iter().map(ToString::to_string).collect();
            what.push(format!("kept from being pruned: {}", kept.join(", ")));
        }
        if !status.pending_records.is_empty() {
            let count = status.pending_records.len();
            what.push(format!("records that wait for git: {count}"));
        }
        let finalizers = rollout.metadata.finalizers.iter().flatten();
        if finalizers.into_iter().any(|one| one == names::FINALIZER) {
            what.push(format!("the finalizer {}", names::FINALIZER));
        }
        Self {
            id: id.clone(),
            what,
            applier: applier(rollout),
        }
    }
}

#[cfg(test)]
mod tests;
