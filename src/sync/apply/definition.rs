//! `CustomResourceDefinition`s: the objects of their kinds wait until the API server serves them.

use std::time::Duration;

use kube::api::DynamicObject;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::Session;
use crate::sync::{
    cluster::api,
    failure::{ApplyError, Failure},
    manifest::Manifest,
    plan::is_definition,
};

/// Wait for the API server to serve a kind. It takes a fraction of a second.
const WAIT: Duration = Duration::from_secs(5);

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(200);

// === impl Session ===

impl Session<'_> {
    /// Waits until the kind of a `CustomResourceDefinition` that was just applied is served. Other objects are ready at
    /// once.
    pub(super) async fn established(&self, manifest: &Manifest) -> Result<(), ApplyError> {
        let Manifest { key, place, .. } = manifest;
        if !is_definition(key) {
            return Ok(());
        }
        let failed = |failure| ApplyError::at(Some(place), key, failure);
        let kind = self.cluster.kind_in_scope(key).await.map_err(failed)?;
        let api = api(&self.as_account, key, &kind.resource);
        let end = Instant::now() + WAIT;
        loop {
            let live = api.get_opt(&key.name).await;
            let live = match live.map_err(|error| Failure::of(error, key)) {
                Ok(live) => live,
                // Who may not look goes on, and tries again where it was too soon.
                Err(Failure::Forbidden(_)) => return Ok(()),
                Err(failure) => return Err(failed(failure)),
            };
            if live.as_ref().is_some_and(is_established) {
                return Ok(());
            }
            let next = Instant::now() + PAUSE;
            if next > end {
                return Err(failed(Failure::NotEstablished));
            }
            sleep_until(next).await;
        }
    }
}

/// Returns true if the API server serves the kind.
fn is_established(definition: &DynamicObject) -> bool {
    let conditions = definition.data.pointer("/status/conditions");
    let mut conditions = conditions.and_then(Value::as_array).into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}
