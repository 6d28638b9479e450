//! The cluster itself: a Deployment becomes a pod, its route serves, Prometheus finds it, and the
//! audit log says who did what.
//!
//! Tidegate has no part in it. Where this fails, nothing that the other scenarios say counts. The
//! pod is scheduled to a Node of the scenario's own and served by this process, so that the node
//! agent has no part in it either.

use std::{fs, net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use axum::{Router, routing::get};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    cluster::{GATEWAY_NAME, GATEWAY_NAMESPACE, KubeconfigSpec, User, register_node},
    eventually::eventually,
    http_client,
    scenario::Context,
};

const NAME: &str = "hello";
const HOST: &str = "hello.example.com";
const NODE: &str = "cluster-serves-traffic";
const POD_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 255, 1);
const POD_PORT: u16 = 9898;
const LIMIT: Duration = Duration::from_secs(30);

/// Tries it.
pub(super) async fn run(context: Context) -> Result<()> {
    register_node(&context.client(), NODE).await?;
    create_objects(&context).await?;
    let pod = scheduled_pod(&context).await?;
    let server = tokio::spawn(serve());
    become_ready(&context, &pod).await?;
    gateway_serves(&context).await?;
    prometheus_scrapes(&context, &pod).await?;
    audit_log_has_the_route(&context)?;
    rbac_binds(&context).await?;
    server.abort();
    Ok(())
}

async fn create_objects(context: &Context) -> Result<()> {
    let (client, namespace) = (context.client(), context.namespace.as_str());
    let params = PostParams::default();
    let deployment: Deployment = serde_json::from_value(deployment())?;
    Api::namespaced(client.clone(), namespace)
        .create(&params, &deployment)
        .await
        .context("the Deployment")?;
    let service: Service = serde_json::from_value(service())?;
    Api::namespaced(client.clone(), namespace)
        .create(&params, &service)
        .await
        .context("the Service")?;
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
    let route: DynamicObject = serde_json::from_value(route())?;
    Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind))
        .create(&params, &route)
        .await
        .context("the HTTPRoute")?;
    Ok(())
}

/// The pod that the control plane makes of the Deployment.
async fn scheduled_pod(context: &Context) -> Result<String> {
    let pods: Api<Pod> = Api::namespaced(context.client(), &context.namespace);
    eventually("the Deployment has a scheduled pod", LIMIT, || async {
        let list = pods.list(&ListParams::default()).await?;
        let scheduled = list.items.iter().find(|pod| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            node == Some(NODE)
        });
        Ok(scheduled.map(ResourceExt::name_any))
    })
    .await
}

/// What the pod's program would do.
async fn serve() -> Result<()> {
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/metrics", get(|| async { "hello_up 1\n" }));
    let listener = TcpListener::bind((POD_ADDRESS, POD_PORT)).await?;
    axum::serve(listener, router).await?;
    Ok(())
}

/// What the pod's node would say.
async fn become_ready(context: &Context, pod: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(context.client(), &context.namespace);
    let status = json!({ "status": {
        "phase": "Running",
        "podIP": POD_ADDRESS,
        "podIPs": [{ "ip": POD_ADDRESS }],
        "conditions": [{ "type": "Ready", "status": "True" }],
    }});
    pods.patch_status(pod, &PatchParams::default(), &Patch::Merge(status))
        .await
        .context("the pod's status")?;
    Ok(())
}

async fn gateway_serves(context: &Context) -> Result<()> {
    let client = http_client::plain();
    let url = format!("http://{}/", context.cluster.gateway_addr());
    eventually("the gateway serves the route", LIMIT, || async {
        let answer = client.get(&url).header("host", HOST).send().await?;
        Ok((answer.error_for_status()?.text().await? == "hello").then_some(()))
    })
    .await
}

async fn prometheus_scrapes(context: &Context, pod: &str) -> Result<()> {
    let client = http_client::plain();
    let url = format!("{}/api/v1/query", context.cluster.prometheus_url());
    let query = format!(
        r#"hello_up{{namespace="{}",pod="{pod}"}}"#,
        context.namespace
    );
    eventually("Prometheus has the pod's metric", LIMIT, || async {
        let answer = client.get(&url).query(&[("query", &query)]).send().await?;
        let answer: Value = answer.error_for_status()?.json().await?;
        Ok((answer["data"]["result"][0]["value"][1] == "1").then_some(()))
    })
    .await
}

fn audit_log_has_the_route(context: &Context) -> Result<()> {
    let log = fs::read_to_string(context.cluster.audit_log())?;
    let found = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .any(|event| {
            event["verb"] == "create"
                && event["user"]["username"] == "admin"
                && event["objectRef"]["resource"] == "httproutes"
                && event["objectRef"]["namespace"] == context.namespace.as_str()
                && event["requestObject"]["metadata"]["name"] == NAME
        });
    ensure!(found, "the audit log does not say who made the route");
    Ok(())
}

/// A service account without a role is known, and may read nothing.
async fn rbac_binds(context: &Context) -> Result<()> {
    let user = User::service_account(&context.namespace, "nobody");
    let spec = KubeconfigSpec::new("nobody", user);
    let nobody = context.cluster.client(&spec).await?;
    let pods: Api<Pod> = Api::namespaced(nobody, &context.namespace);
    let refused = matches!(
        pods.list(&ListParams::default()).await,
        Err(kube::Error::Api(status)) if status.is_forbidden()
    );
    ensure!(refused, "a service account without a role can list pods");
    Ok(())
}

fn deployment() -> Value {
    json!({
        "metadata": { "name": NAME },
        "spec": {
            "selector": { "matchLabels": { "app": NAME } },
            "template": {
                "metadata": {
                    "labels": { "app": NAME },
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": POD_PORT.to_string(),
                    },
                },
                "spec": {
                    "nodeSelector": { "kubernetes.io/hostname": NODE },
                    "containers": [{ "name": NAME, "image": NAME }],
                },
            },
        },
    })
}

fn service() -> Value {
    json!({
        "metadata": { "name": NAME },
        "spec": {
            "selector": { "app": NAME },
            "ports": [{ "port": 80, "targetPort": POD_PORT }],
        },
    })
}

fn route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": NAME },
        "spec": {
            "parentRefs": [{ "name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE }],
            "hostnames": [HOST],
            "rules": [{ "backendRefs": [{ "name": NAME, "port": 80 }] }],
        },
    })
}
