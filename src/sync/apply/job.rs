//! Jobs: one that has run is not made again, and one that changes is replaced where it says so.
//!
//! A Job deletes itself when it says so (`ttlSecondsAfterFinished`), and a migration that ran once must
//! not run again because somebody has cleaned up. Its template cannot be changed.

use std::collections::BTreeMap;

use kube::{
    api::{DeleteParams, DynamicObject, Preconditions},
    core::ApiResource,
};
use tidegate_api::{NamespacedName, names};
use tidegate_engine::revision::Digest;

use super::Session;
use crate::sync::{
    cluster::api,
    failure::{ApplyError, Failure},
    manifest::{Key, Manifest},
};

/// Jobs that were made, each with the digest of its spec.
pub(in crate::sync) type MadeJobs = BTreeMap<NamespacedName, String>;

/// Characters of the digest of a Job's spec.
const DIGEST: usize = 16;

/// Words of the API server about a field that may not change.
const IMMUTABLE: &str = "field is immutable";

// === impl Session ===

impl Session<'_> {
    /// Returns true if an object is a Job that was made as it is in git.
    pub(super) fn has_run(&self, manifest: &Manifest) -> bool {
        is_job(&manifest.key) && self.jobs.get(&job_name(&manifest.key)) == Some(&digest(manifest))
    }

    pub(super) fn remember_job(&mut self, manifest: &Manifest) {
        if is_job(&manifest.key) {
            self.jobs.insert(job_name(&manifest.key), digest(manifest));
        }
    }

    /// Returns true if an object is a Job that may be deleted to be made again.
    pub(super) fn replaces(&self, manifest: &Manifest, live: Option<&DynamicObject>) -> bool {
        let says = manifest.object["metadata"]["annotations"][names::REPLACE_ANNOTATION].as_str();
        is_job(&manifest.key)
            && says == Some(names::REPLACE_ALLOWED)
            && live.is_some_and(|live| live.metadata.deletion_timestamp.is_none())
            && !self.has_run(manifest)
    }

    /// Deletes a Job with its pods, if it is the one that was seen.
    pub(super) async fn delete_job(
        &self,
        key: &Key,
        resource: &ApiResource,
        live: Option<&DynamicObject>,
    ) -> Result<(), ApplyError> {
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: live.and_then(|live| live.metadata.uid.clone()),
            resource_version: None,
        });
        match api(&self.as_account, key, resource)
            .delete(&key.name, &params)
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(ApplyError::at(None, key, Failure::of(error, key))),
        }
    }
}

/// Adds what to do about a Job that cannot be changed.
pub(super) fn with_remedy(failure: Failure, key: &Key, live: Option<&DynamicObject>) -> Failure {
    match failure {
        Failure::Invalid { said } if is_job(key) && is_immutable(&said) => {
            let is_going = live.is_some_and(|live| live.metadata.deletion_timestamp.is_some());
            if is_going {
                Failure::Conflict
            } else {
                Failure::JobChanged
            }
        }
        other => other,
    }
}

/// Returns true if the API server says that a field may not change.
pub(super) fn is_immutable(said: &str) -> bool {
    said.contains(IMMUTABLE)
}

fn is_job(key: &Key) -> bool {
    key.is("batch", "Job")
}

/// Name of a Job, which is always in a namespace.
pub(in crate::sync) fn job_name(key: &Key) -> NamespacedName {
    NamespacedName::new(key.namespace.clone().unwrap_or_default(), &key.name)
}

/// Digest of what a Job does: another label makes it no other Job.
fn digest(manifest: &Manifest) -> String {
    let mut digest = Digest::of(&manifest.object["spec"]).to_string();
    digest.truncate(DIGEST);
    digest
}
