//! The Node objects on which pods are scheduled.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, NodeAddress, NodeCondition, NodeStatus},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::ObjectMeta,
};
use serde_json::json;

use super::network::NODE_ADDRESS;

/// The cluster's node.
pub const NODE_NAME: &str = "node-1";

/// More than any scenario asks for, so that only the number of pods is a limit.
const RESOURCES: [(&str, &str); 3] = [("cpu", "1000"), ("memory", "1Ti"), ("pods", "1000")];

/// Creates a Node that is ready and stays so: no lifecycle controller runs that would doubt it.
///
/// It carries the label `kubernetes.io/hostname`, so that pods can ask for it.
pub async fn register(admin: &Client, name: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(admin.clone());
    let labels = [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", "amd64"),
    ];
    let node = Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(
                labels
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
            ..ObjectMeta::default()
        },
        ..Node::default()
    };
    nodes
        .create(&PostParams::default(), &node)
        .await
        .with_context(|| format!("the Node {name} cannot be created"))?;
    let patch = Patch::Merge(json!({ "status": ready_status() }));
    nodes
        .patch_status(name, &PatchParams::default(), &patch)
        .await
        .with_context(|| format!("the Node {name} cannot be made ready"))?;
    Ok(())
}

fn ready_status() -> NodeStatus {
    let resources: BTreeMap<_, _> = RESOURCES
        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
        .into();
    let now = Some(Time(Timestamp::now()));
    NodeStatus {
        addresses: Some(vec![NodeAddress {
            address: NODE_ADDRESS.to_string(),
            type_: "InternalIP".to_owned(),
        }]),
        allocatable: Some(resources.clone()),
        capacity: Some(resources),
        conditions: Some(vec![NodeCondition {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
            reason: Some("Ready".to_owned()),
            last_heartbeat_time: now.clone(),
            last_transition_time: now,
            ..NodeCondition::default()
        }]),
        ..NodeStatus::default()
    }
}
