//! Names of pod templates and of commits.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Number of characters of a name that are enough for people and for object names.
const SHORT: usize = 10;

/// Declares the name of something that a hash over its content names.
macro_rules! hash_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes a name that was computed, or that was persisted.
            pub fn named(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// Returns the full name.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the first characters of the name.
            pub fn short(&self) -> &str {
                self.0.get(..SHORT).unwrap_or(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.short())
            }
        }
    };
}

hash_name! {
    /// Name of one content of a pod template: SHA-256 over its canonical JSON, in lower-case hex.
    ///
    /// The name names, it does not compare: two texts may be different revisions and yet run the same
    /// once the API server has filled in its defaults.
    Revision
}

hash_name! {
    /// Name of a commit: the hash of its content, in lower-case hex.
    CommitId
}

// === impl Revision ===

impl Revision {
    /// Returns the name of the `ControllerRevision` that keeps this revision of a Rollout's
    /// workload.
    pub fn object_name(&self, rollout: &str) -> String {
        format!("{rollout}-{}", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_for_the_rollout_and_the_revision() {
        let revision = Revision::named("0123456789abcdef");
        assert_eq!(revision.object_name("checkout"), "checkout-0123456789");
        assert_eq!(Revision::named("v1").object_name("checkout"), "checkout-v1");
    }
}
