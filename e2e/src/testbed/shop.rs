//! Shop: the contents of a config repository with an app that a Rollout releases.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tidegate_api::route::RouteKind;

use super::NAME;
use crate::cluster::{GATEWAY_NAME, GATEWAY_NAMESPACE};

/// The file with the Deployment.
pub const APP_FILE: &str = "shop/app.yaml";

/// The file of the Service.
pub const SERVICE_FILE: &str = "shop/service.yaml";

/// The file of the Rollout.
pub const ROLLOUT_FILE: &str = "shop/rollout.yaml";

/// The file of the ConfigMap.
pub const CONFIG_FILE: &str = "shop/config.yaml";

/// Name of the ConfigMap.
pub const CONFIG: &str = "shop-config";

/// The file of the route.
pub const ROUTE_FILE: &str = "shop/route.yaml";

/// Jobs that each pod of a shop without callers takes in a second.
const WORK_RATE: u32 = 50;

/// A shop's config.
#[derive(Clone, Debug)]
pub struct Shop {
    /// Release that the Deployment runs.
    pub release: Release,
    /// Number of replicas.
    pub replicas: u32,
    /// `minReadySeconds` of the Deployment.
    pub min_ready_seconds: u32,
    /// True if its pods ask Prometheus by their annotation to be scraped.
    pub asks_for_scrapes: bool,
    /// Labels of the Deployment and the Service.
    pub labels: Value,
    /// Kind of the route that sends traffic to it; without one callers use its Service.
    pub route_kind: Option<RouteKind>,
    /// Annotations of the route.
    pub route_annotations: Value,
    /// Number of jobs that each pod takes by itself each second; a shop that does has no Service, since nobody calls
    /// it.
    pub work_rate: Option<u32>,
    /// Variables that its pods read from a ConfigMap; among them is how they behave.
    pub config: Option<Value>,
    /// The spec of the Rollout, whole.
    pub rollout: Value,
}

/// Contents of the app's template.
#[derive(Clone, Debug)]
pub struct Release {
    /// The version, which clients see.
    pub version: String,
    /// Share of its answers that are errors, from 0 to 1.
    pub error_rate: f64,
    /// Latency of its slow answers.
    pub latency_ms: u32,
    /// Share of its answers that are slow, from 0 to 1.
    pub slow_rate: f64,
    /// Image under `tidegate.dev`; some never become ready.
    pub image: &'static str,
}

// === impl Shop ===

impl Shop {
    /// Two pods of `v1`, and the steps 1, 10 and 50 %, each with a gate for errors.
    pub fn new() -> Self {
        Self {
            release: Release::good("v1"),
            replicas: 2,
            min_ready_seconds: 0,
            asks_for_scrapes: true,
            labels: json!({}),
            route_kind: Some(RouteKind::HttpRoute),
            route_annotations: json!({}),
            work_rate: None,
            config: None,
            rollout: json!({
                "workload": { "kind": "Deployment", "name": NAME },
                "traffic": { "routes": [{ "kind": "HTTPRoute", "name": NAME }] },
                "progressDeadline": "60s",
                "steps": [{ "weight": 1, "hold": "2s" }, { "weight": 10, "hold": "2s" }, { "weight": 50, "hold": "2s" }],
                "gates": [errors_gate()],
            }),
        }
    }

    /// The same shop behind a GRPCRoute.
    #[must_use]
    pub fn with_grpc(self) -> Self {
        let route_kind = RouteKind::GrpcRoute;
        let routes = json!([{ "kind": route_kind, "name": NAME }]);
        Self {
            route_kind: Some(route_kind),
            ..self.with_rollout(json!({ "traffic": { "routes": routes } }))
        }
    }

    /// The same shop without a route: replicas share its traffic.
    #[must_use]
    pub fn without_route(self) -> Self {
        Self {
            route_kind: None,
            ..self.with_rollout(json!({ "traffic": { "replicas": {} } }))
        }
    }

    /// The same shop as one that nobody calls: its pods take work by themselves.
    #[must_use]
    pub fn without_service(self) -> Self {
        Self {
            route_kind: None,
            work_rate: Some(WORK_RATE),
            ..self.with_rollout(json!({ "traffic": { "replicas": { "service": "None" } } }))
        }
    }

    /// The same shop whose pods read these variables from a ConfigMap.
    #[must_use]
    pub fn with_config(&self, variables: Value) -> Self {
        Self {
            config: Some(variables),
            ..self.clone()
        }
    }

    /// The same shop with another release.
    #[must_use]
    pub fn with(&self, release: Release) -> Self {
        Self {
            release,
            ..self.clone()
        }
    }

    /// The same shop with fields of the Rollout's spec replaced.
    #[must_use]
    pub fn with_rollout(mut self, more: Value) -> Self {
        if let (Some(spec), Value::Object(more)) = (self.rollout.as_object_mut(), more) {
            spec.extend(more);
        }
        self
    }

    /// The version that its pods say they are.
    pub fn version(&self) -> &str {
        let of_config = self
            .config
            .as_ref()
            .and_then(|config| config["VERSION"].as_str());
        of_config.unwrap_or(&self.release.version)
    }

