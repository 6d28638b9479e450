//! Content of config, by which one object is told from another.

use std::collections::BTreeSet;

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};
use tidegate_engine::revision::Digest;

/// Content of a ConfigMap or a Secret. It may be secret: never print it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Content {
    data: Map<String, Value>,
    binary: Map<String, Value>,
}

// === impl Content ===

impl Content {
    /// Content of an object, as git or as the API server has it.
    pub(crate) fn of(object: &Value) -> Self {
        let fields = |field: &str| object[field].as_object().cloned().unwrap_or_default();
        let mut data = fields("data");
        let plain = fields("stringData").into_iter();
        data.extend(plain.map(|(key, text)| {
            let bytes = text.as_str().unwrap_or_default().as_bytes();
            (key, json!(ByteString(bytes.to_vec())))
        }));
        Self {
            data,
            binary: fields("binaryData"),
        }
    }

    /// Digest of it.
    pub(crate) fn digest(&self) -> String {
        short(&Digest::of(&json!([self.data, self.binary])))
    }

    /// Returns the keys at which two contents differ.
    pub(crate) fn changes(&self, other: &Self) -> BTreeSet<String> {
        let all = [self, other].into_iter().flat_map(|content| {
            let data = content.data.keys();
            data.chain(content.binary.keys())
        });
        let differs = |key: &&String| {
            self.data.get(*key) != other.data.get(*key)
                || self.binary.get(*key) != other.binary.get(*key)
        };
        all.filter(differs).cloned().collect()
    }

    /// Returns true if two contents are the same at these keys.
    pub(crate) fn agrees(&self, other: &Self, keys: &BTreeSet<String>) -> bool {
        self.changes(other).is_disjoint(keys)
    }

    /// Returns it with these keys of another.
    pub(crate) fn with(mut self, other: &Self, keys: &BTreeSet<String>) -> Self {
        for key in keys {
            for (own, theirs) in [
                (&mut self.data, &other.data),
                (&mut self.binary, &other.binary),
            ] {
                match theirs.get(key) {
                    Some(value) => own.insert(key.clone(), value.clone()),
                    None => own.remove(key),
                };
            }
        }
        self
    }

    /// Puts it into an object.
    pub(crate) fn put_into(&self, object: &mut Value) {
        for (field, content) in [("data", &self.data), ("binaryData", &self.binary)] {
            if !content.is_empty() {
                object[field] = Value::Object(content.clone());
            }
        }
    }
}

/// As much of a digest as is enough to tell contents apart, and fits into names.
pub(crate) fn short(digest: &Digest) -> String {
    let mut digest = digest.to_string();
    digest.truncate(16);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_is_taken_over() {
        let content = |data: Value| Content::of(&json!({ "data": data }));
        let before = content(json!({ "a": "1", "gone": "1", "same": "1" }));
        let after = content(json!({ "a": "2", "new": "1", "same": "1" }));
        let keys = before.changes(&after);
        assert_eq!(keys, ["a", "gone", "new"].map(str::to_owned).into());
        // Somebody has changed another key meanwhile.
        let live = content(json!({ "a": "1", "gone": "1", "same": "2" }));
        let written = live.with(&after, &keys);
        assert!(written == content(json!({ "a": "2", "new": "1", "same": "2" })));
        assert!(written.agrees(&after, &keys) && written != after);
    }

    #[test]
    fn a_secret_counts_the_same_in_either_spelling() {
        let secret = |field: &str, value: &str| {
            let object = json!({ field: { "token": value }, "kind": "Secret" });
            Content::of(&object).digest()
        };
        assert_eq!(secret("data", "c2VzYW1l"), secret("stringData", "sesame"));
        assert_ne!(secret("data", "c2VzYW1l"), secret("stringData", "sesam"));
    }
}
