//! Revisions: the names of what a pod template holds.

use std::{collections::BTreeMap, fmt};

use tidegate_api::Revision;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// SHA-256 over the canonical JSON of something, for comparing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

// === impl Digest ===

impl Digest {
    /// The digest of a JSON value, the same whatever the order of its keys.
    pub fn of(value: &Value) -> Self {
        let mut canonical = String::new();
        write_canonical(value, &mut canonical);
        Self(Sha256::digest(canonical.as_bytes()).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(5)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Names the content of a pod template as it is written in git.
pub fn of(template: &Value) -> Revision {
    Revision::named(Digest::of(template).to_string())
}

/// Names a pod template together with the config that it names, by the digest of that. Without any it is the name of
/// the template.
pub fn with_config(template: &Value, config: Option<&str>) -> Revision {
    match config {
        None => of(template),
        Some(config) => of(&json!({ "template": template, "config": config })),
    }
}

/// Returns what a `ControllerRevision` keeps of a revision: the template, the digest of the config that it names, and
/// those of its objects by their names.
pub fn kept(template: &Value, config: Option<(&str, BTreeMap<String, &str>)>) -> Value {
    match config {
        None => json!({ "template": template }),
        Some((config, objects)) => {
            json!({ "template": template, "config": config, "objects": objects })
        }
    }
}

/// Names the revision that a `ControllerRevision` keeps.
pub fn of_kept(data: &Value) -> Revision {
    let template = data.get("template").unwrap_or(&Value::Null);
    with_config(template, data.get("config").and_then(Value::as_str))
}

/// Writes JSON with sorted keys and no space.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (index, (key, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, value) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(value, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_names_nothing() {
        let one = json!({"spec": {"a": 1, "b": [true, null]}, "metadata": {}});
        let other: Value =
            serde_json::from_str(r#"{"metadata":{},"spec":{"b":[true,null],"a":1}}"#)
                .expect("JSON");
        assert_eq!(of(&one), of(&other));
        assert_ne!(
            of(&one),
            of(&json!({"spec": {"a": 1, "b": [null, true]}, "metadata": {}}))
        );
    }

    #[test]
    fn other_config_is_another_revision_and_none_is_the_templates() {
        let template = json!({"spec": {}});
        assert_eq!(with_config(&template, None), of(&template));
        let (one, two) = (
            with_config(&template, Some("1")),
            with_config(&template, Some("2")),
        );
        assert!(one != two && one != of(&template));
        let objects = BTreeMap::new();
        for (config, name) in [(None, of(&template)), (Some(("1", objects)), one)] {
            assert_eq!(of_kept(&kept(&template, config)), name);
        }
    }
}
