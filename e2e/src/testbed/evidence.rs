//! Evidence of the API server about a release: the weights that the route had, one after the other, and
//! whether anything of an attempt is left.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::ResourceExt as _;
use serde_json::Value;
use tidegate_api::names;

use super::{LIMIT, NAME, Testbed};
use crate::eventually::eventually;

/// The canary's objects have this name.
pub const CANARY: &str = "shop-canary";

/// From when on the canary had which share of the traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Time at which the write had come in.
    pub at: Timestamp,
    /// In percent.
    pub weight: f64,
}

/// The shares that the canary had, one after the other, by the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares(Vec<Share>);

// === impl Testbed ===

impl Testbed {
    /// Every successful write of this namespace's objects of a resource, by the audit log.
    pub fn audited(&self, resource: &str) -> Result<Vec<Value>> {
        let log = fs::read_to_string(self.context.cluster.audit_log())
            .context("the audit log cannot be read")?;
        // Most lines are of other namespaces, and reading JSON takes its time.
        let lines = log
            .lines()
            .filter(|line| line.contains(&self.context.namespace));
        let events = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ours = events.filter(|event| {
            event["objectRef"]["namespace"] == self.context.namespace.as_str()
                && event["objectRef"]["resource"] == resource
                && event["stage"] == "ResponseComplete"
                && event["responseStatus"]["code"]
                    .as_u64()
                    .is_some_and(|code| code < 300)
                && event["requestURI"]
                    .as_str()
                    .is_some_and(|uri| !uri.contains("dryRun="))
        });
        Ok(ours.collect())
    }

    /// The shares that the route has given the canary, or the Service where no route does.
    pub fn shares(&self) -> Result<Shares> {
        if self.endpoints.is_some() {
            return self.shares_by_replicas();
        }
        let writes = self.audited(self.route_kind.plural())?;
        let shares = writes
            .iter()
            .filter(|event| event["objectRef"]["subresource"].is_null())
            .filter_map(|event| {
                let weight = canary_weight(&event["requestObject"])?;
                let at = event["requestReceivedTimestamp"].as_str()?.parse().ok()?;
                Some(Share { at, weight })
            });
        Ok(Shares::new(shares.collect()))
    }

    /// The same by what the Service selects. A share that pods of both versions make is written as half.
    fn shares_by_replicas(&self) -> Result<Shares> {
        let writes = self.audited("services")?;
        let shares = writes
            .iter()
            .filter(|event| event["objectRef"]["name"] == NAME)
            .filter_map(|event| {
                let weight = selected_share(&event["requestObject"])?;
                let at = event["requestReceivedTimestamp"].as_str()?.parse().ok()?;
                Some(Share { at, weight })
            });
        Ok(Shares::new(shares.collect()))
    }

    /// Waits until nothing of any attempt is left: no canary, no pin, no pause.
    pub async fn is_at_rest(&self) -> Result<()> {
        eventually("nothing of the attempt is left", LIMIT, || async {
            let (deployments, services) = (self.api::<Deployment>(), self.api::<Service>());
            ensure!(
                deployments.get_opt(CANARY).await?.is_none(),
                "the canary's Deployment is there"
            );
            ensure!(
                services.get_opt(CANARY).await?.is_none(),
                "the canary's Service is there"
            );
            let workload = deployments.get(NAME).await?;
            ensure!(
                !workload.annotations().contains_key(names::EPOCH_ANNOTATION),
                "the workload has an epoch"
            );
            ensure!(
                !workload
                    .spec
                    .and_then(|spec| spec.paused)
                    .unwrap_or_default(),
                "the workload is paused"
            );
            // A shop that nobody calls has none.
            if let Some(service) = services.get_opt(NAME).await? {
                let selector = service
                    .spec
                    .and_then(|spec| spec.selector)
                    .unwrap_or_default();
                ensure!(
                    selector.keys().eq(["app"]),
                    "the Service selects {selector:?}"
                );
            }
            Ok(Some(()))
        })
        .await
    }
}

// === impl Shares ===

impl Shares {
    /// Writes that change nothing, as a new leader's epoch does, are no shares of their own.
    fn new(mut shares: Vec<Share>) -> Self {
        shares.sort_by_key(|share| share.at);
        shares.dedup_by(|next, before| same(next.weight, before.weight));
        Self(shares)
    }

    /// The canary's share at the end.
    pub fn last(&self) -> Option<f64> {
        self.0.last().map(|share| share.weight)
    }

    /// Since when the canary has had the share of the end.
    pub fn last_changed_at(&self) -> Option<Timestamp> {
        self.0.last().map(|share| share.at)
    }

    /// Time at which the canary first lost all of its share, from `since` on.
    pub fn taken_back_since(&self, since: Timestamp) -> Option<Timestamp> {
        let mut pairs = self.0.windows(2);
        pairs
            .find(|pair| pair[0].weight > 0.0 && same(pair[1].weight, 0.0) && pair[1].at >= since)
            .map(|pair| pair[1].at)
    }

    /// Every weight, one after the other.
    pub fn all(&self) -> Vec<f64> {
        self.0.iter().map(|share| share.weight).collect()
    }

    /// The weights above 0, without the temporary zeros between them.
    pub fn weights(&self) -> Vec<f64> {
        let mut weights: Vec<_> = self
            .0
            .iter()
            .map(|share| share.weight)
            .filter(|weight| *weight > 0.0)
            .collect();
        weights.dedup_by(|next, before| same(*next, *before));
        weights
    }

