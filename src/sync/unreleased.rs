//! Workloads whose Rollout is gone while git asks for a revision that nobody let in.
//!
//! What runs goes on running. Git's template is applied once a later commit changes the workload's
//! manifest, or the Rollout's removal was acknowledged: a Rollout that is deleted must not let in what
//! it has held back. Pure: it reads the repository's objects, the governance of the Rollouts and the
//! status.

use tidegate_api::{
    Revision,
    config_repo::{AppliedObject, GovernedWorkload, Removal, Unreleased},
};
use tidegate_engine::revision::{self, Digest};

use super::{
    config::NamedConfig,
    governance::{Governance, Governor},
    manifest::{Key, Manifest, workloads},
};

/// Returns the workloads that a Rollout governs, or did when it was seen last.
pub(super) fn governed(
    before: &[GovernedWorkload],
    manifests: &[Manifest],
    governance: &Governance,
    removals: &[Removal],
) -> Vec<GovernedWorkload> {
    let workloads = workloads(manifests);
    let governed = workloads.values().filter_map(|manifest| {
        let before = before
            .iter()
            .find(|before| Key::from(&before.object).is_same_object(&manifest.key));
        let Some(governor) = governance.of_workload(&manifest.key) else {
            let before = before?;
            let config = governance.config_of(&manifest.key);
            return ungoverned(before, manifest, config.as_ref());
        };
        if !governor.live {
            // It is about to be created again, and adopts what runs.
            return Some(GovernedWorkload {
                unreleased: None,
                ..before?.clone()
            });
        }
        if !governor.declared && is_acknowledged(removals, governor) {
            return None;
        }
        let stable = governor.status.as_ref()?.stable.as_ref();
        Some(GovernedWorkload {
            object: AppliedObject::from(&manifest.key),
            rollout: governor.name.clone(),
            stable: stable.map(|stable| stable.revision.clone()),
            unreleased: None,
        })
    });
    governed.collect()
}

/// A workload that no Rollout governs any more.
fn ungoverned(
    before: &GovernedWorkload,
    manifest: &Manifest,
    config: Option<&NamedConfig>,
) -> Option<GovernedWorkload> {
    let template = manifest.template()?;
    // Its Rollout may have released config, or not.
    let names = [None, config.map(|config| config.digest.as_str())]
        .map(|config| revision::with_config(template, config));
    let is_stable = |stable: &Option<Revision>| stable.iter().any(|stable| names.contains(stable));
    let [_, revision] = names.clone();
    let digest = Digest::of(&manifest.object).to_string();
    let unreleased = match &before.unreleased {
        Some(unreleased) if unreleased.manifest == digest => unreleased.clone(),
        Some(_) => return None,
        None if is_stable(&before.stable) => return None,
        None => Unreleased {
            revision,
            manifest: digest,
        },
    };
    Some(GovernedWorkload {
        unreleased: Some(unreleased),
        ..before.clone()
    })
}

fn is_acknowledged(removals: &[Removal], governor: &Governor) -> bool {
    let rollout = governor.id();
    removals.iter().any(|removal| {
        removal.confirmed && Key::from(&removal.object).rollout().as_ref() == Some(&rollout)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use tidegate_api::{Revision, Rollout};

    use super::*;
    use crate::sync::manifest::{self, Namespaces};

    const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: IMAGE}}\n";

    fn manifests(image: &str, with_rollout: bool) -> Vec<Manifest> {
        let mut text = DEPLOYMENT.replace("IMAGE", image);
        if with_rollout {
            text = format!("{text}---\n{}", rollout(&json!({})));
        }
        manifest::parse([("a.yaml", text.as_bytes())], &Namespaces::only("shop"))
            .expect("manifests")
            .manifests
    }

    fn rollout(status: &Value) -> Value {
        json!({
            "apiVersion": "tidegate.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "workload": {"kind": "Deployment", "name": "web"}, "gates": [],
                "traffic": {"routes": [{"kind": "HTTPRoute", "name": "web"}]},
                "steps": [{"weight": 10, "hold": "1m"}],
            },
            "status": status,
        })
    }

    fn live(stable: &Revision) -> Vec<Arc<Rollout>> {
        let stable = json!({"stable": {"revision": stable, "podTemplateHash": "1", "since": "2026-01-01T00:00:00Z"}});
        vec![Arc::new(
            serde_json::from_value(rollout(&stable)).expect("a Rollout"),
        )]
    }

    fn revision(image: &str) -> Revision {
        revision::of(&json!({"spec": image}))
    }

    fn next(
        before: &[GovernedWorkload],
        manifests: &[Manifest],
        live: &[Arc<Rollout>],
    ) -> Vec<GovernedWorkload> {
        governed(before, manifests, &Governance::new(manifests, live), &[])
    }

    #[test]
    fn what_a_rollout_has_held_back_is_held_until_the_manifest_changes() {
        let known = next(&[], &manifests("one", true), &live(&revision("one")));
        assert_eq!(known[0].stable, Some(revision("one")));
        let known = next(&known, &manifests("two", false), &live(&revision("one")));
        assert_eq!(known[0].unreleased, None, "the Rollout is still there");
        let held = next(&known, &manifests("two", false), &[]);
        let unreleased = held[0].unreleased.clone().expect("held");
        assert_eq!(unreleased.revision, revision("two"));
        assert_eq!(next(&held, &manifests("two", false), &[]), held);
        assert_eq!(next(&held, &manifests("three", false), &[]), []);
    }

    #[test]
    fn nothing_is_held_where_git_asks_for_what_is_stable_or_the_removal_was_acknowledged() {
        let known = next(&[], &manifests("one", true), &live(&revision("one")));
        assert_eq!(next(&known, &manifests("one", false), &[]), []);
        let manifests = manifests("two", false);
        let removal = json!({
            "apiVersion": "tidegate.io/v1alpha1", "kind": "Rollout", "namespace": "shop", "name": "web",
            "since": "2026-01-01T00:00:00Z", "confirmed": true,
        });
        let removal = serde_json::from_value(removal).expect("a removal");
        let governance = Governance::new(&manifests, &live(&revision("one")));
        assert_eq!(governed(&known, &manifests, &governance, &[removal]), []);
    }

    #[test]
    fn a_rollout_that_comes_back_governs_again() {
        let known = next(&[], &manifests("one", true), &live(&revision("one")));
        let held = next(&known, &manifests("two", false), &[]);
        let back = next(&held, &manifests("two", true), &[]);
        assert_eq!(back[0].unreleased, None);
        assert_eq!(back[0].stable, Some(revision("one")));
    }
}
