//! Ownership of fields, as `managedFields` has it.
//!
//! Server-side apply deletes a field that was removed from git only if no other manager owns it. So the
//! fields of managers that came before (client-side apply, Helm) are adopted before an object is applied,
//! as client-go's `csaupgrade` and Flux do; and fields that we omit on purpose are relinquished first.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::{Map, Value};
use tidegate_api::names;

use crate::kubernetes::managed_fields::{
    APPLY, is_applied_by, is_no_subresource, is_written_by, owns, remove_field,
};

/// Path of a field, like `["spec", "replicas"]`.
pub(super) type FieldPath = &'static [&'static str];

/// Field managers that create objects without server-side apply, and Tidegate's own writes of a
/// template. `kubectl edit`, `label`, `rollout restart` and their like have names of their own:
/// what a person has added to an object stays theirs.
const LEGACY_MANAGERS: &[&str] = &[
    "kubectl-client-side-apply",
    "kubectl-create",
    "kubectl-replace",
    // Until 1.18, and where only its name is known.
    "kubectl",
    // What an object had before the API server knew of managers.
    "before-first-apply",
    "helm",
    "Helm",
    "helm-controller",
    "argocd-controller",
    "argocd-application-controller",
    "Terraform",
    "HashiCorp",
    names::SYNC_FIELD_MANAGER,
];

/// Returns the entries with which an object is applied: the fields of legacy managers are ours, and the
/// fields that the apply omits are removed from our entries. `None` if nothing changes.
///
/// Entries of a subresource are never adopted. One of another API version is left, as `csaupgrade` leaves
/// it: its fields may have other names.
pub(super) fn taken_over(
    entries: &[ManagedFieldsEntry],
    left_out: &[FieldPath],
) -> Option<Vec<ManagedFieldsEntry>> {
    let mut next = entries.to_vec();
    if !next.iter().any(is_ours)
        && let Some(first) = next.iter_mut().find(|entry| is_legacy_manager(entry))
    {
        first.manager = Some(names::SYNC_FIELD_MANAGER.to_owned());
        first.operation = Some(APPLY.to_owned());
    }
    if let Some(at) = next.iter().position(is_ours) {
        let version = next[at].api_version.clone();
        let (folded, mut kept): (Vec<_>, Vec<_>) = next
            .into_iter()
            .partition(|entry| is_legacy_manager(entry) && entry.api_version == version);
        let ours = kept.iter_mut().find(|entry| is_ours(entry))?;
        let fields = fields_of(ours);
        for entry in folded.iter().filter_map(|entry| entry.fields_v1.as_ref()) {
            merge(fields, &entry.0);
        }
        next = kept;
    }
    let written_by_us = next
        .iter_mut()
        .filter(|entry| entry.manager.as_deref() == Some(names::SYNC_FIELD_MANAGER));
    for entry in written_by_us.filter(|entry| is_no_subresource(entry)) {
        for path in left_out {
            remove_field(fields_of(entry), path);
        }
    }
    if next == entries { None } else { Some(next) }
}

/// Returns true if our apply owns a field.
pub(super) fn is_applied_by_us(entries: &[ManagedFieldsEntry], path: FieldPath) -> bool {
    let ours = entries.iter().find(|entry| is_ours(entry));
    ours.is_some_and(|entry| owns(entry, path))
}

/// Returns true if we have applied the object, and do not own this field or anything in it.
pub(super) fn is_given_up(entries: &[ManagedFieldsEntry], path: FieldPath) -> bool {
    entries.iter().any(is_ours) && !is_applied_by_us(entries, path)
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    is_applied_by(entry, names::SYNC_FIELD_MANAGER)
}

fn is_legacy_manager(entry: &ManagedFieldsEntry) -> bool {
    is_written_by(entry, LEGACY_MANAGERS)
}

fn fields_of(entry: &mut ManagedFieldsEntry) -> &mut Value {
    &mut entry
        .fields_v1
        .get_or_insert_with(|| FieldsV1(Value::Object(Map::new())))
        .0
}

