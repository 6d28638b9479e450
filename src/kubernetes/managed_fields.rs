//! Who owns the fields of an object, as `managedFields` has it.

use json_patch::Patch;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    Resource, ResourceExt as _,
    api::{PatchParams, PostParams},
};
use serde_json::{Map, Value, json};
use tidegate_api::names;

use super::{
    patch::{path, remove, replace, test},
    watched::epoch,
};

/// Operation of an entry that a server-side apply has made.
pub(crate) const APPLY: &str = "Apply";

/// Operation of an entry of any other write.
const UPDATE: &str = "Update";

/// Managers by whose names Tidegate writes otherwise than by server-side apply.
const WRITERS: [&str; 2] = [names::FIELD_MANAGER, names::SYNC_FIELD_MANAGER];

/// Fields that Tidegate gives up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Disowned<'a> {
    /// All that it has written.
    All,
    /// One of them, like `["spec", "template"]`.
    Field(&'a [&'a str]),
}

/// Returns true if no attempt governs an object, and Tidegate still owns a field of it as the last writer.
pub(crate) fn is_left_ours(object: &impl Resource, disowned: Disowned<'_>) -> bool {
    let is_governed = epoch(object).is_some();
    !is_governed && given_up(object.managed_fields(), disowned).next().is_some()
}

/// Returns the patch by which Tidegate gives up what it owns as the last writer; `None` if that is nothing.
///
/// Each entry is tested to be the one that was seen, so whatever else changes in the object does not count.
pub(crate) fn disowning(entries: &[ManagedFieldsEntry], disowned: Disowned<'_>) -> Option<Patch> {
    let mut operations = Vec::new();
    // An entry that goes moves those after it.
    for (index, entry, rest) in given_up(entries, disowned).rev() {
        let index = index.to_string();
        let at = |field| path(&["metadata", "managedFields", &index, field]);
        operations.push(test(at("manager"), json!(entry.manager)));
        operations.push(test(at("fieldsV1"), json!(entry.fields_v1)));
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

/// Returns the entries of our writes that lose fields: the index of each, the entry, and the fields that are left. Of an
/// object that a ConfigRepo applies there is none: Tidegate itself applies that next.
fn given_up<'a>(
    entries: &'a [ManagedFieldsEntry],
    disowned: Disowned<'a>,
) -> impl DoubleEndedIterator<Item = (usize, &'a ManagedFieldsEntry, Value)> {
    let mut all = entries.iter();
    let entries = if all.any(|entry| is_applied_by(entry, names::SYNC_FIELD_MANAGER)) {
        &[]
    } else {
        entries
    };
    let entries = entries.iter().enumerate();
    let ours = entries.filter(|(_, entry)| is_written_by(entry, &WRITERS));
    ours.filter_map(move |(index, entry)| {
        let fields = &entry.fields_v1.as_ref()?.0;
        let rest = rest_of(fields, disowned);
        if rest == *fields {
            None
        } else {
            Some((index, entry, rest))
        }
    })
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

/// Parameters of a patch in sync's name: its next apply takes the fields over.
pub(crate) fn patch_as_sync() -> PatchParams {
    PatchParams {
        field_manager: Some(names::SYNC_FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Parameters of a creation in the same name.
pub(crate) fn create_as_sync() -> PostParams {
    PostParams {
        field_manager: Some(names::SYNC_FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// Returns true if a server-side apply of this manager has made an entry.
pub(crate) fn is_applied_by(entry: &ManagedFieldsEntry, manager: &str) -> bool {
    is_made_by(entry, APPLY, &[manager])
}

/// Returns true if another write of one of these managers has made an entry.
pub(crate) fn is_written_by(entry: &ManagedFieldsEntry, managers: &[&str]) -> bool {
    is_made_by(entry, UPDATE, managers)
}

fn is_made_by(entry: &ManagedFieldsEntry, operation: &str, managers: &[&str]) -> bool {
    let manager = entry.manager.as_deref().unwrap_or_default();
    is_no_subresource(entry)
        && entry.operation.as_deref() == Some(operation)
        && managers.contains(&manager)
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
