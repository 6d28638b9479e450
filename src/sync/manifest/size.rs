//! Size of the manifests of a repository: they are kept in the memory that all tenants share.

use serde_json::Value;

use super::{InvalidManifest, Place};

/// Size of manifests in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Number of objects.
    pub objects: usize,
    /// Number of mappings, sequences and scalars, about 100 bytes each.
    pub nodes: usize,
    /// Bytes of keys and texts, those that aliases repeat included.
    pub text_bytes: usize,
}

/// The most that the manifests of one ConfigRepo may have. The status names each object, and etcd keeps
/// 1.5 MiB; nodes and text together are about 70 MiB, at most twice while a commit replaces another.
pub const MOST: Size = Size {
    objects: 5_000,
    nodes: 400_000,
    text_bytes: 32 * 1024 * 1024,
};

// === impl Size ===

impl Size {
    /// Adds what is below a value.
    pub fn add(&mut self, value: &Value) {
        self.nodes += 1;
        match value {
            Value::String(text) => self.text_bytes += text.len(),
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(fields) => {
                for (key, field) in fields {
                    self.text_bytes += key.len();
                    self.add(field);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Fails at this place where a limit is exceeded.
    pub(super) fn check(&self, place: &Place) -> Result<(), InvalidManifest> {
        match self.excess() {
            Some(reason) => Err(InvalidManifest {
                is_too_much: true,
                ..place.invalid(reason)
            }),
            None => Ok(()),
        }
    }

    /// Returns the limit that is exceeded, with the remedy.
    pub fn excess(&self) -> Option<String> {
        let split =
            "give a part of the folder to another ConfigRepo, or keep generated files out of it";
        if self.objects > MOST.objects {
            let limit = MOST.objects;
            return Some(format!(
                "up to here the folder has {} objects, more than the {limit} that one ConfigRepo may have: {split}",
                self.objects
            ));
        }
        if self.nodes > MOST.nodes {
            let limit = MOST.nodes;
            return Some(format!(
                "up to here the folder has {} values and keys of YAML, more than the {limit} that one ConfigRepo may \
                 have: {split}",
                self.nodes
            ));
        }
        if self.text_bytes > MOST.text_bytes {
            let limit = MOST.text_bytes / (1024 * 1024);
            return Some(format!(
                "up to here the folder has more than {limit} MiB of text with its aliases written out: {split}"
            ));
        }
        None
    }
}