fn merge(fields: &mut Value, more: &Value) {
    match (fields, more) {
        (Value::Object(fields), Value::Object(more)) => {
            for (key, more) in more {
                merge(fields.entry(key.clone()).or_insert(Value::Null), more);
            }
        }
        (fields, more) => *fields = more.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entries(entries: &Value) -> Vec<ManagedFieldsEntry> {
        serde_json::from_value(entries.clone()).expect("entries of managedFields")
    }

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({
            "manager": manager, "operation": operation, "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        })
    }

    #[test]
    fn the_first_owners_fields_become_ours() {
        let live = json!([
            entry(
                "kubectl-client-side-apply",
                "Update",
                &json!({"f:data": {"f:old": {}, "f:both": {}}})
            ),
            entry("kubectl-edit", "Update", &json!({"f:data": {"f:hand": {}}})),
            entry(
                "tidegate-sync",
                "Apply",
                &json!({"f:data": {"f:both": {}, "f:new": {}}})
            ),
        ]);
        let next = taken_over(&entries(&live), &[]).expect("a change");
        let wanted = json!([
            entry("kubectl-edit", "Update", &json!({"f:data": {"f:hand": {}}})),
            entry(
                "tidegate-sync",
                "Apply",
                &json!({"f:data": {"f:old": {}, "f:both": {}, "f:new": {}}})
            ),
        ]);
        assert_eq!(next, entries(&wanted));
        assert_eq!(taken_over(&next, &[]), None, "once is enough");
    }

    #[test]
    fn an_object_that_we_never_applied_is_ours_with_all_that_its_first_owners_have() {
        let live = json!([
            entry("helm", "Update", &json!({"f:data": {"f:one": {}}})),
            entry(
                "kubectl-client-side-apply",
                "Update",
                &json!({"f:data": {"f:two": {}}})
            ),
        ]);
        let next = taken_over(&entries(&live), &[]).expect("a change");
        let wanted = json!([entry(
            "tidegate-sync",
            "Apply",
            &json!({"f:data": {"f:one": {}, "f:two": {}}})
        )]);
        assert_eq!(next, entries(&wanted));
    }

    #[test]
    fn what_a_subresource_or_a_controller_wrote_is_left() {
        let mut scaled = entry("kubectl", "Update", &json!({"f:spec": {"f:replicas": {}}}));
        scaled["subresource"] = json!("scale");
        let mut older = entry(
            "kubectl-client-side-apply",
            "Update",
            &json!({"f:spec": {}}),
        );
        older["apiVersion"] = json!("v1beta1");
        let live = json!([
            scaled,
            older,
            entry(
                "kube-controller-manager",
                "Update",
                &json!({"f:metadata": {"f:annotations": {}}})
            ),
            entry("tidegate", "Update", &json!({"f:spec": {"f:paused": {}}})),
            entry(
                "tidegate-sync",
                "Apply",
                &json!({"f:spec": {"f:selector": {}}})
            ),
        ]);
        assert_eq!(taken_over(&entries(&live), &[&["spec", "replicas"]]), None);
    }

    #[test]
    fn what_is_left_out_is_given_up_and_not_taken() {
        let left_out: &[FieldPath] = &[&["spec", "replicas"]];
        let live = json!([
            entry(
                "tidegate-sync",
                "Apply",
                &json!({"f:spec": {"f:replicas": {}, "f:selector": {}}})
            ),
            entry(
                "kubectl-client-side-apply",
                "Update",
                &json!({"f:spec": {"f:replicas": {}}})
            ),
        ]);
        assert!(is_applied_by_us(&entries(&live), left_out[0]));
        let next = taken_over(&entries(&live), left_out).expect("a change");
        let wanted = json!([entry(
            "tidegate-sync",
            "Apply",
            &json!({"f:spec": {"f:selector": {}}})
        )]);
        assert_eq!(next, entries(&wanted));
        assert!(!is_applied_by_us(&next, left_out[0]));
    }
}
