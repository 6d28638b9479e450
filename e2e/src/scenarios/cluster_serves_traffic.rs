//! The cluster itself: two versions behind one route get the shares that it says, Prometheus finds
//! their pods, and the audit log says who did what.
//!
//! Tidegate has no part in it. Where this fails, nothing that the other scenarios say counts.

use std::{fs, num::NonZeroU32, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
};
use kube::{
    Api, Resource,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{GroupVersionKind, NamespaceResourceScope},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    cluster::{GATEWAY_NAME, GATEWAY_NAMESPACE, KubeconfigSpec, User},
    eventually::until_true,
    http_client,
    load::{LoadSpec, Report},
    scenario::{Context, Scenario, scenario},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(cluster_serves_traffic, run),
    scenario!(traefik traefik_serves_traffic, run),
];

const HOST: &str = "hello.example.com";
const VERSIONS: [&str; 2] = ["one", "two"];
const POD_PORT: u16 = 9898;
const RATE: NonZeroU32 = NonZeroU32::new(300).expect("not zero");
/// Enough to tell a tenth from a fifth.
const MANY: u32 = 1000;
/// Enough to see a version that gets a tenth, most of the time.
const SOME: u32 = 60;
/// The chance that a share of a gateway that is right looks wrong.
const FALSE_ALARM: f64 = 1e-6;
const LIMIT: Duration = Duration::from_secs(30);

/// Tries it.
async fn run(context: Context) -> Result<()> {
    create_objects(&context).await?;
    gateway_serves(&context).await?;
    let report = requests(&context, MANY).await;
    let failures = report.failures();
    ensure!(failures.is_empty(), "requests failed: {failures:?}");
    let share = report.share("two");
    ensure!(
        share.is_plausible(0.1, FALSE_ALARM),
        "a tenth was to reach the second version, not {share:?}"
    );

    move_all_to(&context, "one").await?;
    until_true("no request reaches the second version", LIMIT, || async {
        let versions = requests(&context, SOME).await;
        let versions = versions.versions();
        Ok(versions.keys().copied().eq(["one"]))
    })
    .await?;
    let versions = requests(&context, MANY).await;
    let versions = versions.versions();
    ensure!(
        versions.keys().copied().eq(["one"]),
        "the second version was to get nothing more, and yet: {versions:?}"
    );

    for version in VERSIONS {
        prometheus_counts(&context, version).await?;
    }
    audit_log_has_the_route(&context)?;
    rbac_binds(&context).await
}

async fn create_objects(context: &Context) -> Result<()> {
    for version in VERSIONS {
        create::<Deployment>(context, deployment(version)).await?;
        create::<Service>(context, service(version)).await?;
    }
    let route: DynamicObject = serde_json::from_value(route())?;
    routes(context)
        .create(&PostParams::default(), &route)
        .await
        .context("the HTTPRoute cannot be created")?;
    Ok(())
}

async fn create<K>(context: &Context, object: Value) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let object: K = serde_json::from_value(object)?;
    Api::<K>::namespaced(context.client(), &context.namespace)
        .create(&PostParams::default(), &object)
        .await
        .with_context(|| format!("the {} cannot be created", K::kind(&())))?;
    Ok(())
}

fn routes(context: &Context) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
    let resource = ApiResource::from_gvk(&kind);
    Api::namespaced_with(context.client(), &context.namespace, &resource)
}

/// Waits until both versions answer.
async fn gateway_serves(context: &Context) -> Result<()> {
    until_true(
        "both versions answer through the gateway",
        LIMIT,
        || async {
            let report = requests(context, SOME).await;
            let all = report.failures().is_empty() && report.versions().len() == VERSIONS.len();
            Ok(all)
        },
    )
    .await
}

async fn requests(context: &Context, count: u32) -> Report {
    let spec = LoadSpec::new(context.cluster.gateway_addr(), HOST, RATE);
    let time = Duration::from_secs(1) * count / RATE.get();
    spec.for_a_time(time).start().finished().await
}

async fn move_all_to(context: &Context, version: &str) -> Result<()> {
    let weights = VERSIONS.map(|each| (each, u8::from(each == version)));
    let patch = Patch::Merge(json!({ "spec": { "rules": rules(weights) } }));
    routes(context)
        .patch("hello", &PatchParams::default(), &patch)
        .await
        .context("the HTTPRoute cannot be patched")?;
    Ok(())
}

async fn prometheus_counts(context: &Context, version: &str) -> Result<()> {
    let client = http_client::plain();
    let url = format!("{}/api/v1/query", context.cluster.prometheus_url());
    let query = format!(
        r#"sum(http_requests_total{{namespace="{}",pod=~"{version}-.*"}}) > 0"#,
        context.namespace
    );
    let what = format!("Prometheus counts the requests of version {version}");
    until_true(&what, LIMIT, || async {
        let answer = client.get(&url).query(&[("query", &query)]).send().await?;
        let answer: Value = answer.error_for_status()?.json().await?;
        Ok(answer["data"]["result"].get(0).is_some())
    })
    .await
}

fn audit_log_has_the_route(context: &Context) -> Result<()> {
    let log = fs::read_to_string(context.cluster.audit_log())?;
    let found = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .any(|event| {
            event["verb"] == "patch"
                && event["user"]["username"] == "admin"
                && event["objectRef"]["resource"] == "httproutes"
                && event["objectRef"]["namespace"] == context.namespace.as_str()
                && event["requestObject"]["spec"]["rules"].is_array()
        });
    ensure!(found, "the audit log does not say who changed the route");
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

fn deployment(version: &str) -> Value {
    json!({
        "metadata": { "name": version },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": version } },
            "template": {
                "metadata": {
                    "labels": { "app": version },
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": POD_PORT.to_string(),
                    },
                },
                "spec": { "containers": [{
                    "name": "app",
                    "image": format!("tidegate.dev/demo-app:{version}"),
                    "readinessProbe": { "httpGet": { "path": "/readyz", "port": POD_PORT } },
                }] },
            },
        },
    })
}

fn service(version: &str) -> Value {
    json!({
        "metadata": { "name": version },
        "spec": {
            "selector": { "app": version },
            "ports": [{ "port": 80, "targetPort": POD_PORT }],
        },
    })
}

fn route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": "hello" },
        "spec": {
            "parentRefs": [{ "name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE }],
            "hostnames": [HOST],
            "rules": rules([("one", 90), ("two", 10)]),
        },
    })
}

fn rules(weights: [(&str, u8); 2]) -> Value {
    let backends =
        weights.map(|(name, weight)| json!({ "name": name, "port": 80, "weight": weight }));
    json!([{ "backendRefs": backends }])
}
