//! An object as it was seen last: enough to tell without a request, or with one, that nobody has changed it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use tidegate_api::names;
use tidegate_engine::revision::Digest;

use super::manifest::Key;

/// Version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    resource_version: Option<String>,
    /// Number of the version of what somebody asks for; not every kind has one.
    generation: Option<i64>,
    /// Over the parts of the metadata that git may have a say in, and that no generation counts.
    marks: Digest,
}

/// Time between two comparisons of an object that is unchanged in git, to correct drift: a request in ten
/// minutes is no load, and drift in an object that nobody governs is no emergency.
pub(super) const COMPARE: SignedDuration = SignedDuration::from_mins(10);

// === impl Seen ===

impl Seen {
    pub(super) fn of(metadata: &ObjectMeta) -> Self {
        let ObjectMeta {
            labels,
            annotations,
            finalizers,
            owner_references,
            deletion_timestamp,
            ..
        } = metadata;
        // Ours comes and goes with attempts.
        let finalizers = finalizers.iter().flatten();
        let finalizers: Vec<_> = finalizers
            .filter(|name| *name != names::FINALIZER)
            .collect();
        Self {
            resource_version: metadata.resource_version.clone(),
            generation: metadata.generation,
            marks: Digest::of(&json!([
                labels,
                annotations,
                finalizers,
                owner_references,
                deletion_timestamp
            ])),
        }
    }

    /// Returns true if nothing but the status can have changed between the two.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        let same_version =
            self.resource_version.is_some() && self.resource_version == other.resource_version;
        let same_generation = self.generation.is_some()
            && self.generation == other.generation
            && self.marks == other.marks;
        same_version || same_generation
    }
}

/// Returns the time from which an object that was compared at `compared` is to be compared again. Each object
/// has its own moment in the period, so that those of many repositories are spread over it.
pub(super) fn next_comparison(key: &Key, compared: Timestamp) -> Timestamp {
    let digest = Digest::of(&json!([key.namespace, key.kind, key.name])).to_string();
    let phase = digest.bytes().fold(0_i64, |phase, byte| {
        (phase * 31 + i64::from(byte)) % COMPARE.as_secs()
    });
    let into_period = (compared.as_second() + phase).rem_euclid(COMPARE.as_secs());
    let left = SignedDuration::from_secs(COMPARE.as_secs() - into_period);
    compared.saturating_add(left).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn key(name: &str) -> Key {
        Key::namespaced("v1", "ConfigMap", "shop", name)
    }

    #[test]
    fn comparisons_of_many_objects_are_spread_over_the_period_and_each_comes_once() {
        let start = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut by_minute = [0; 10];
        for object in 0..1_000 {
            let key = key(&format!("c{object}"));
            let mut compared = start;
            let mut times = 0;
            for second in (0..600).step_by(30) {
                let now = start + SignedDuration::from_secs(second + 30);
                if next_comparison(&key, compared) <= now {
                    compared = now;
                    times += 1;
                    by_minute[usize::try_from(second / 60).expect("a minute")] += 1;
                }
            }
            assert_eq!(times, 1, "{key}");
        }
        assert!(
            by_minute.iter().all(|count| (50..200).contains(count)),
            "{by_minute:?}"
        );
    }

    #[test]
    fn a_change_of_the_status_is_none_and_a_label_is_one() {
        let metadata = |version: &str, generation, label: &str| ObjectMeta {
            resource_version: Some(version.into()),
            generation,
            labels: Some(BTreeMap::from([("app".to_owned(), label.to_owned())])),
            ..ObjectMeta::default()
        };
        let seen = Seen::of(&metadata("1", Some(1), "web"));
        assert!(seen.is_as(&Seen::of(&metadata("2", Some(1), "web"))));
        assert!(!seen.is_as(&Seen::of(&metadata("2", Some(1), "api"))));
        assert!(!seen.is_as(&Seen::of(&metadata("2", Some(2), "web"))));
        let plain = Seen::of(&metadata("1", None, "web"));
        assert!(plain.is_as(&Seen::of(&metadata("1", None, "web"))));
        assert!(!plain.is_as(&Seen::of(&metadata("2", None, "web"))));
    }
}
