//! Content of config, by which one object is told from another.

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};
use tidegate_engine::revision::Digest;

/// Content of a ConfigMap or a Secret. It may be secret: never print it.
#[derive(Clone, PartialEq, Eq)]
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
    fn a_secret_counts_the_same_in_either_spelling() {
        let secret = |field: &str, value: &str| {
            let object = json!({ field: { "token": value }, "kind": "Secret" });
            Content::of(&object).digest()
        };
        assert_eq!(secret("data", "c2VzYW1l"), secret("stringData", "sesame"));
        assert_ne!(secret("data", "c2VzYW1l"), secret("stringData", "sesam"));
    }
}