    /// The files of the repository.
    pub fn files(&self, namespace: &str) -> Vec<(String, String)> {
        let route = self.route_kind.map(|kind| {
            let mut route = route(kind, namespace);
            route["metadata"]["annotations"] = self.route_annotations.clone();
            (ROUTE_FILE.to_owned(), yaml(&route))
        });
        let mut files = vec![
            (APP_FILE.to_owned(), self.app()),
            (ROLLOUT_FILE.to_owned(), yaml(&self.rollout())),
        ];
        if self.work_rate.is_none() {
            files.push((SERVICE_FILE.to_owned(), yaml(&self.service())));
        }
        files.extend(route);
        if let Some(variables) = &self.config {
            files.push((CONFIG_FILE.to_owned(), yaml(&config(variables))));
        }
        files
    }

    /// The Deployment as a person writes it: with comments, which a restore has to leave alone.
    fn app(&self) -> String {
        let Self {
            release,
            replicas,
            min_ready_seconds,
            asks_for_scrapes,
            labels,
            ..
        } = self;
        let work = match self.work_rate {
            Some(rate) => format!("        - {{name: WORK_RATE, value: \"{rate}\"}}\n"),
            None => String::new(),
        };
        let behavior = match self.config {
            Some(_) => format!("        envFrom: [{{configMapRef: {{name: {CONFIG}}}}}]\n"),
            None => format!(
                "        env:\n        # How it behaves.\n        \
                 - {{name: ERROR_RATE, value: \"{}\"}}\n        - {{name: LATENCY_MS, value: \"{}\"}}\n        \
                 - {{name: SLOW_RATE, value: \"{}\"}}\n",
                release.error_rate, release.latency_ms, release.slow_rate
            ),
        };
        let mut text = String::new();
        let _infallible = write!(
            text,
            r#"# The shop's front end. Ask #team-shop before you change it.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {NAME}
  labels: {labels}
spec:
  replicas: {replicas}  # two are enough until Christmas
  minReadySeconds: {min_ready_seconds}
  selector:
    matchLabels: {{app: {NAME}}}
  template:
    metadata:
      labels:
        app: {NAME}
      annotations:
        prometheus.io/scrape: "{asks_for_scrapes}"
        prometheus.io/port: "9898"
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: app
        image: tidegate.dev/{image}:{version}
{behavior}{work}        readinessProbe:
          httpGet: {{path: /readyz, port: 9898}}
"#,
            image = release.image,
            version = release.version,
        );
        text
    }

    fn service(&self) -> Value {
        let mut service = service(NAME);
        service["metadata"]["labels"] = self.labels.clone();
        if self.route_kind == Some(RouteKind::GrpcRoute) {
            service["spec"]["ports"][0]["appProtocol"] = json!("kubernetes.io/h2c");
        }
        service
    }

    fn rollout(&self) -> Value {
        json!({
            "apiVersion": "tidegate.io/v1alpha1",
            "kind": "Rollout",
            "metadata": { "name": NAME },
            "spec": self.rollout,
        })
    }
}

impl Default for Shop {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Release ===

impl Release {
    /// A version without faults.
    pub fn good(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            error_rate: 0.0,
            latency_ms: 0,
            slow_rate: 1.0,
            image: "demo-app",
        }
    }

    /// A version of whose answers a fifth are errors.
    pub fn bad(version: &str) -> Self {
        Self {
            error_rate: 0.2,
            ..Self::good(version)
        }
    }
}

fn route(kind: RouteKind, namespace: &str) -> Value {
    json!({
        "apiVersion": format!("{}/{}", kind.group(), kind.version()),
        "kind": kind,
        "metadata": { "name": NAME },
        "spec": {
            "parentRefs": [{ "name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE }],
            "hostnames": [host(namespace)],
            "rules": [{ "backendRefs": [{ "name": NAME, "port": 80 }] }],
        },
    })
}

fn config(variables: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": CONFIG },
        "data": variables,
    })
}

/// Host name of the shop of a namespace.
pub fn host(namespace: &str) -> String {
    format!("{namespace}.example.com")
}

/// A Service that selects the app's pods.
pub fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name },
        "spec": { "selector": { "app": NAME }, "ports": [{ "name": "http", "port": 80, "targetPort": 9898 }] },
    })
}

/// At most 5 % of the canary's answers are errors; no error yet is none.
pub fn errors_gate() -> Value {
    let total =
        r#"sum(rate(http_requests_total{namespace="{{namespace}}",pod=~"{{pods}}"}[{{window}}]))"#;
    let bad = r#"sum(rate(http_requests_total{namespace="{{namespace}}",pod=~"{{pods}}",code=~"5.."}[{{window}}]))"#;
    json!({
        "name": "errors",
        "interval": "500ms",
        "maxSampleAge": "10s",
        "threshold": { "query": format!("({bad} or {total} * 0) / {total}"), "max": 0.05 },
    })
}

/// JSON is YAML.
fn yaml(object: &Value) -> String {
    let mut text = serde_json::to_string_pretty(object).expect("a JSON value has a text");
    text.push('\n');
    text
}
