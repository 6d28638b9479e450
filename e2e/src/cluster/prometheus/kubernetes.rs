//! Discovery by the API server: pods by their annotations, and Services by a label, as a `ServiceMonitor` of
//! the Prometheus operator selects them.

use anyhow::Result;

use crate::cluster::{
    credentials::Credentials,
    kubeconfig::{KubeconfigSpec, User},
};

/// Job of the Services that bear the label `monitor: "true"`. Its series have the labels that the operator
/// gives them.
const SERVICES: &str = r#"- job_name: services
  kubernetes_sd_configs: [{ role: endpointslice, kubeconfig_file: KUBECONFIG }]
  relabel_configs:
  - source_labels: [__meta_kubernetes_service_label_monitor]
    regex: "true"
    action: keep
  - source_labels: [__meta_kubernetes_namespace]
    target_label: namespace
  - source_labels: [__meta_kubernetes_service_name]
    target_label: service
  - source_labels: [__meta_kubernetes_service_name]
    target_label: job
  - source_labels: [__meta_kubernetes_pod_name]
    target_label: pod
  - source_labels: [__meta_kubernetes_endpointslice_port_name]
    target_label: endpoint
"#;

/// The part of the pods' job that names the API server, and the job of the Services.
pub(super) fn config(credentials: &Credentials, name: &str) -> Result<(String, String)> {
    let kubeconfig = credentials.kubeconfig(&KubeconfigSpec::new(name, User::Prometheus))?;
    let kubeconfig = kubeconfig.display().to_string();
    let pods = format!("kubernetes_sd_configs: [{{ role: pod, kubeconfig_file: {kubeconfig} }}]");
    Ok((pods, SERVICES.replace("KUBECONFIG", &kubeconfig)))
}