    /// The shortest time for which a weight stayed before it was raised.
    pub fn shortest_stay(&self) -> Option<Duration> {
        let raised = self
            .0
            .windows(2)
            .filter(|pair| pair[0].weight > 0.0 && pair[1].weight > pair[0].weight);
        raised
            .map(|pair| pair[1].at.duration_since(pair[0].at).unsigned_abs())
            .min()
    }
}

fn same(one: f64, other: f64) -> bool {
    (one - other).abs() < f64::EPSILON
}

/// The backends of a route's first rule, by a write of the route: an object, a merge patch, or a JSON
/// patch that replaces a list of backends.
pub fn backends(written: &Value) -> Option<&Vec<Value>> {
    let Some(operations) = written.as_array() else {
        return written.pointer("/spec/rules/0/backendRefs")?.as_array();
    };
    let mut replaced = operations.iter().filter(|operation| {
        let path = operation["path"].as_str().unwrap_or_default();
        operation["op"] == "replace" && path.ends_with("/backendRefs")
    });
    replaced.next()?["value"].as_array()
}

/// The weights of a Service, in all.
fn weight(backends: &[Value], name: &str) -> f64 {
    let named = backends.iter().filter(|backend| backend["name"] == name);
    named
        .map(|backend| backend["weight"].as_f64().unwrap_or(1.0))
        .sum()
}

/// The canary's share by a pin, in percent; `None` where the patch takes the pin off for good.
fn selected_share(patch: &Value) -> Option<f64> {
    let selector = &patch["spec"]["selector"];
    let mark = &patch["metadata"]["annotations"][names::EPOCH_ANNOTATION];
    if selector[names::TRACK_LABEL].is_string() {
        Some(100.0)
    } else if selector["pod-template-hash"].is_string() {
        Some(0.0)
    } else if mark.is_string() {
        Some(50.0)
    } else {
        None
    }
}

/// The canary's percentage of what a route sends to either, by a write of the route.
fn canary_weight(written: &Value) -> Option<f64> {
    let backends = backends(written)?;
    let (canary, stable) = (weight(backends, CANARY), weight(backends, NAME));
    Some(if canary > 0.0 {
        canary * 100.0 / (canary + stable)
    } else {
        0.0
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shares(weights: &[(i64, f64)]) -> Shares {
        let share = |(second, weight)| Share {
            at: Timestamp::UNIX_EPOCH + Duration::from_secs(second),
            weight,
        };
        Shares::new(
            weights
                .iter()
                .map(|(second, weight)| share((second.unsigned_abs(), *weight)))
                .collect(),
        )
    }

    #[test]
    fn a_pin_says_whom_a_service_sends_its_callers_to() {
        let patch = |selector: Value, mark: Value| {
            json!({
                "metadata": { "annotations": { names::EPOCH_ANNOTATION: mark } },
                "spec": { "selector": selector },
            })
        };
        let none = json!({ "pod-template-hash": null, names::TRACK_LABEL: null });
        let stable = json!({ "pod-template-hash": "abc", names::TRACK_LABEL: null });
        let canary = json!({ "pod-template-hash": null, names::TRACK_LABEL: "canary" });
        assert_eq!(selected_share(&patch(stable, json!("3"))), Some(0.0));
        assert_eq!(selected_share(&patch(canary, json!("3"))), Some(100.0));
        assert_eq!(selected_share(&patch(none.clone(), json!("3"))), Some(50.0));
        assert_eq!(selected_share(&patch(none, Value::Null)), None);
    }

    #[test]
    fn a_route_without_the_canary_gives_it_nothing() {
        let rules = json!([{ "backendRefs": [{ "name": "shop", "port": 80 }] }]);
        let written = json!({ "spec": { "rules": rules } });
        assert_eq!(canary_weight(&written), Some(0.0));
    }

    #[test]
    fn a_share_is_the_canarys_part_of_both() {
        let list = json!([{ "name": "shop", "weight": 9 }, { "name": "shop-canary", "weight": 1 }]);
        let merged = json!({ "spec": { "rules": [{ "backendRefs": list }] } });
        assert_eq!(canary_weight(&merged), Some(10.0));
        let patched = json!([
            { "op": "test", "path": "/spec/rules/0/backendRefs", "value": [] },
            { "op": "replace", "path": "/spec/rules/0/backendRefs", "value": list },
        ]);
        assert_eq!(canary_weight(&patched), Some(10.0));
    }

    #[test]
    fn temporary_zeros_and_repetitions_are_set_aside() {
        let seen = shares(&[
            (0, 0.0),
            (1, 10.0),
            (2, 10.0),
            (3, 0.0),
            (4, 10.0),
            (9, 50.0),
            (12, 100.0),
            (15, 0.0),
            (16, 0.0),
        ]);
        assert_eq!(seen.weights(), [10.0, 50.0, 100.0]);
        assert_eq!(seen.all(), [0.0, 10.0, 0.0, 10.0, 50.0, 100.0, 0.0]);
        assert_eq!(seen.last(), Some(0.0));
        assert_eq!(
            seen.last_changed_at(),
            Some(Timestamp::UNIX_EPOCH + Duration::from_secs(15))
        );
        assert_eq!(seen.shortest_stay(), Some(Duration::from_secs(3)));
    }
}
