//! Revisions: the names of what a pod template holds.

use std::fmt;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The name of one content of a pod template: SHA-256 over its canonical JSON, in lower-case hex.
///
/// The name names, it does not compare: two texts may be different revisions and yet run the same
/// once the API server has filled in its defaults.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(String);

/// SHA-256 over the canonical JSON of something, for comparing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

// === impl Revision ===

impl Revision {
    /// Number of characters that are enough for people and in object names.
    const SHORT: usize = 10;

    /// The revision of a pod template as it is written in git.
    pub fn of(template: &Value) -> Self {
        Self(Digest::of(template).to_string())
    }

    /// A revision by the name under which it was persisted.
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first characters of the name.
    pub fn short(&self) -> &str {
        short(&self.0)
    }

    /// The name of the `ControllerRevision` that keeps this revision of a Rollout's workload.
    pub fn object_name(&self, rollout: &str) -> String {
        format!("{rollout}-{}", self.short())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

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

/// The first characters of a revision's or a commit's name.
pub fn short(name: &str) -> &str {
    name.get(..Revision::SHORT).unwrap_or(name)
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
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keys_names_nothing() {
        let one = json!({"spec": {"a": 1, "b": [true, null]}, "metadata": {}});
        let other: Value =
            serde_json::from_str(r#"{"metadata":{},"spec":{"b":[true,null],"a":1}}"#)
                .expect("JSON");
        assert_eq!(Revision::of(&one), Revision::of(&other));
        assert_ne!(
            Revision::of(&one),
            Revision::of(&json!({"spec": {"a": 1, "b": [null, true]}, "metadata": {}}))
        );
    }

    #[test]
    fn objects_are_named_for_the_rollout_and_the_revision() {
        let revision = Revision::named("0123456789abcdef");
        assert_eq!(revision.object_name("checkout"), "checkout-0123456789");
    }
}
