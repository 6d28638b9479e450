//! Status of a pod, as a patch.

use std::{fmt::Write as _, net::IpAddr};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    NodeAgentSpec,
    container::{Image, RunningContainer, image, name_and_tag},
    node::seconds,
};
use crate::process::ChildProcess;

/// Times at which a pod's conditions last changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transitions {
    pub(super) started: Timestamp,
    pub(super) ready: bool,
    pub(super) ready_since: Timestamp,
}

// === impl Transitions ===

impl Transitions {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            started: now,
            ready: false,
            ready_since: now,
        }
    }

    pub(super) fn set_ready(&mut self, ready: bool, now: Timestamp) {
        if ready != self.ready {
            self.ready = ready;
            self.ready_since = now;
        }
    }
}

/// A strategic merge patch, which leaves conditions of others alone. It names the uid, so that it
/// never hits another pod of the same name.
pub(super) fn patch(
    pod: &Pod,
    spec: &NodeAgentSpec,
    address: IpAddr,
    containers: &[&RunningContainer],
    transitions: &Transitions,
) -> Value {
    let started = seconds(transitions.started);
    let since = seconds(transitions.ready_since);
    let address = address.to_string();
    let statuses: Vec<_> = containers.iter().copied().map(container_status).collect();
    json!({
        "metadata": { "uid": pod.uid() },
        "status": {
            "phase": "Running",
            "hostIP": spec.node_address.to_string(),
            "hostIPs": [{ "ip": spec.node_address.to_string() }],
            "podIP": address,
            "podIPs": [{ "ip": address }],
            "startTime": started,
            "qosClass": "BestEffort",
            "containerStatuses": statuses,
            "conditions": [
                condition("PodReadyToStartContainers", true, &started),
                condition("Initialized", true, &started),
                condition("PodScheduled", true, &started),
                condition("ContainersReady", transitions.ready, &since),
                condition("Ready", transitions.ready, &since),
            ],
        },
    })
}

fn condition(kind: &str, holds: bool, since: &str) -> Value {
    let mut condition = json!({
        "type": kind,
        "status": if holds { "True" } else { "False" },
        "lastTransitionTime": since,
        "reason": null,
        "message": null,
    });
    if !holds {
        condition["reason"] = "ContainersNotReady".into();
    }
    condition
}

fn container_status(running: &RunningContainer) -> Value {
    let image = image(&running.container);
    let pid = running.process.as_ref().map_or(0, ChildProcess::pid);
    let (state, last_state) = states(running, image);
    json!({
        "name": running.container.name,
        "image": image,
        "imageID": format!("{}@sha256:{}", name_and_tag(image).0, hex(&Sha256::digest(image))),
        "containerID": format!("process://{pid}"),
        "ready": running.ready,
        "started": running.image != Image::Missing,
        "restartCount": running.restarts,
        "state": state,
        "lastState": last_state,
    })
}

/// The state and the last state of a container, as a kubelet words them.
fn states(running: &RunningContainer, image: &str) -> (Value, Value) {
    let started = seconds(running.started_at);
    match running.image {
        Image::DemoApp | Image::Broken | Image::Idle => {
            (json!({ "running": { "startedAt": started } }), json!({}))
        }
        Image::Crashing => {
            let message = format!(
                "back-off 10s restarting failed container={}",
                running.container.name
            );
            let ended = json!({
                "exitCode": 1, "reason": "Error", "startedAt": started, "finishedAt": started,
            });
            (
                json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } }),
                json!({ "terminated": ended }),
            )
        }
        Image::Missing => {
            let message = format!(
                "failed to pull and unpack image \"{image}\": failed to resolve reference: {image}: not found"
            );
            (
                json!({ "waiting": { "reason": "ErrImagePull", "message": message } }),
                json!({}),
            )
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
