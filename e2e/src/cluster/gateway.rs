//! The Gateway API: Contour as its controller, Envoy as its data plane, and one Gateway.
//!
//! Contour puts a listener on port 80 at Envoy's port 8080, on all addresses; so no pod can listen
//! there.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use super::{
    Options,
    credentials::Credentials,
    kubeconfig::{KubeconfigSpec, User},
    manifests::{FIELD_MANAGER, apply_crds},
    network::NODE_ADDRESS,
    part::{answers, part, start},
};
use crate::{http_client, process::ChildProcess};

/// The Gateway that routes of every namespace may name as their parent.
pub const GATEWAY_NAME: &str = "ingress";
/// The namespace in which it lies.
pub const GATEWAY_NAMESPACE: &str = "gateway";
/// The class of Contour's Gateways.
pub const GATEWAY_CLASS: &str = "contour";
/// Where its listener answers.
pub const GATEWAY_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(NODE_ADDRESS), 8080);

/// Contour and Envoy.
#[derive(Debug)]
pub(super) struct Gateway {
    contour: ChildProcess,
    envoy: ChildProcess,
}

// === impl Gateway ===

impl Gateway {
    /// Applies the CRDs, makes the Gateway, and starts both programs.
    pub(super) async fn start(
        options: &Options,
        credentials: &Credentials,
        admin: &Client,
    ) -> Result<Self> {
        apply_crds(admin, &options.tools.contour_crds).await?;
        create_gateway(admin).await?;
        let contour = start_contour(options, credentials).await?;
        let envoy = start_envoy(options).await?;
        Ok(Self { contour, envoy })
    }

    pub(super) fn into_parts(self) -> [ChildProcess; 2] {
        [self.envoy, self.contour]
    }
}

async fn create_gateway(admin: &Client) -> Result<()> {
    let namespace: Namespace = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": GATEWAY_NAMESPACE },
    }))?;
    Api::<Namespace>::all(admin.clone())
        .patch(
            GATEWAY_NAMESPACE,
            &PatchParams::apply(FIELD_MANAGER),
            &Patch::Apply(namespace),
        )
        .await
        .context("the Gateway's namespace cannot be created")?;
    let class = json!({ "spec": { "controllerName": "projectcontour.io/gateway-controller" } });
    let gateway = json!({
        "spec": {
            "gatewayClassName": GATEWAY_CLASS,
            "listeners": [{
                "name": "http",
                "protocol": "HTTP",
                "port": 80,
                "allowedRoutes": { "namespaces": { "from": "All" } },
            }],
        },
    });
    apply(admin, None, "GatewayClass", GATEWAY_CLASS, class).await?;
    apply(
        admin,
        Some(GATEWAY_NAMESPACE),
        "Gateway",
        GATEWAY_NAME,
        gateway,
    )
    .await
}

async fn apply(
    admin: &Client,
    namespace: Option<&str>,
    kind: &str,
    name: &str,
    mut object: Value,
) -> Result<()> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "gateway.networking.k8s.io",
        "v1",
        kind,
    ));
    object["apiVersion"] = json!(resource.api_version);
    object["kind"] = json!(kind);
    object["metadata"] = json!({ "name": name });
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(admin.clone(), namespace, &resource),
        None => Api::all_with(admin.clone(), &resource),
    };
    api.patch(
        name,
        &PatchParams::apply(FIELD_MANAGER),
        &Patch::Apply(object),
    )
    .await
    .with_context(|| format!("the {kind} {name} cannot be applied"))?;
    Ok(())
}

async fn start_contour(options: &Options, credentials: &Credentials) -> Result<ChildProcess> {
    let kubeconfig = credentials.kubeconfig(&KubeconfigSpec::new("contour", User::Contour))?;
    let config = options.dir.join("contour.yaml");
    let reference = format!(
        "gateway:\n  gatewayRef: {{ namespace: {GATEWAY_NAMESPACE}, name: {GATEWAY_NAME} }}\n"
    );
    fs::write(&config, reference)
        .with_context(|| format!("{} cannot be written", config.display()))?;
    let spec = part("contour", &options.tools.contour, &options.dir)
        .args(["serve", "--insecure", "--disable-leader-election"])
        .args(["--xds-address=127.0.0.1", "--xds-port=8001"])
        .args(["--health-address=127.0.0.1", "--health-port=8000"])
        .args(["--http-address=127.0.0.1", "--http-port=8003"])
        .arg(format!("--ingress-status-address={NODE_ADDRESS}"))
        .args([
            "--kubernetes-client-qps=500",
            "--kubernetes-client-burst=1000",
        ])
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--config-path={}", config.display()));
    start(
        spec,
        answers(&http_client::plain(), "http://127.0.0.1:8000/healthz"),
    )
    .await
}

async fn start_envoy(options: &Options) -> Result<ChildProcess> {
    let mut bootstrap = part("contour-bootstrap", &options.tools.contour, &options.dir)
        .args(["bootstrap", "envoy.json"])
        .args(["--xds-address=127.0.0.1", "--xds-port=8001"])
        // Relative to Envoy's working directory: a socket's path may be no longer than 108 bytes.
        .arg("--admin-address=envoy-admin.sock")
        .spawn()?;
    anyhow::ensure!(
        bootstrap.wait().await?.success(),
        "`contour bootstrap` failed:\n{}",
        bootstrap.log_tail()
    );
    let spec = part("envoy", &options.tools.envoy, &options.dir)
        .args(["--config-path", "envoy.json"])
        .args(["--service-cluster", "e2e", "--service-node", "envoy"])
        .args(["--concurrency", "2", "--log-level", "warning"])
        // It shares memory by a number with any other Envoy of the machine.
        .arg("--disable-hot-restart");
    start(
        spec,
        answers(&http_client::plain(), "http://127.0.0.1:8002/ready"),
    )
    .await
}
