//! The Helm chart in the cluster: what Helm renders of it, applied, and its Deployment's pods.
//!
//! The cluster runs no containers, so a pod of the Deployment is a process with the container's
//! arguments and variables, and the credentials of the pod's ServiceAccount. Only what a container has
//! for itself is set anew: its address and its volumes.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Container};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams, ValidationDirective},
    core::GroupVersionKind,
    discovery::{Scope, pinned_kind},
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    cluster::{Cluster, KubeconfigSpec, User, free_port},
    http_client,
    process::{ChildProcess, ProcessSpec},
};

/// The chart's folder.
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/tidegate");

/// Name of the release.
const RELEASE: &str = "tidegate";

/// Field manager of Helm.
const FIELD_MANAGER: &str = "helm";

/// Time that Helm may take to render.
const RENDER_LIMIT: Duration = Duration::from_mins(1);

/// The chart, rendered for a namespace.
#[derive(Debug)]
pub struct Chart {
    namespace: String,
    objects: Vec<DynamicObject>,
}

/// A pod of the chart's Deployment, as a process.
#[derive(Debug)]
pub struct ChartPod {
    /// The process.
    pub process: ChildProcess,
    /// Address at which it serves its probes and metrics.
    address: SocketAddr,
    /// Path of its readiness probe.
    readiness: String,
}

/// Values with which the chart's Tidegate runs in a scenario.
pub fn values(cluster: &Cluster) -> Value {
    json!({
        "clusterName": "e2e",
        "image": { "repository": "registry.example.com/tidegate" },
        "prometheus": { "url": cluster.prometheus_url(), "scrapeInterval": "1s" },
        "leaderElection": { "leaseDuration": "3s" },
        "log": { "format": "text", "filter": "info,tidegate=debug" },
    })
}

// === impl Chart ===

impl Chart {
    /// Renders the chart with these values, which are kept in `dir`.
    pub async fn render(
        cluster: &Cluster,
        namespace: &str,
        values: &Value,
        dir: &Path,
    ) -> Result<Self> {
        let helm = cluster.tools().helm.as_ref();
        let helm = helm.context("installing the chart needs --helm")?;
        let file = dir.join("values.json");
        std::fs::write(&file, values.to_string())
            .with_context(|| format!("{} cannot be written", file.display()))?;
        let rendering = Command::new(helm)
            .args(["template", RELEASE, CHART, "--namespace", namespace])
            .arg("--values")
            .arg(&file)
            .kill_on_drop(true)
            .output();
        let rendered = tokio::time::timeout(RENDER_LIMIT, rendering).await;
        let rendered = rendered
            .context("Helm did not end")?
            .context("Helm cannot be started")?;
        ensure!(
            rendered.status.success(),
            "Helm failed: {}",
            String::from_utf8_lossy(&rendered.stderr)
        );
        let text = String::from_utf8(rendered.stdout).context("Helm has rendered no text")?;
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).context("Helm has rendered no YAML")?;
        let mut objects = Vec::new();
        for document in documents.into_iter().filter(|each| !each.is_null()) {
            objects.push(serde_json::from_value(document).context("Helm has rendered no object")?);
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            objects,
        })
    }

    /// Applies every object as an installation does. The Deployment is only tried, since nothing would
    /// run its image.
    pub async fn install(&self, client: &Client) -> Result<()> {
        for object in &self.objects {
            let types = object.types.clone().context("an object names its kind")?;
            let is_tried = types.kind == "Deployment";
            let (kind, capabilities) =
                pinned_kind(client, &GroupVersionKind::try_from(&types)?).await?;
            let api: Api<DynamicObject> = match capabilities.scope {
                Scope::Cluster => Api::all_with(client.clone(), &kind),
                Scope::Namespaced => {
                    let namespace = object.namespace().unwrap_or_else(|| self.namespace.clone());
                    Api::namespaced_with(client.clone(), &namespace, &kind)
                }
            };
            let params = PatchParams {
                dry_run: is_tried,
                field_validation: Some(ValidationDirective::Strict),
                ..PatchParams::apply(FIELD_MANAGER).force()
            };
            let name = object.name_any();
            api.patch(&name, &params, &Patch::Apply(object))
                .await
                .with_context(|| format!("the {} {name} of the chart", types.kind))?;
        }
        Ok(())
    }

    /// Starts a pod of the Deployment, which is the caller's; its volumes are in `dir`.
    pub async fn start_pod(&self, cluster: &Cluster, name: &str, dir: &Path) -> Result<ChartPod> {
        let deployment = self.deployment()?;
        let pod = deployment.spec.and_then(|spec| spec.template.spec);
        let pod = pod.context("the Deployment has a template")?;
        let account = pod.service_account_name.unwrap_or_default();
        let container = pod.containers.into_iter().next();
        let container = container.context("the template has a container")?;
        let kubeconfig = cluster
            .kubeconfig(&KubeconfigSpec::new(
                name,
                User::service_account(&self.namespace, account),
            ))
            .await?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut spec = ProcessSpec::new(
            name,
            &cluster.tools().tidegate,
            dir.join(format!("{name}.log")),
        )
        .clean_env()
        .env("KUBECONFIG", kubeconfig)
        .env("HOSTNAME", name)
        .args(arguments(&container, address, &dir.join(name)));
        for variable in container.env.iter().flatten() {
            let value = match (&variable.value, &variable.value_from) {
                (Some(value), _) => value.clone(),
                (None, Some(source)) => pod_field(name, source)?,
                (None, None) => String::new(),
            };
            spec = spec.env(&variable.name, value);
        }
        let probe = container.readiness_probe.and_then(|probe| probe.http_get);
        Ok(ChartPod {
            process: spec.spawn()?,
            address,
            readiness: probe
                .and_then(|probe| probe.path)
                .context("the container has a readiness probe")?,
        })
    }

    fn deployment(&self) -> Result<Deployment> {
        let mut objects = self.objects.iter();
        let found = objects.find(|object| {
            let types = object.types.as_ref();
            types.is_some_and(|types| types.kind == "Deployment")
        });
        let found = found.context("the chart has a Deployment")?;
        Ok(serde_json::from_value(serde_json::to_value(found)?)?)
    }
}

