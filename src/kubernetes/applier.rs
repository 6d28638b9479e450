//! Appliers: tools that have objects as their own git says, again and again.
//!
//! What Tidegate governs in an object would be undone at the next reconcile, and what stable's pods need be pruned with
//! the next commit. An applier reads annotations of the live object by which it passes one by, or never prunes it:
//!
//! | applier | how its objects are told | passes one by | never prunes one |
//! |---|---|---|---|
//! | Flux's kustomize-controller | label | `kustomize.toolkit.fluxcd.io/ssa: Ignore` | `kustomize.toolkit.fluxcd.io/prune: disabled` |
//! | Argo CD | annotation, or label | by its own settings | `argocd.argoproj.io/sync-options: Prune=false` |
//! | Helm | label | writes only when it is called | `helm.sh/resource-policy: keep` |
//!
//! A setting that was there before is kept beside it, and comes back.

pub(crate) mod flux;

use kube::{Resource, ResourceExt as _};
use serde_json::{Map, Value, json};
use tidegate_api::names;
use tidegate_engine::observed::Appliers;

use super::managed_fields::owns;

/// A tool that applies objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applier {
    Flux,
    ArgoCd,
    Helm,
}

/// Annotation of an object that an applier reads, with the value that tells it something.
struct Setting {
    annotation: &'static str,
    value: &'static str,
    /// True if the value is one of a list by commas.
    in_list: bool,
}

// === impl Applier ===

impl Applier {
    const ALL: [Self; 3] = [Self::Flux, Self::ArgoCd, Self::Helm];

    /// Returns the applier of an object. What Flux or Argo CD renders from a chart bears Helm's label, too.
    fn of(object: &impl Resource) -> Option<Self> {
        let (labels, annotations) = (object.labels(), object.annotations());
        Self::ALL.into_iter().find(|applier| match applier {
            Self::Flux => labels.contains_key(flux::NAME_LABEL),
            Self::ArgoCd => {
                annotations.contains_key("argocd.argoproj.io/tracking-id")
                    || labels.contains_key("argocd.argoproj.io/instance")
            }
            Self::Helm => {
                let by = labels.get("app.kubernetes.io/managed-by");
                by.is_some_and(|by| by == "Helm")
            }
        })
    }

    /// The setting with which it leaves an object alone.
    fn passes_by(self) -> Option<Setting> {
        match self {
            Self::Flux => Some(Setting {
                annotation: "kustomize.toolkit.fluxcd.io/ssa",
                value: "Ignore",
                in_list: false,
            }),
            Self::ArgoCd | Self::Helm => None,
        }
    }

    /// The setting with which it never prunes an object.
    fn keeps(self) -> Setting {
        match self {
            Self::Flux => Setting {
                annotation: "kustomize.toolkit.fluxcd.io/prune",
                value: "disabled",
                in_list: false,
            },
            Self::ArgoCd => Setting {
                annotation: "argocd.argoproj.io/sync-options",
                value: "Prune=false",
                in_list: true,
            },
            Self::Helm => Setting {
                annotation: "helm.sh/resource-policy",
                value: "keep",
                in_list: false,
            },
        }
    }
}

// === impl Setting ===

impl Setting {
    /// Returns true if a value says it already.
    fn is_in(&self, value: &str) -> bool {
        if self.in_list {
            value.split(',').any(|one| one.trim() == self.value)
        } else {
            value.eq_ignore_ascii_case(self.value)
        }
    }

    /// Returns the value that says it, beside what was there.
    fn added_to(&self, before: &str) -> String {
        if self.in_list && !before.is_empty() {
            format!("{before},{}", self.value)
        } else {
            self.value.to_owned()
        }
    }
}

/// Returns what the appliers of an object are told.
pub(crate) fn appliers(object: &impl Resource) -> Appliers {
    let annotations = object.annotations();
    if annotations.contains_key(names::PASSED_BY_ANNOTATION) {
        Appliers::PassBy
    } else {
        Appliers::Apply
    }
}

