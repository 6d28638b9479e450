//! The name of a namespaced object together with its namespace.

use std::fmt;

use kube::ResourceExt;

/// Name of an object together with its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

// === impl NamespacedName ===

impl NamespacedName {
    /// Puts both together.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Returns the name of an object.
    pub fn of(object: &impl ResourceExt) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }

    /// Reads a reference as it is written in a namespace: a name of an object there, or `NAMESPACE/NAME`.
    pub fn of_reference(reference: &str, from: &str) -> Self {
        match reference.split_once('/') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => Self::new(from, reference),
        }
    }

    /// Writes a reference for a reader in a namespace.
    pub fn reference(&self, from: &str) -> String {
        if self.namespace == from {
            self.name.clone()
        } else {
            self.to_string()
        }
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_the_namespace_where_it_is_another() {
        for name in [
            NamespacedName::new("shop", "config"),
            NamespacedName::new("platform", "config"),
        ] {
            let reference = name.reference("shop");
            assert_eq!(reference.contains('/'), name.namespace != "shop");
            assert_eq!(NamespacedName::of_reference(&reference, "shop"), name);
        }
    }
}
