//! HTTPRoutes of the Gateway API.
//!
//! A route is read into a small type whose rules stay JSON, and its rules are written whole with a
//! `resourceVersion` precondition, so that whatever else is in them survives.

use std::borrow::Cow;

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate_api::{names, route::RouteRef};
use tidegate_engine::{observed::RouteState, plan::Plan, route::Splitter};

use super::{RouteChange, RouteError};
use crate::kubernetes::{cache::Cache, watched};

/// What is kept of an HTTPRoute.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HttpRoute {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: HttpRouteSpec,
    #[serde(default)]
    status: HttpRouteStatus,
}

/// What is kept of its spec.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HttpRouteSpec {
    #[serde(default)]
    parent_refs: Vec<ParentRef>,
    #[serde(default)]
    rules: Value,
}

/// A gateway, or a part of one, that a route is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ParentRef {
    group: Option<String>,
    kind: Option<String>,
    namespace: Option<String>,
    name: String,
    section_name: Option<String>,
    port: Option<i32>,
}

/// What is kept of its status.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct HttpRouteStatus {
    #[serde(default)]
    parents: Vec<Parent>,
}

/// What one gateway says of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Parent {
    #[serde(default)]
    parent_ref: ParentRef,
    #[serde(default)]
    conditions: Vec<Condition>,
}

/// A condition.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    #[serde(default)]
    observed_generation: i64,
}

/// Returns the state of a route, if it exists.
pub(super) fn observe(
    routes: &Cache<HttpRoute>,
    namespace: &str,
    reference: &RouteRef,
    plan: &Plan,
) -> Option<RouteState> {
    let route = routes.get(namespace, &reference.name)?;
    let splitter = Splitter::of(reference, namespace, plan);
    let rules = &route.spec.rules;
    let fields = route.metadata.managed_fields.as_deref().unwrap_or_default();
    Some(RouteState {
        weight: splitter.weight(rules),
        split: splitter.is_split(rules),
        accepted: route.is_accepted(),
        epoch: watched::epoch(&*route),
        obstacle: splitter.obstacle(rules),
        manager: watched::last_manager(fields, &["f:spec", "f:rules"]),
    })
}

/// Gives a route the wanted share for the canary, or takes every trace of it out.
pub(super) async fn set(
    routes: &Cache<HttpRoute>,
    client: &Client,
    plan: &Plan,
    change: &RouteChange<'_>,
) -> Result<(), RouteError> {
    let RouteChange {
        namespace,
        route: reference,
        weight,
        epoch,
    } = *change;
    let route = routes
        .get(namespace, &reference.name)
        .ok_or_else(|| RouteError::Missing(reference.clone()))?;
    let splitter = Splitter::of(reference, namespace, plan);
    let rules = match weight {
        Some(weight) => splitter.split(&route.spec.rules, weight),
        None => splitter.merge(&route.spec.rules),
    };
    let patch = json!({
        "metadata": {
            "resourceVersion": route.resource_version(),
            "annotations": { names::EPOCH_ANNOTATION: epoch.map(|epoch| epoch.to_string()) },
        },
        "spec": { "rules": rules },
    });
    let api: Api<HttpRoute> = Api::namespaced(client.clone(), namespace);
    let patched = api
        .patch(
            &reference.name,
            &PatchParams::apply(names::FIELD_MANAGER),
            &Patch::Merge(patch),
        )
        .await;
    routes.answered(patched.map_err(|source| RouteError::Patch {
        route: reference.clone(),
        source: Box::new(source),
    })?);
    Ok(())
}

// === impl HttpRoute ===

impl HttpRoute {
    /// Tells whether every gateway that it is attached to has accepted it as it is now. The status
    /// of a gateway that it was attached to once does not count.
    fn is_accepted(&self) -> bool {
        let generation = self.metadata.generation.unwrap_or_default();
        let accepted = |parent: &Parent| {
            parent.conditions.iter().any(|condition| {
                condition.type_ == "Accepted"
                    && condition.status == "True"
                    && condition.observed_generation >= generation
            })
        };
        let own = self.metadata.namespace.as_deref().unwrap_or_default();
        let attached = |parent: &&Parent| {
            self.spec
                .parent_refs
                .iter()
                .any(|of| of.is_same(&parent.parent_ref, own))
        };
        let mut parents = self.status.parents.iter().filter(attached).peekable();
        parents.peek().is_some() && parents.all(accepted)
    }
}

// === impl ParentRef ===

impl ParentRef {
    /// Whether both name the same, with the defaults of the Gateway API. `own` is the route's
    /// namespace.
    fn is_same(&self, other: &Self, own: &str) -> bool {
        let named = |of: &Self| {
            let Self {
                group,
                kind,
                namespace,
                name,
                section_name,
                port,
            } = of.clone();
            let group = group.unwrap_or_else(|| "gateway.networking.k8s.io".to_owned());
            let kind = kind.unwrap_or_else(|| "Gateway".to_owned());
            (
                group,
                kind,
                namespace.unwrap_or_else(|| own.to_owned()),
                name,
                section_name,
                port,
            )
        };
        named(self) == named(other)
    }
}

impl Resource for HttpRoute {
    type DynamicType = ();
    type Scope = kube::core::NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "HTTPRoute".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "gateway.networking.k8s.io".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "httproutes".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests;