/// The container's arguments, with the addresses and folders of a process.
fn arguments(container: &Container, address: SocketAddr, volumes: &Path) -> Vec<String> {
    let mut arguments = Vec::new();
    for argument in container.args.iter().flatten() {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        let mounts = container.volume_mounts.iter().flatten();
        let mut mounts = mounts.filter(|mount| Path::new(value).starts_with(&mount.mount_path));
        arguments.push(match mounts.next() {
            _ if name == "--listen" => format!("--listen={address}"),
            Some(_) => format!("{name}={}{value}", volumes.display()),
            None => argument.clone(),
        });
    }
    arguments
}

/// The field of a pod that a variable takes its value from.
fn pod_field(name: &str, source: &k8s_openapi::api::core::v1::EnvVarSource) -> Result<String> {
    let path = source
        .field_ref
        .as_ref()
        .map(|field| field.field_path.as_str());
    match path {
        Some("metadata.name") => Ok(name.to_owned()),
        Some("metadata.uid") => Ok(format!("uid-of-{name}")),
        other => bail!("the harness gives no pod the field {other:?}"),
    }
}

// === impl ChartPod ===

impl ChartPod {
    /// URL of its metrics.
    pub fn metrics_url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    /// Answer to its readiness probe: ready or not, and what it says.
    pub async fn readiness(&self) -> Result<(bool, String)> {
        let url = format!("http://{}{}", self.address, self.readiness);
        let answer = http_client::plain().get(url).send().await?;
        let is_ready = answer.status().is_success();
        Ok((is_ready, answer.text().await?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_a_container_has_for_itself_is_set_anew() {
        let container: Container = serde_json::from_value(json!({
            "name": "tidegate",
            "args": ["run", "--listen=0.0.0.0:8080", "--git-cache=/var/cache/tidegate/git", "--cluster-name=e2e"],
            "volumeMounts": [{ "name": "cache", "mountPath": "/var/cache/tidegate" }],
        }))
        .expect("a container");
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(
            arguments(&container, address, Path::new("/run/pod")),
            [
                "run",
                "--listen=127.0.0.1:9",
                "--git-cache=/run/pod/var/cache/tidegate/git",
                "--cluster-name=e2e",
            ]
        );
    }
}
