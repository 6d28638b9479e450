//! Subset that is kept of each watched object: the few fields that decisions are made from. Fields that we
//! do not know cost nothing. Those of workloads and routes are in their rooms.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{
    apps::v1 as apps, autoscaling::v2 as autoscaling, core::v1 as core, discovery::v1 as discovery,
};
use kube::{Resource, ResourceExt, api::ObjectMeta};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tidegate_api::{
    Revision,
    config::{ConfigRef, ReleasedConfig},
    names,
    workload::group_of,
};
use tidegate_engine::revision;

use super::{config, pod_template};

/// A Service.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = "core::Service")]
pub(crate) struct Service {
    pub(crate) metadata: ObjectMeta,
    #[serde(default, skip_serializing)]
    pub(crate) spec: ServiceSpec,
}

/// Spec of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ServiceSpec {
    #[serde(default)]
    pub(crate) selector: BTreeMap<String, String>,
    #[serde(rename = "type", default)]
    pub(crate) type_: Option<String>,
    #[serde(rename = "clusterIP", default)]
    pub(crate) cluster_ip: Option<String>,
}

/// An EndpointSlice.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = "discovery::EndpointSlice")]
pub(crate) struct EndpointSlice {
    pub(crate) metadata: ObjectMeta,
    #[serde(default, skip_serializing)]
    pub(crate) endpoints: Option<Vec<Endpoint>>,
}

/// Endpoint of an EndpointSlice.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint {
    #[serde(default)]
    pub(crate) addresses: Vec<String>,
    #[serde(default)]
    pub(crate) conditions: EndpointConditions,
    #[serde(default)]
    pub(crate) target_ref: Option<TargetRef>,
}

/// Conditions of an endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct EndpointConditions {
    #[serde(default)]
    pub(crate) ready: Option<bool>,
}

/// The pod behind an endpoint.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TargetRef {
    #[serde(default)]
    pub(crate) name: String,
}

/// A ControllerRevision that keeps a pod template.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = "apps::ControllerRevision")]
pub(crate) struct ControllerRevision {
    pub(crate) metadata: ObjectMeta,
    #[serde(default, skip_serializing)]
    pub(crate) data: KeptTemplate,
    #[serde(default)]
    pub(crate) revision: i64,
}

/// A `HorizontalPodAutoscaler`.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = "autoscaling::HorizontalPodAutoscaler")]
pub(crate) struct Autoscaler {
    pub(crate) metadata: ObjectMeta,
    #[serde(default, skip_serializing)]
    pub(crate) spec: AutoscalerSpec,
}

/// Spec of an autoscaler.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AutoscalerSpec {
    #[serde(default)]
    pub(crate) scale_target_ref: ScaleTarget,
}

/// Object that an autoscaler scales, in the autoscaler's namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScaleTarget {
    #[serde(default)]
    pub(crate) api_version: Option<String>,
    /// A `ScaledObject` of KEDA may leave it out.
    #[serde(default)]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) name: String,
}

/// Template in a ControllerRevision.
#[derive(Clone, Debug)]
pub(crate) struct KeptTemplate {
    /// The name of the revision: the digest of the template as it was written, and of the config that it names.
    pub(crate) revision: Revision,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) images: Vec<String>,
    pub(crate) config: BTreeSet<ConfigRef>,
    /// Digest of the config that is part of the revision.
    pub(crate) config_digest: Option<String>,
}

/// The label that says of which Service an EndpointSlice is.
pub(crate) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

// === impl ControllerRevision ===

impl ControllerRevision {
    /// Config that is to be released with the template, if any of it has changed.
    pub(crate) fn released_config(&self) -> Option<ReleasedConfig> {
        let copies = self.annotations().get(names::CONFIG_COPIES_ANNOTATION)?;
        Some(ReleasedConfig {
            digest: self.data.config_digest.clone()?,
            copies: serde_json::from_str(copies).ok()?,
        })
    }
}

// === impl KeptTemplate ===

impl KeptTemplate {
    fn of(data: &Value) -> Self {
        let template = data.get("template").unwrap_or(&Value::Null);
        Self {
            revision: revision::of_kept(data),
            labels: pod_template::labels(template),
            images: pod_template::images(template),
            config: config::named_in(template),
            config_digest: data["config"].as_str().map(str::to_owned),
        }
    }
}

impl Default for KeptTemplate {
    fn default() -> Self {
        Self::of(&Value::Null)
    }
}

impl<'de> Deserialize<'de> for KeptTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let data = Value::deserialize(deserializer)?;
        Ok(Self::of(&data))
    }
}

// === impl ScaleTarget ===

impl ScaleTarget {
    /// Returns true if it is the object of this group, kind and name. A version that is not written
    /// means any group.
    pub(crate) fn is(&self, group: &str, kind: &str, name: &str) -> bool {
        let own_group = self.api_version.as_deref().map(group_of);
        self.name == name
            && self.kind.as_deref().unwrap_or("Deployment") == kind
            && own_group.is_none_or(|own| own == group)
    }
}

// === impl EndpointSlice ===

impl EndpointSlice {
    /// The Service that it is of.
    pub(crate) fn service(&self) -> Option<&str> {
        self.labels().get(SERVICE_NAME_LABEL).map(String::as_str)
    }
}

/// The epoch annotation of an object.
pub(crate) fn epoch(object: &impl ResourceExt) -> Option<u64> {
    object
        .annotations()
        .get(names::EPOCH_ANNOTATION)?
        .parse()
        .ok()
}

/// Returns true if a field manager that scales is no person: KEDA scales to and from 0 by itself, and
/// without a `HorizontalPodAutoscaler` while it is paused. Kubernetes' own leaves its count behind when
/// it is deleted, which is a count like any then.
pub(crate) fn is_autoscaler(manager: &str) -> bool {
    manager.starts_with("keda")
}
