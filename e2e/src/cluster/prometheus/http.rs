//! Discovery by a list of the pods that the harness serves.
//!
//! The list has the labels of Prometheus' own discovery, so that the same relabeling reads both.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context as _, Result};
use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use serde::Serialize;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::cluster::{
    credentials::Credentials,
    kubeconfig::{self, KubeconfigSpec, User},
    network::NODE_ADDRESS,
};

/// Prefix of the labels by which Prometheus' own discovery describes a pod.
const LABEL: &str = "__meta_kubernetes";

/// A server of the list; it ends when dropped.
#[derive(Debug)]
pub(super) struct PodList {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// One pod, as Prometheus reads it.
#[derive(Debug, PartialEq, Serialize)]
struct Target {
    targets: [String; 1],
    labels: BTreeMap<String, String>,
}

// === impl PodList ===

impl PodList {
    /// Starts serving it at a port that is free.
    pub(super) async fn serve(credentials: &Credentials, name: &str) -> Result<Self> {
        let kubeconfig = credentials.kubeconfig(&KubeconfigSpec::new(name, User::Prometheus))?;
        let client = kubeconfig::client(&kubeconfig).await?;
        let listener = TcpListener::bind((NODE_ADDRESS, 0))
            .await
            .context("no port for the list of pods")?;
        let address = listener
            .local_addr()
            .context("no port for the list of pods")?;
        let router = Router::new().route("/pods", get(pods)).with_state(client);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the list of pods is not served any more");
            }
        });
        Ok(Self { address, task })
    }

    /// The part of a scrape configuration that names the list.
    pub(super) fn config(&self) -> String {
        format!(
            "http_sd_configs: [{{ url: 'http://{}/pods', refresh_interval: 500ms }}]",
            self.address
        )
    }
}

impl Drop for PodList {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pods(State(client): State<Client>) -> Result<Json<Vec<Target>>, (StatusCode, String)> {
    // Any version that the API server has at hand is new enough.
    let params = ListParams::default().match_any();
    match Api::<Pod>::all(client).list(&params).await {
        Ok(pods) => Ok(Json(pods.items.iter().filter_map(Target::of).collect())),
        // Prometheus keeps what it knows.
        Err(error) => Err((StatusCode::BAD_GATEWAY, error.to_string())),
    }
}

// === impl Target ===

impl Target {
    /// A pod as a target; nothing as long as it has no address.
    fn of(pod: &Pod) -> Option<Self> {
        let status = pod.status.as_ref()?;
        let address = status.pod_ip.clone()?;
        let mut labels = BTreeMap::from([
            (format!("{LABEL}_namespace"), pod.namespace()?),
            (format!("{LABEL}_pod_name"), pod.name_any()),
            (format!("{LABEL}_pod_ip"), address.clone()),
            (
                format!("{LABEL}_pod_phase"),
                status.phase.clone().unwrap_or_default(),
            ),
        ]);
        for (name, value) in pod.annotations() {
            let name = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
            labels.insert(format!("{LABEL}_pod_annotation_{name}"), value.clone());
        }
        Some(Self {
            targets: [address],
            labels,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_has_the_labels_of_prometheus_own_discovery() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": "shop-1",
                "namespace": "demo",
                "annotations": { "prometheus.io/port": "9898" },
            },
            "status": { "podIP": "10.244.0.7", "phase": "Running" },
        }))
        .expect("a pod");
        let target = Target::of(&pod).expect("a target");
        let wanted = json!({
            "targets": ["10.244.0.7"],
            "labels": {
                "__meta_kubernetes_namespace": "demo",
                "__meta_kubernetes_pod_name": "shop-1",
                "__meta_kubernetes_pod_ip": "10.244.0.7",
                "__meta_kubernetes_pod_phase": "Running",
                "__meta_kubernetes_pod_annotation_prometheus_io_port": "9898",
            },
        });
        assert_eq!(serde_json::to_value(target).expect("JSON"), wanted);
    }

    #[test]
    fn a_pod_without_an_address_is_no_target() {
        assert_eq!(Target::of(&Pod::default()), None);
    }
}
