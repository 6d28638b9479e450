//! The metrics that the controller manager's autoscalers ask for, behind the API server's aggregator.
//!
//! ```text
//! autoscaler ─▶ API server ─ APIService ─▶ Service (an external name) ─▶ this ─▶ Prometheus
//! ```
//!
//! Pods are processes that share one machine, so what they really use says little. A pod's CPU is what
//! it answers: so much for each request per second. The metrics of others are requests per second, too,
//! of all pods with the labels that the autoscaler names.

use std::{collections::BTreeMap, fmt::Write as _, io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, Service},
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
    server::TlsStream,
};

use super::{credentials::Credentials, network::NODE_ADDRESS};
use crate::http_client;

/// Name of the Service, as the API server expects it in the certificate.
pub(super) const SERVER_NAME: &str = "metrics-api.kube-system.svc";

const SERVICE: &str = "metrics-api";
const NAMESPACE: &str = "kube-system";

/// CPU that a request per second takes, in thousandths.
const CPU_OF_A_REQUEST: f64 = 10.0;

/// Counts the requests of a pod, and is there before the first one.
const REQUESTS: &str = "http_request_duration_seconds_count";

/// Time over which requests are counted: four scrapes.
const WINDOW: &str = "4s";

/// Time that a client has for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A running server; it ends when dropped.
#[derive(Debug)]
pub(super) struct MetricsApi {
    serving: JoinHandle<()>,
}

/// Where pods and metrics are looked up.
struct Sources {
    pods: Client,
    prometheus: String,
    http: reqwest::Client,
}

/// Query of a request: the pods or series that it is about.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Selection {
    label_selector: String,
}

/// Failure to answer, which an autoscaler tries again.
struct Unavailable(anyhow::Error);

struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

// === impl MetricsApi ===

impl MetricsApi {
    /// Starts it at a free port and tells the API server of it, which takes a second or so to ask it.
    pub(super) async fn start(
        credentials: &Credentials,
        admin: &Client,
        prometheus: String,
    ) -> Result<Self> {
        let listener = TlsListener::bind(credentials).await?;
        let port = listener
            .local_addr()
            .context("no port for the metrics API")?
            .port();
        let sources = Arc::new(Sources {
            pods: admin.clone(),
            prometheus,
            http: http_client::plain(),
        });
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router(sources)).await {
                tracing::error!(%error, "the metrics API is not served any more");
            }
        });
        register(credentials, admin, port).await?;
        Ok(Self { serving })
    }
}

impl Drop for MetricsApi {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn register(credentials: &Credentials, admin: &Client, port: u16) -> Result<()> {
    let service: Service = serde_json::from_value(json!({
        "metadata": { "name": SERVICE },
        "spec": { "type": "ExternalName", "externalName": NODE_ADDRESS },
    }))?;
    let params = PostParams::default();
    Api::namespaced(admin.clone(), NAMESPACE)
        .create(&params, &service)
        .await
        .context("the Service of the metrics API cannot be created")?;
    let authority = std::fs::read(credentials.authority())
        .context("the authority's certificate cannot be read")?;
    for group in ["metrics.k8s.io", "external.metrics.k8s.io"] {
        let api: APIService = serde_json::from_value(json!({
            "metadata": { "name": format!("v1beta1.{group}") },
            "spec": {
                "group": group,
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": { "name": SERVICE, "namespace": NAMESPACE, "port": port },
                "caBundle": BASE64_STANDARD.encode(&authority),
            },
        }))?;
        Api::all(admin.clone())
            .create(&params, &api)
            .await
            .with_context(|| format!("the APIService of {group} cannot be created"))?;
    }
    Ok(())
}

fn router(sources: Arc<Sources>) -> Router {
    let of_pods = json!({ "name": "pods", "kind": "PodMetrics", "singularName": "", "namespaced": true,
        "verbs": ["get", "list"] });
    Router::new()
        .route(
            "/apis/metrics.k8s.io/v1beta1",
            get(resources("metrics.k8s.io", &json!([of_pods]))),
        )
        .route(
            "/apis/external.metrics.k8s.io/v1beta1",
            get(resources("external.metrics.k8s.io", &json!([]))),
        )
        .route(
            "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods",
            get(pods),
        )
        .route(
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}",
            get(external),
        )
        .with_state(sources)
}

/// Resources of a group, as discovery asks for them.
fn resources(group: &str, resources: &Value) -> Json<Value> {
    Json(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{group}/v1beta1"),
        "resources": resources,
    }))
}

