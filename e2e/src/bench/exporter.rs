//! Metrics of pods that run nothing: one address that tells, of each fake pod, how many requests it would
//! have answered. Canaries fail on demand.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result};
use axum::{Router, extract::State, routing::get};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store},
        watcher::{self, watcher},
    },
};
use tidegate_api::names;
use tokio::{net::TcpListener, task::JoinHandle};

use super::estate::APP_LABEL;
use crate::cluster::NODE_ADDRESS;

/// Requests per second of each pod.
const RATE: f64 = 10.0;

/// Share of them that fails where a canary is broken.
const ERRORS: f64 = 0.5;

/// A server of the metrics; it ends when dropped.
#[derive(Debug)]
pub(super) struct Exporter {
    address: SocketAddr,
    broken: Arc<Mutex<Broken>>,
    tasks: [JoinHandle<()>; 2],
}

/// Apps whose canaries fail, by namespace and name, each since when.
type Broken = HashMap<(String, String), Timestamp>;

#[derive(Clone)]
struct Metrics {
    pods: Store<Pod>,
    broken: Arc<Mutex<Broken>>,
}

// === impl Exporter ===

impl Exporter {
    /// Starts it at a port that is free.
    pub(super) async fn serve(client: Client) -> Result<Self> {
        let (pods, writer) = reflector::store();
        let watched = watcher(
            Api::<Pod>::all(client),
            watcher::Config::default().labels(APP_LABEL),
        );
        let watching = watched
            .default_backoff()
            .reflect(writer)
            .for_each(|_| std::future::ready(()));
        let broken = Arc::<Mutex<Broken>>::default();
        let listener = TcpListener::bind((NODE_ADDRESS, 0))
            .await
            .context("no port for the metrics")?;
        let address = listener.local_addr().context("no port for the metrics")?;
        let router = Router::new()
            .route("/metrics", get(metrics))
            .with_state(Metrics {
                pods,
                broken: broken.clone(),
            });
        let serving = async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the metrics are not served any more");
            }
        };
        Ok(Self {
            address,
            broken,
            tasks: [tokio::spawn(watching), tokio::spawn(serving)],
        })
    }

    /// The part of a scrape configuration that names it.
    pub(super) fn config(&self) -> String {
        format!("static_configs: [{{ targets: ['{}'] }}]", self.address)
    }

    /// Has the canaries of these apps, and of no others, fail from now on.
    pub(super) fn break_only(&self, apps: &HashSet<(String, String)>) -> Timestamp {
        let now = Timestamp::now();
        let mut broken = self.broken.lock().expect("no holder panics");
        broken.retain(|app, _| apps.contains(app));
        for app in apps {
            broken.entry(app.clone()).or_insert(now);
        }
        now
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn metrics(State(metrics): State<Metrics>) -> String {
    let now = Timestamp::now();
    let broken = metrics.broken.lock().expect("no holder panics");
    let mut text = "# TYPE http_requests_total counter\n".to_owned();
    for pod in metrics.pods.state() {
        let status = pod.status.as_ref();
        let Some(started) = status.and_then(|status| status.start_time.as_ref()) else {
            continue;
        };
        let namespace = pod.namespace().unwrap_or_default();
        let app = pod.labels().get(APP_LABEL).cloned().unwrap_or_default();
        let is_canary =
            pod.labels().get(names::TRACK_LABEL).map(String::as_str) == Some(names::TRACK_CANARY);
        let broken_since = broken
            .get(&(namespace.clone(), app))
            .filter(|_| is_canary)
            .map(|since| (*since).max(started.0));
        let all = RATE * seconds(started.0, now);
        let bad = broken_since.map_or(0.0, |since| RATE * ERRORS * seconds(since, now));
        for (code, count) in [("200", all - bad), ("500", bad)] {
            let name = pod.name_any();
            let _infallible = writeln!(
                text,
                "http_requests_total{{namespace=\"{namespace}\",pod=\"{name}\",code=\"{code}\"}} {count:.0}"
            );
        }
    }
    text
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}
