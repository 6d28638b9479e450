//! Who owns the fields of an object, as `managedFields` has it.

use json_patch::Patch;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Map, Value, json};
use tidegate_api::names;

use super::patch::{path, remove, replace, test};

/// Operation of an entry that a server-side apply has made.
pub(crate) const APPLY: &str = "Apply";

/// Operation of an entry of any other write.
pub(crate) const UPDATE: &str = "Update";

/// Fields that Tidegate gives up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Disowned<'a> {
    /// All that it has written.
    All,
    /// One of them, like `["spec", "template"]`.
    Field(&'a [&'a str]),
}

/// Returns the patch by which Tidegate gives up what it owns as the last writer; `None` if that is nothing. Of an object
/// that a ConfigRepo applies it is: Tidegate itself applies that next.
///
/// Each entry is tested to be the one that was seen, so whatever else changes in the object does not count.
pub(crate) fn disowning(entries: &[ManagedFieldsEntry], disowned: Disowned<'_>) -> Option<Patch> {
    let is_applied = |entry: &ManagedFieldsEntry| {
        entry.operation.as_deref() == Some(APPLY)
            && entry.manager.as_deref() == Some(names::SYNC_FIELD_MANAGER)
    };
    if entries.iter().any(is_applied) {
        return None;
    }
    let mut operations = Vec::new();
    // An entry that goes moves those after it.
    for (index, entry) in entries.iter().enumerate().rev() {
        let Some(fields) = entry.fields_v1.as_ref().filter(|_| is_written_by_us(entry)) else {
            continue;
        };
        let rest = rest_of(&fields.0, disowned);
        if rest == fields.0 {
            continue;
        }
        let index = index.to_string();
        let at = |field| path(&["metadata", "managedFields", &index, field]);
        operations.push(test(at("manager"), json!(entry.manager)));
        operations.push(test(at("fieldsV1"), fields.0.clone()));
        operations.push(if rest.as_object().is_some_and(Map::is_empty) {
            remove(path(&["metadata", "managedFields", &index]))
        } else {
            replace(at("fieldsV1"), rest)
        });
    }
    if operations.is_empty() {
        None
    } else {
        Some(Patch(operations))
    }
}

/// Returns the fields that are kept.
fn rest_of(fields: &Value, disowned: Disowned<'_>) -> Value {
    match disowned {
        Disowned::All => json!({}),
        Disowned::Field(path) => {
            let mut rest = fields.clone();
            remove_field(&mut rest, path);
            rest
        }
    }
}

fn is_written_by_us(entry: &ManagedFieldsEntry) -> bool {
    let manager = entry.manager.as_deref().unwrap_or_default();
    is_no_subresource(entry)
        && entry.operation.as_deref() == Some(UPDATE)
        && [names::FIELD_MANAGER, names::SYNC_FIELD_MANAGER].contains(&manager)
}

/// Returns true if an entry is of no subresource.
pub(crate) fn is_no_subresource(entry: &ManagedFieldsEntry) -> bool {
    entry.subresource.as_deref().unwrap_or_default().is_empty()
}

/// Returns the field manager that owns a field by a subresource of this name.
pub(crate) fn manager_by_subresource<'a>(
    fields: &'a [ManagedFieldsEntry],
    subresource: &str,
    path: &[&str],
) -> Option<&'a str> {
    let by_subresource = fields
        .iter()
        .filter(|entry| entry.subresource.as_deref() == Some(subresource));
    let mut owners = by_subresource.filter(|entry| owns(entry, path));
    owners.next()?.manager.as_deref()
}

/// Returns true if an entry has a field, like `["spec", "replicas"]`.
pub(crate) fn owns(entry: &ManagedFieldsEntry, path: &[&str]) -> bool {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    fields.is_some_and(|fields| {
        path.iter()
            .try_fold(fields, |fields, name| fields.get(field(name)))
            .is_some()
    })
}

/// Name of a field in a set of fields.
pub(crate) fn field(name: &str) -> String {
    format!("f:{name}")
}

/// Returns the field manager that wrote a field last, if it was another than Tidegate.
pub(crate) fn last_manager(fields: &[ManagedFieldsEntry], path: &[&str]) -> Option<String> {
    let owners = fields.iter().filter(|entry| owns(entry, path));
    let others = owners.filter(|entry| {
        let manager = entry.manager.as_deref().unwrap_or_default();
        manager != names::FIELD_MANAGER && manager != names::SYNC_FIELD_MANAGER
    });
    others
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?
        .manager
        .clone()
}

/// Takes a field out of a set, with what is empty then.
pub(crate) fn remove_field(fields: &mut Value, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let Some(fields) = fields.as_object_mut() else {
        return;
    };
    let key = field(first);
    if rest.is_empty() {
        fields.remove(&key);
        return;
    }
    let Some(inner) = fields.get_mut(&key) else {
        return;
    };
    remove_field(inner, rest);
    if inner.as_object().is_some_and(Map::is_empty) {
        fields.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(value: Value) -> Vec<ManagedFieldsEntry> {
        serde_json::from_value(value).expect("entries")
    }

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({ "manager": manager, "operation": operation, "fieldsV1": fields })
    }

    fn after(before: &Value, disowned: Disowned<'_>) -> Value {
        let mut object = json!({ "metadata": { "managedFields": before } });
        if let Some(patch) = disowning(&entries(before.clone()), disowned) {
            json_patch::patch(&mut object, &patch).expect("it fits");
        }
        object["metadata"]["managedFields"].clone()
    }

    #[test]
    fn all_that_we_wrote_is_given_up_and_nothing_of_others() {
        let rules = json!({ "f:spec": { "f:rules": {} } });
        let flux = entry("kustomize-controller", "Apply", &rules);
        let gateway = json!({ "manager": "tidegate", "operation": "Update", "subresource": "status", "fieldsV1": {} });
        let before = json!([
            entry("tidegate", "Update", &rules),
            flux,
            entry("tidegate-sync", "Update", &rules),
            gateway,
        ]);
        assert_eq!(after(&before, Disowned::All), json!([flux, gateway]));
        assert!(disowning(&entries(json!([flux, gateway])), Disowned::All).is_none());
    }

    #[test]
    fn of_one_field_the_others_stay() {
        let paused = json!({ "f:spec": { "f:paused": {} } });
        let both = json!({ "f:spec": { "f:paused": {}, "f:template": { "f:spec": {} } } });
        let before = json!([entry("tidegate", "Update", &both)]);
        let template = Disowned::Field(&["spec", "template"]);
        let rest = json!([entry("tidegate", "Update", &paused)]);
        assert_eq!(after(&before, template), rest);
        assert!(disowning(&entries(rest), template).is_none());
    }

    #[test]
    fn what_a_config_repo_applies_stays_ours() {
        let fields = json!({ "f:spec": { "f:selector": {} } });
        let before = json!([
            entry("tidegate-sync", "Apply", &fields),
            entry("tidegate", "Update", &fields),
        ]);
        assert!(disowning(&entries(before), Disowned::All).is_none());
    }
}