async fn pods(
    State(sources): State<Arc<Sources>>,
    Path(namespace): Path<String>,
    Query(selection): Query<Selection>,
) -> Result<Json<Value>, Unavailable> {
    let pods: Api<Pod> = Api::namespaced(sources.pods.clone(), &namespace);
    let params = ListParams::default().labels(&selection.label_selector);
    let pods = pods.list(&params).await?;
    let rates = sources.rates(&namespace, "").await?;
    let measured = pods.iter().filter_map(|pod| {
        let rate = rates.get(&pod.name_any())?;
        Some(pod_metrics(pod, &namespace, rate * CPU_OF_A_REQUEST))
    });
    Ok(Json(json!({
        "kind": "PodMetricsList",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": measured.collect::<Vec<_>>(),
    })))
}

/// The pod's first container uses all of it.
fn pod_metrics(pod: &Pod, namespace: &str, thousandths: f64) -> Value {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let used = containers.take(1).map(|container| {
        let usage = json!({ "cpu": format!("{thousandths:.0}m"), "memory": "64Mi" });
        json!({ "name": container.name, "usage": usage })
    });
    json!({
        "metadata": { "name": pod.name_any(), "namespace": namespace },
        "timestamp": now(),
        "window": WINDOW,
        "containers": used.collect::<Vec<_>>(),
    })
}

/// Requests per second, whatever the metric's name is: its labels say which.
async fn external(
    State(sources): State<Arc<Sources>>,
    Path((namespace, metric)): Path<(String, String)>,
    Query(selection): Query<Selection>,
) -> Result<Json<Value>, Unavailable> {
    let rates = sources.rates(&namespace, &selection.label_selector).await?;
    let thousandths = rates.values().sum::<f64>() * 1000.0;
    let value = json!({
        "metricName": metric,
        "metricLabels": {},
        "timestamp": now(),
        "value": format!("{thousandths:.0}m"),
    });
    let known = if rates.is_empty() {
        json!([])
    } else {
        json!([value])
    };
    Ok(Json(json!({
        "kind": "ExternalMetricValueList",
        "apiVersion": "external.metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": known,
    })))
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

// === impl Sources ===

impl Sources {
    /// Requests per second of each pod of a namespace, by the series with these labels.
    async fn rates(&self, namespace: &str, selector: &str) -> Result<BTreeMap<String, f64>> {
        let mut matchers = format!("namespace=\"{namespace}\"");
        for (label, value) in selector.split(',').filter_map(|part| part.split_once('=')) {
            let _infallible = write!(matchers, ",{label}=\"{value}\"");
        }
        // A pod that two jobs scrape counts once.
        let query = format!("max by (pod) (rate({REQUESTS}{{{matchers}}}[{WINDOW}]))");
        let url = format!("{}/api/v1/query", self.prometheus);
        let answer = self
            .http
            .get(url)
            .query(&[("query", &query)])
            .send()
            .await?;
        let answer: Value = answer.error_for_status()?.json().await?;
        let series = answer["data"]["result"].as_array().into_iter().flatten();
        let rates = series.filter_map(|series| {
            let pod = series["metric"]["pod"].as_str()?.to_owned();
            let rate = series["value"][1].as_str()?.parse().ok()?;
            Some((pod, rate))
        });
        Ok(rates.collect())
    }
}

// === impl Unavailable ===

impl<E: Into<anyhow::Error>> From<E> for Unavailable {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{:#}", self.0)).into_response()
    }
}

// === impl TlsListener ===

impl TlsListener {
    /// Listens with the API server's certificate, which has our name in it, too.
    async fn bind(credentials: &Credentials) -> Result<Self> {
        let (certificate, key) = (credentials.server_certificate(), credentials.server_key());
        let certificate = CertificateDer::from_pem_file(certificate)
            .context("the API server's certificate cannot be read")?;
        let key = PrivateKeyDer::from_pem_file(key).context("its key cannot be read")?;
        http_client::install_tls_provider();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .context("the API server's certificate is none for a server")?;
        let tcp = TcpListener::bind((NODE_ADDRESS, 0))
            .await
            .context("no port for the metrics API")?;
        Ok(Self {
            tcp,
            tls: TlsAcceptor::from(Arc::new(config)),
        })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, from) = Listener::accept(&mut self.tcp).await;
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, self.tls.accept(stream)).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
