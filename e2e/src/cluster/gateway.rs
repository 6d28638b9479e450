//! The Gateway API: its CRDs, one Gateway, and one of the controllers that can serve it.
//!
//! A controller is one file with its class, the port of its listener and its programs. Each serves
//! the Gateway at the same address, at which no pod can listen.

mod contour;
mod traefik;

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

pub use self::{contour::Contour, traefik::Traefik};
use super::{
    Options,
    credentials::Credentials,
    manifests::{FIELD_MANAGER, apply_crds},
    network::NODE_ADDRESS,
};
use crate::process::ChildProcess;

/// The Gateway that routes of every namespace may name as their parent.
pub const GATEWAY_NAME: &str = "ingress";
/// The namespace in which it lies.
pub const GATEWAY_NAMESPACE: &str = "gateway";
/// Address at which its listener answers.
pub const GATEWAY_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(NODE_ADDRESS), 8080);

/// Gateway that a cluster gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GatewayKind {
    /// Contour with Envoy.
    Contour,
    /// Traefik.
    Traefik,
}

/// The same with its programs.
#[derive(Clone, Debug)]
pub enum Gateway {
    /// Contour with Envoy.
    Contour(Contour),
    /// Traefik.
    Traefik(Traefik),
}

/// Objects by which a controller knows the Gateway as its own.
struct GatewayClass {
    name: &'static str,
    controller: &'static str,
    /// Port of the listener, which the controller puts at [`GATEWAY_ADDRESS`].
    port: u16,
}

// === impl GatewayKind ===

impl GatewayKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Contour, Self::Traefik];

    /// Time from its word that it has accepted a route to the last request that does not go by it, on a
    /// busy machine.
    pub fn lag(self) -> Duration {
        match self {
            Self::Contour => Duration::ZERO,
            // It writes the status first: 1.5 s, with six processes waiting for each core.
            Self::Traefik => Duration::from_secs(3),
        }
    }
}

// === impl Gateway ===

impl Gateway {
    /// Applies the CRDs, makes the Gateway, and starts the programs.
    pub(super) async fn start(
        options: &Options,
        credentials: &Credentials,
        admin: &Client,
    ) -> Result<Vec<ChildProcess>> {
        let gateway = options.tools.programs_of(options.gateway)?;
        apply_crds(admin, gateway.crds()).await?;
        create_gateway(admin, gateway.class()).await?;
        match gateway {
            Self::Contour(contour) => contour.start(options, credentials).await,
            Self::Traefik(traefik) => traefik.start(options, credentials).await,
        }
    }

    fn crds(&self) -> &Path {
        match self {
            Self::Contour(contour) => &contour.crds,
            Self::Traefik(traefik) => &traefik.crds,
        }
    }

    fn class(&self) -> &'static GatewayClass {
        match self {
            Self::Contour(_) => &contour::CLASS,
            Self::Traefik(_) => &traefik::CLASS,
        }
    }
}

async fn create_gateway(admin: &Client, class: &GatewayClass) -> Result<()> {
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
    let gateway_class = json!({ "spec": { "controllerName": class.controller } });
    let gateway = json!({
        "spec": {
            "gatewayClassName": class.name,
            "listeners": [{
                "name": "http",
                "protocol": "HTTP",
                "port": class.port,
                "allowedRoutes": { "namespaces": { "from": "All" } },
            }],
        },
    });
    apply(admin, None, "GatewayClass", class.name, gateway_class).await?;
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
