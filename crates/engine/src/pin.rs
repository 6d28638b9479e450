//! The pin: what in a Service's selector keeps the pods of other versions out.

use std::collections::BTreeMap;

use tidegate_api::{
    names,
    workload::{VersionId, WorkloadKind},
};

/// Part of a Service's selector that holds it to the pods of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Only the workload's pods of this version.
    Version(VersionId),
    /// Only the canary's pods.
    Canary,
}

// === impl Pin ===

impl Pin {
    /// Returns the pin that a selector bears.
    pub(crate) fn in_selector(selector: &BTreeMap<String, String>) -> Option<Self> {
        for kind in WorkloadKind::ALL {
            if let Some(version) = selector.get(kind.version_label()) {
                return Some(Self::Version(VersionId::new(version)));
            }
        }
        match selector.get(names::TRACK_LABEL) {
            Some(track) if track == names::TRACK_CANARY => Some(Self::Canary),
            Some(_) | None => None,
        }
    }

    /// Returns the labels of a pin in the selector of a Service of a workload of this kind. Those
    /// that are `None` must not be in it.
    pub fn labels(pin: Option<&Self>, kind: WorkloadKind) -> BTreeMap<&'static str, Option<&str>> {
        let mut labels: BTreeMap<_, _> = label_keys().map(|key| (key, None)).collect();
        match pin {
            Some(Self::Version(version)) => {
                labels.insert(kind.version_label(), Some(version.as_str()))
            }
            Some(Self::Canary) => labels.insert(names::TRACK_LABEL, Some(names::TRACK_CANARY)),
            None => None,
        };
        labels
    }
}

/// Returns `true` if a label of this key in a selector is, or may be, part of a pin.
pub fn is_label(key: &str) -> bool {
    label_keys().any(|label| label == key)
}

/// Returns a selector without its pin.
pub fn without(selector: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    selector
        .iter()
        .filter(|(key, _)| !is_label(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Keys of the labels of which a pin may consist.
fn label_keys() -> impl Iterator<Item = &'static str> {
    let versions = WorkloadKind::ALL
        .into_iter()
        .map(WorkloadKind::version_label);
    versions.chain([names::TRACK_LABEL])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_as_it_was_written() {
        let pins = [
            None,
            Some(Pin::Canary),
            Some(Pin::Version(VersionId::new("5d4f8c7b9"))),
        ];
        for pin in pins {
            let labels = Pin::labels(pin.as_ref(), WorkloadKind::Deployment);
            let selector = labels
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
                .collect();
            assert_eq!(Pin::in_selector(&selector), pin);
        }
    }
}