/// Returns the annotations by which the applier of an object is told to pass it by or no longer, as a merge patch; none
/// where nothing changes.
pub(crate) fn pass_by(object: &impl Resource, passed_by: bool) -> Map<String, Value> {
    let setting = Applier::of(object).and_then(Applier::passes_by);
    told(
        object,
        names::PASSED_BY_ANNOTATION,
        setting.as_ref(),
        passed_by,
    )
}

/// Returns the annotations by which the applier of an object is told to keep it or no longer, in the same way.
pub(crate) fn keep(object: &impl Resource, kept: bool) -> Map<String, Value> {
    let setting = Applier::of(object).map(Applier::keeps);
    told(object, names::KEPT_ANNOTATION, setting.as_ref(), kept)
}

/// The mark of ours says which annotation was written, and what it was before: `NAME`, or `NAME=VALUE`.
fn told(
    object: &impl Resource,
    mark: &str,
    setting: Option<&Setting>,
    is_told: bool,
) -> Map<String, Value> {
    let annotations = object.annotations();
    let noted = annotations.get(mark);
    let mut patch = Map::new();
    if let Some(setting) = setting.filter(|_| is_told) {
        let name = setting.annotation;
        let now = annotations.get(name).map_or("", String::as_str);
        // Flux reads it in a label, too.
        let label = object.labels().get(name);
        if setting.is_in(now) || label.is_some_and(|label| setting.is_in(label)) {
            return patch;
        }
        let note = match noted {
            Some(noted) => noted.clone(),
            None if now.is_empty() => name.to_owned(),
            None => format!("{name}={now}"),
        };
        patch.insert(mark.to_owned(), json!(note));
        patch.insert(name.to_owned(), json!(setting.added_to(now)));
    } else if let Some(noted) = noted.filter(|_| !is_told) {
        let (name, before) = match noted.split_once('=') {
            Some((name, before)) => (name, Some(before)),
            None => (noted.as_str(), None),
        };
        patch.insert(mark.to_owned(), Value::Null);
        if !is_of_others(object, name) {
            patch.insert(name.to_owned(), json!(before));
        }
    }
    patch
}

