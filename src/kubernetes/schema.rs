//! Served schema of our definitions, compared with the one that this program is built with.
//!
//! The API server drops what the schema of a kind doesn't have and says nothing: with older
//! definitions a status would lose what an attempt's safety depends on. So this program doesn't lead
//! before all that it may write is kept. Definitions that are newer than it are no obstacle.
//!
//! The schema is read where clients find it (`/openapi/v3`), which every account may
//! (`system:discovery`): reading the definitions themselves takes a right over the cluster, which a
//! controller of a single namespace doesn't have.

use std::{fmt, time::Duration};

use http::Request;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Client, CustomResourceExt as _, Resource as _};
use serde_json::Value;
use tidegate_api::{ConfigRepo, Intervention, Rollout};
use tokio::sync::watch;

/// What is in the way before the served definitions have been compared.
pub(crate) const UNREAD: &str = "the served definitions are not read yet";

/// Interval at which definitions that are missing or older are asked for again.
const RETRY: Duration = Duration::from_secs(5);

/// Number of fields that a message names.
const NAMED: usize = 5;

/// Reason for which this program doesn't lead on the served definitions.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaObstacle {
    /// The cluster doesn't serve our group and version.
    #[error(
        "the cluster has no definitions of {0}: install the chart with crds.install, or apply the \
         output of `tidegate crds`"
    )]
    Undefined(String),
    /// The API server didn't tell.
    #[error(
        "cannot read the served definitions, retrying: {0} (every account may get /openapi/v3 by \
         the ClusterRole system:discovery)"
    )]
    Unreadable(#[source] kube::Error),
    /// What this program writes would be dropped.
    #[error(
        "the cluster's definitions are older than this version and would drop {0}: upgrade the \
         chart with crds.install, or apply the output of `tidegate crds`"
    )]
    Outdated(MissingFields),
}

/// Paths that a schema lacks, like `Rollout.status.attempt.epoch`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MissingFields(Vec<String>);

/// Waits until the cluster serves all that this program may write, and shows meanwhile what is in the
/// way.
pub(crate) async fn wait_until_current(client: &Client, obstacle: &watch::Sender<Option<String>>) {
    loop {
        let found = match check(client).await {
            Ok(()) => None,
            Err(found) => Some(found.to_string()),
        };
        let is_news = obstacle.send_if_modified(|before| {
            let is_news = *before != found;
            before.clone_from(&found);
            is_news
        });
        match found {
            None => return,
            Some(message) if is_news => tracing::error!("not standing for leadership: {message}"),
            Some(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Compares what the cluster serves with our own definitions.
async fn check(client: &Client) -> Result<(), SchemaObstacle> {
    let group_version = Rollout::api_version(&()).into_owned();
    let request = Request::get(format!("/openapi/v3/apis/{group_version}"))
        .body(Vec::new())
        .map_err(|error| SchemaObstacle::Unreadable(kube::Error::HttpError(error)))?;
    let served: Value = match client.request(request).await {
        Ok(served) => served,
        Err(kube::Error::Api(status)) if status.code == 404 => {
            return Err(SchemaObstacle::Undefined(group_version));
        }
        Err(error) => return Err(SchemaObstacle::Unreadable(error)),
    };
    let missing = missing_fields(&served);
    if missing.0.is_empty() {
        Ok(())
    } else {
        Err(SchemaObstacle::Outdated(missing))
    }
}

/// Compares the kinds of a served document with ours.
fn missing_fields(served: &Value) -> MissingFields {
    let mut missing = Vec::new();
    for crd in [Rollout::crd(), ConfigRepo::crd(), Intervention::crd()] {
        let kind = crd.spec.names.kind.clone();
        match (own_schema(&crd), served_schema(served, &kind)) {
            (Some(own), Some(served)) => compare(&kind, &own, served, &mut missing),
            (None, _) | (_, None) => missing.push(kind),
        }
    }
    MissingFields(missing)
}

fn own_schema(crd: &CustomResourceDefinition) -> Option<Value> {
    let schema = crd.spec.versions.first()?.schema.as_ref()?;
    serde_json::to_value(schema.open_api_v3_schema.as_ref()?).ok()
}

/// Finds the schema of a kind by the mark that the API server gives it.
fn served_schema<'a>(served: &'a Value, kind: &str) -> Option<&'a Value> {
    let schemas = served.pointer("/components/schemas")?.as_object()?;
    schemas.values().find(|schema| {
        schema
            .pointer("/x-kubernetes-group-version-kind/0/kind")
            .is_some_and(|served| served == kind)
    })
}

/// Adds the path of every field and every value in `own` that `served` would drop or refuse.
fn compare(path: &str, own: &Value, served: &Value, missing: &mut Vec<String>) {
    if served["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    if let (Some(own), Some(served)) = (own["type"].as_str(), served["type"].as_str())
        && own != served
    {
        missing.push(format!("{path} ({own})"));
        return;
    }
    for (name, field) in own["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match served["properties"].get(name) {
            Some(served) => compare(&path, field, served, missing),
            None => missing.push(path),
        }
    }
    for part in ["items", "additionalProperties"] {
        match (own.get(part), served.get(part)) {
            (Some(own), Some(served)) if own.is_object() => compare(path, own, served, missing),
            (Some(own), None) if own.is_object() => missing.push(path.to_owned()),
            (Some(_) | None, _) => {}
        }
    }
    if let Some(allowed) = served["enum"].as_array() {
        let values = own["enum"].as_array().into_iter().flatten();
        for value in values.filter(|value| !allowed.contains(value)) {
            missing.push(format!("{path} {value}"));
        }
    }
}

// === impl MissingFields ===

impl fmt::Display for MissingFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.0.len().min(NAMED);
        f.write_str(&self.0[..named].join(", "))?;
        match self.0.len() - named {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests;
