//! The Node object and its heartbeat.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Node};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::NodeAgentSpec;

/// Field manager of the Node and its Lease.
const FIELD_MANAGER: &str = "tidegate-e2e-node-agent";

/// As often as a kubelet; the node lifecycle controller has 50 s of patience.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Time that the API server has to accept the Node when the cluster starts.
const REGISTRATION: Duration = Duration::from_mins(1);
/// Interval between tries.
const RETRY: Duration = Duration::from_millis(100);
/// Timeout of one try.
const API_TIMEOUT: Duration = Duration::from_secs(5);

/// Failure to register the Node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The API server did not take it in time.
    #[error("the Node {node} cannot be registered: {source}")]
    Register {
        /// The Node's name.
        node: String,
        /// Last answer of the API server.
        source: kube::Error,
    },
    /// The API server did not answer in time.
    #[error("the Node {node} cannot be registered: no answer within {API_TIMEOUT:?}")]
    NoAnswer {
        /// The Node's name.
        node: String,
    },
}

/// Creates the Node, if it is not there, and makes it ready.
pub(super) async fn register(client: &Client, spec: &NodeAgentSpec) -> Result<(), NodeError> {
    let deadline = Instant::now() + REGISTRATION;
    loop {
        let tried = timeout(API_TIMEOUT, try_register(client, spec)).await;
        let error = match tried {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(source)) => NodeError::Register {
                node: spec.node.clone(),
                source,
            },
            Err(_) => NodeError::NoAnswer {
                node: spec.node.clone(),
            },
        };
        if Instant::now() > deadline {
            return Err(error);
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Keeps the Node alive, forever.
pub(super) async fn beat(client: Client, spec: Arc<NodeAgentSpec>) {
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    loop {
        heartbeat.tick().await;
        match timeout(API_TIMEOUT, renew(&client, &spec)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the Node's heartbeat failed"),
            Err(_) => tracing::warn!("the Node's heartbeat had no answer"),
        }
    }
}

async fn try_register(client: &Client, spec: &NodeAgentSpec) -> Result<(), kube::Error> {
    let nodes = Api::<Node>::all(client.clone());
    let node: Node = serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": spec.node,
            "labels": {
                "kubernetes.io/hostname": spec.node,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            },
        },
        "spec": { "podCIDR": "10.244.0.0/16", "podCIDRs": ["10.244.0.0/16"] },
    }))
    .expect("it is a Node");
    match nodes.create(&PostParams::default(), &node).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => return Err(error),
    }
    report(client, spec).await
}

async fn renew(client: &Client, spec: &NodeAgentSpec) -> Result<(), kube::Error> {
    let leases = Api::<Lease>::namespaced(client.clone(), "kube-node-lease");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": spec.node },
        "spec": {
            "holderIdentity": spec.node,
            "leaseDurationSeconds": 40,
            "renewTime": micro_time(Timestamp::now()),
        },
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    leases
        .patch(&spec.node, &params, &Patch::Apply(&lease))
        .await?;
    report(client, spec).await
}

async fn report(client: &Client, spec: &NodeAgentSpec) -> Result<(), kube::Error> {
    let nodes = Api::<Node>::all(client.clone());
    let resources = json!({ "cpu": "64", "memory": "256Gi", "pods": "1000" });
    let status = json!({
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [
                { "type": "InternalIP", "address": spec.node_address.to_string() },
                { "type": "Hostname", "address": spec.node },
            ],
            "conditions": [{
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "message": "the node agent runs",
                "lastHeartbeatTime": seconds(Timestamp::now()),
            }],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "none",
                "containerRuntimeVersion": "process://1",
                "kernelVersion": "none",
                "kubeProxyVersion": "none",
                "kubeletVersion": "v1.35.4",
                "machineID": "none",
                "operatingSystem": "linux",
                "osImage": "processes",
                "systemUUID": "none",
            },
        },
    });
    let params = PatchParams::default();
    nodes
        .patch_status(&spec.node, &params, &Patch::Strategic(&status))
        .await?;
    Ok(())
}

/// As `metav1.Time` is written.
pub(super) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// As `metav1.MicroTime` is written.
fn micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
