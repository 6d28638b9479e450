//! Counts of replicas that are not git's: nobody's scale is fought over.
//!
//! | the last to say a count | the count |
//! |---|---|
//! | an autoscaler scales the object | is the autoscaler's |
//! | somebody did, by the scale subresource | stays until a commit changes git's |
//! | git | is git's |

use kube::{ResourceExt as _, api::DynamicObject};
use serde::Deserialize as _;
use serde_json::Value;
use tidegate_api::names;

use super::{
    manifest::{Key, Manifest},
    ownership::{FieldPath, is_applied_by_us},
};
use crate::kubernetes::{
    managed_fields::manager_by_subresource,
    watched::{ScaleTarget, is_autoscaler},
};

/// Path of the count of replicas.
pub(super) const REPLICAS: FieldPath = &["spec", "replicas"];

/// Kinds that make an autoscaler for their target, by group and kind.
const AUTOSCALERS: &[(&str, &str)] = &[
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("keda.sh", "ScaledObject"),
];

/// Owner of a count of replicas that is not git's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scaler {
    /// An autoscaler, by its kind and name.
    Autoscaler(String),
    /// Somebody who scaled the object.
    Hand {
        /// Field manager of the write.
        manager: String,
        /// Count that was set.
        replicas: u64,
        /// Count in git.
        wanted: u64,
    },
}

/// Returns who says how many replicas an object has, if that is not git.
///
/// `autoscaler` is the one that scales it; `before` is git's count as of the last apply, as far as
/// that is known.
pub(super) fn scaler(
    manifest: &Value,
    live: &DynamicObject,
    autoscaler: Option<String>,
    before: Option<u64>,
) -> Option<Scaler> {
    let wanted = count(manifest)?;
    if let Some(autoscaler) = autoscaler {
        return Some(Scaler::Autoscaler(autoscaler));
    }
    let entries = live.managed_fields();
    let manager = manager_by_subresource(entries, "scale", REPLICAS)?;
    if is_autoscaler(manager) {
        return Some(Scaler::Autoscaler(manager.to_owned()));
    }
    // Who scales to another count takes the field from us.
    if is_applied_by_us(entries, REPLICAS) {
        return None;
    }
    let declined = live.annotations().get(names::REPLICAS_ANNOTATION);
    let last = match declined {
        Some(count) => count.parse().ok(),
        None => before,
    };
    if last.is_some_and(|last: u64| last != wanted) {
        return None;
    }
    Some(Scaler::Hand {
        manager: manager.to_owned(),
        replicas: count(&live.data).unwrap_or_default(),
        wanted,
    })
}

/// Count of replicas that an object says.
pub(super) fn count(object: &Value) -> Option<u64> {
    object.pointer("/spec/replicas")?.as_u64()
}

/// Returns the autoscaler of a repository that scales an object: it may not have begun yet.
pub(super) fn autoscaler_in(manifests: &[Manifest], key: &Key) -> Option<String> {
    let mut autoscalers = manifests.iter().filter(|manifest| {
        manifest.key.namespace == key.namespace
            && AUTOSCALERS
                .iter()
                .any(|(group, kind)| manifest.key.is(group, kind))
    });
    let found = autoscalers.find(|manifest| {
        let target = manifest.object.pointer("/spec/scaleTargetRef");
        let target = target.and_then(|target| ScaleTarget::deserialize(target).ok());
        target.is_some_and(|target| target.is(key.group(), &key.kind, &key.name))
    })?;
    Some(found.key.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(replicas: u64, annotations: &Value, entries: &Value) -> DynamicObject {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "annotations": annotations, "managedFields": entries},
            "spec": {"replicas": replicas},
        });
        serde_json::from_value(object).expect("an object")
    }

    fn entry(manager: &str, operation: &str, subresource: &str) -> Value {
        json!({
            "manager": manager, "operation": operation, "subresource": subresource,
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        })
    }

    fn scaled(annotations: &Value) -> DynamicObject {
        live(
            6,
            annotations,
            &json!([entry("kubectl", "Update", "scale")]),
        )
    }

    fn git(replicas: u64) -> Value {
        json!({"spec": {"replicas": replicas}})
    }

    fn hand(wanted: u64) -> Scaler {
        Scaler::Hand {
            manager: "kubectl".into(),
            replicas: 6,
            wanted,
        }
    }

    #[test]
    fn a_count_that_was_set_by_scale_stays_until_git_changes_its_own() {
        let none = json!({});
        assert_eq!(scaler(&git(2), &scaled(&none), None, None), Some(hand(2)));
        assert_eq!(
            scaler(&git(2), &scaled(&none), None, Some(2)),
            Some(hand(2))
        );
        assert_eq!(scaler(&git(3), &scaled(&none), None, Some(2)), None);
        let declined = json!({"tidegate.io/replicas": "2"});
        assert_eq!(
            scaler(&git(2), &scaled(&declined), None, None),
            Some(hand(2))
        );
        assert_eq!(scaler(&git(3), &scaled(&declined), None, None), None);
        let ours = json!([
            entry("kubectl", "Update", "scale"),
            entry("tidegate-sync", "Apply", "")
        ]);
        assert_eq!(scaler(&git(3), &live(6, &none, &ours), None, None), None);
    }

    #[test]
    fn an_autoscaler_has_the_count_whatever_git_says() {
        let live = live(6, &json!({}), &json!([entry("tidegate-sync", "Apply", "")]));
        let hpa = Some("HorizontalPodAutoscaler web".to_owned());
        let found = scaler(&git(3), &live, hpa.clone(), Some(2));
        assert_eq!(found, hpa.map(Scaler::Autoscaler));
        assert_eq!(scaler(&json!({"spec": {}}), &live, None, None), None);
        let mut keda = scaled(&json!({}));
        keda.managed_fields_mut()[0].manager = Some("keda-operator".into());
        let found = scaler(&git(3), &keda, None, Some(2));
        assert_eq!(found, Some(Scaler::Autoscaler("keda-operator".into())));
    }
}