/// Returns true if somebody else says the same of an object by an annotation: it stays, then.
fn is_of_others(object: &impl Resource, annotation: &str) -> bool {
    let path = ["metadata", "annotations", annotation];
    let mut entries = object.managed_fields().iter();
    entries
        .any(|entry| entry.manager.as_deref() != Some(names::FIELD_MANAGER) && owns(entry, &path))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    const SSA: &str = "kustomize.toolkit.fluxcd.io/ssa";

    fn object(labels: &Value, annotations: &Value) -> Service {
        let metadata = json!({ "name": "shop", "labels": labels, "annotations": annotations });
        serde_json::from_value(json!({ "metadata": metadata })).expect("a Service")
    }

    fn by_flux(annotations: &Value) -> Service {
        object(&json!({ flux::NAME_LABEL: "shop" }), annotations)
    }

    /// The object after a merge patch of its annotations.
    fn patched(object: &Service, patch: Map<String, Value>) -> Service {
        let mut object = object.clone();
        for (key, value) in patch {
            match value.as_str() {
                Some(value) => object.annotations_mut().insert(key, value.to_owned()),
                None => object.annotations_mut().remove(&key),
            };
        }
        object
    }

    fn passed_by(object: &Service) -> Service {
        patched(object, pass_by(object, true))
    }

    fn applied(object: &Service) -> Service {
        patched(object, pass_by(object, false))
    }

    fn kept(object: &Service) -> Service {
        patched(object, keep(object, true))
    }

    fn released(object: &Service) -> Service {
        patched(object, keep(object, false))
    }

    #[test]
    fn flux_is_told_to_pass_an_object_by_and_no_longer() {
        let before = by_flux(&json!({ "a": "b" }));
        let told = passed_by(&before);
        assert_eq!(told.annotations()[SSA], "Ignore");
        assert_eq!(appliers(&told), Appliers::PassBy);
        assert!(pass_by(&told, true).is_empty(), "it is told once");
        assert_eq!(applied(&told), before);
    }

    #[test]
    fn a_setting_of_the_users_own_comes_back() {
        for setting in ["Merge", "IfNotPresent", "Ignore"] {
            let before = by_flux(&json!({ SSA: setting }));
            let told = passed_by(&before);
            assert_eq!(told.annotations()[SSA], "Ignore");
            assert_eq!(applied(&told), before, "{setting}");
        }
    }

    #[test]
    fn one_that_is_told_otherwise_meanwhile_is_told_again() {
        let before = by_flux(&json!({ SSA: "Merge" }));
        let mut told = passed_by(&before);
        told.annotations_mut()
            .insert(SSA.to_owned(), "IfNotPresent".to_owned());
        let told = passed_by(&told);
        assert_eq!(told.annotations()[SSA], "Ignore");
        assert_eq!(applied(&told), before);
    }

    #[test]
    fn who_writes_only_when_called_is_not_told_to_pass_by() {
        let helms = object(
            &json!({ "app.kubernetes.io/managed-by": "Helm" }),
            &json!({}),
        );
        assert!(pass_by(&helms, true).is_empty());
        assert!(pass_by(&object(&json!({}), &json!({})), true).is_empty());
    }

    #[test]
    fn one_that_has_lost_its_label_meanwhile_is_left_without_the_mark() {
        let mut told = kept(&passed_by(&by_flux(&json!({}))));
        told.labels_mut().clear();
        assert!(released(&applied(&told)).annotations().is_empty());
    }

    #[test]
    fn each_applier_keeps_config_by_its_own_annotation() {
        let flux = kept(&by_flux(&json!({})));
        let prune = "kustomize.toolkit.fluxcd.io/prune";
        assert_eq!(flux.annotations()[prune], "disabled");
        let helms = object(
            &json!({ "app.kubernetes.io/managed-by": "Helm" }),
            &json!({}),
        );
        assert_eq!(
            kept(&helms).annotations()["helm.sh/resource-policy"],
            "keep"
        );
        let options = "argocd.argoproj.io/sync-options";
        let argos = object(
            &json!({}),
            &json!({ "argocd.argoproj.io/tracking-id": "shop", options: "Replace=true" }),
        );
        let told = kept(&argos);
        assert_eq!(told.annotations()[options], "Replace=true,Prune=false");
        for (before, after) in [
            (by_flux(&json!({})), flux),
            (helms.clone(), kept(&helms)),
            (argos, told),
        ] {
            assert_eq!(released(&after), before);
        }
    }

    #[test]
    fn what_git_keeps_since_stays_kept() {
        let mut told = kept(&by_flux(&json!({})));
        let prune = "kustomize.toolkit.fluxcd.io/prune";
        let fields = json!({ "f:metadata": { "f:annotations": { format!("f:{prune}"): {} } } });
        let entry =
            json!({ "manager": "kustomize-controller", "operation": "Apply", "fieldsV1": fields });
        let entry = serde_json::from_value(entry).expect("an entry");
        told.metadata.managed_fields = Some(vec![entry]);
        let released = released(&told);
        assert_eq!(released.annotations().len(), 1);
        assert_eq!(released.annotations()[prune], "disabled");
    }

    #[test]
    fn what_its_owner_keeps_stays_kept() {
        let prune = "kustomize.toolkit.fluxcd.io/prune";
        let by_label = object(
            &json!({ flux::NAME_LABEL: "shop", prune: "disabled" }),
            &json!({}),
        );
        assert!(keep(&by_label, true).is_empty());
        assert!(keep(&by_flux(&json!({ prune: "Disabled" })), true).is_empty());
        let argos = object(
            &json!({ "argocd.argoproj.io/instance": "shop" }),
            &json!({ "argocd.argoproj.io/sync-options": "Replace=true, Prune=false" }),
        );
        assert!(keep(&argos, true).is_empty());
        assert!(keep(&argos, false).is_empty());
    }
}
