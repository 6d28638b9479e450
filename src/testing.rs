//! A controller without watches: what the caches hold is given, and an API server answers from a
//! script.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use jiff::SignedDuration;
use kube::core::DeserializeGuard;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_api::{ConfigRepo, NamespacedName, Revision, Rollout, route::RouteKind};
use tidegate_engine::{plan::Plan, revision};
use tidegate_git::{Git, Limits, Protocol, Transport, TransportSettings};
use tidegate_metrics::{credentials::Credentials, prometheus::Prometheus};
use tidegate_render::RenderSettings;
use tokio::sync::watch;

use crate::{
    caches::{self, Caches},
    clock,
    counters::Counters,
    kubernetes::{
        clients::Clients,
        events::EventRecorder,
        fence::{Fence, Term},
        testing::{Script, show},
    },
    notifications::{Notifier, NotifierSettings},
    records::{RecordQueue, WriterContext},
    repository::{Repositories, SecretAccess},
    requeue::{self, RequeueReceiver},
    rollout::{Context, execute::Subject, memory::RolloutMemory, prometheus::Prometheuses},
    sync,
    sync_trigger::{SyncProgress, SyncTrigger},
};

/// The Rollout `checkout` of the namespace `shop`, and all that an effect needs.
pub(crate) struct Bench {
    pub(crate) script: Script,
    pub(crate) ctx: Context,
    id: NamespacedName,
    account: NamespacedName,
    pub(crate) rollout: Rollout,
    pub(crate) plan: Plan,
    pub(crate) woken: RequeueReceiver,
    /// The controller of ConfigRepos.
    pub(crate) repos: Arc<sync::Context>,
    pub(crate) repos_woken: RequeueReceiver,
    /// The API server that takes the events.
    pub(crate) told: Script,
    pub(crate) leads: watch::Sender<Option<Term>>,
    folder: TempDir,
}

/// The candidate's template.
pub(crate) fn candidate() -> Value {
    json!({
        "metadata": { "labels": { "app": "checkout" }, "annotations": { "kept": "yes" } },
        "spec": { "containers": [{ "name": "app", "image": "checkout:2" }] },
    })
}

/// The candidate's revision.
pub(crate) fn revision() -> Revision {
    revision::of(&candidate())
}

// === impl Bench ===

impl Bench {
    /// The leader, with everything in its caches as the API server has it.
    pub(crate) async fn new() -> Self {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let script = Script::default();
        let (caches, rollout) = filled_caches(&script, &folder).await;
        let (requeue_tx, woken) = requeue::channel();
        let (repo_requeue_tx, repos_woken) = requeue::channel();
        let (leads, terms) = watch::channel(Some(term()));
        let fence = Fence::new(terms);
        let clients = Clients {
            watching: script.client(),
            lease: script.client(),
            writing: script.client(),
        };
        let counters = Counters::new();
        let told = Script::default();
        let events = EventRecorder::start(told.client(), "test");
        let repositories = Arc::new(repositories(&folder));
        let records = RecordQueue::new(WriterContext::new(
            repositories.clone(),
            script.client(),
            caches.clone(),
            (requeue_tx.clone(), repo_requeue_tx.clone()),
            counters.clone(),
            events.clone(),
        ));
        let records = Arc::new(records);
        let progress = Arc::new(SyncProgress::default());
        let looks = sync::LookSettings {
            repositories,
            requeue_tx: repo_requeue_tx.clone(),
            namespace: None,
            nodes: 2_000_000,
        };
        let repos = sync::Context::new(
            &clients,
            looks,
            caches.clone(),
            records.clone(),
            progress.clone(),
            fence.clone(),
            events.clone(),
        );
        let prometheuses = unreachable_prometheus(&script);
        let memory = RolloutMemory::new(
            &prometheuses,
            SignedDuration::from_secs(1),
            &requeue_tx,
            &counters,
        );
        let notifier = Notifier::new(
            NotifierSettings::default(),
            SecretAccess::Labeled,
            script.client(),
            counters.clone(),
            events.clone(),
        );
        let ctx = Context {
            cluster: "test".to_owned(),
            sync: SyncTrigger::new(progress, repo_requeue_tx, caches.clone()),
            caches,
            memory,
            clients: Arc::new(clients),
            fence,
            records,
            prometheuses,
            counters,
            notifier,
            events,
            requeue_tx,
            started: clock::monotonic(),
        };
        let plan = Plan::parse("checkout", &rollout.spec).unwrap();
        Self {
            script,
            ctx,
            id: NamespacedName::of(&rollout),
            account: NamespacedName::new("shop", "deployer"),
            rollout,
            plan,
            woken,
            repos: Arc::new(repos),
            repos_woken,
            told,
            leads,
            folder,
        }
    }

    /// Whose effects are tried.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            id: &self.id,
            rollout: &self.rollout,
            plan: Some(&self.plan),
            service_account: Some(&self.account),
            brake: tidegate_engine::observed::Brake::Sync,
        }
    }

    /// Where the config repository is or is to be.
    pub(crate) fn repository(&self) -> std::path::PathBuf {
        repository(&self.folder)
    }
}

/// Puts everything onto the API server; returns the caches whose watches have shown it, and the Rollout.
async fn filled_caches(script: &Script, folder: &TempDir) -> (Arc<Caches>, Rollout) {
    let (caches, writers) = caches::caches();
    let rollout: Rollout = read(script.put("rollouts/checkout", rollout()));
    let repo: ConfigRepo = read(script.put("configrepos/shop", config_repo(folder)));
    let deployment = script.put("deployments/checkout", deployment());
    let replica_set = script.put("replicasets/checkout-old", replica_set());
    let service = script.put("services/checkout", service());
    let name = revision().object_name("checkout");
    let kept = script.put(&format!("controllerrevisions/{name}"), kept());
    let route = script.put("httproutes/web", route());
    let guarded = DeserializeGuard(Ok(rollout.clone()));
    show(writers.rollouts, vec![guarded]).await;
    show(writers.config_repos, vec![DeserializeGuard(Ok(repo))]).await;
    let workloads = writers.workloads.deployments;
    show(workloads.deployments, vec![read(deployment)]).await;
    show(workloads.replica_sets, vec![read(replica_set)]).await;
    show(writers.services, vec![read(service)]).await;
    show(writers.revisions, vec![read(kept)]).await;
    let routes = writers.routes.of(RouteKind::HttpRoute);
    show(routes, vec![read(route)]).await;
    (Arc::new(caches), rollout)
}

/// Repositories on disk.
fn repositories(folder: &TempDir) -> Repositories {
    let settings = TransportSettings {
        protocols: vec![Protocol::File],
        ..TransportSettings::default()
    };
    let transport = Transport::new(settings).unwrap();
    let git = Arc::new(Git::new(
        transport,
        folder.path().join("cache"),
        Limits::default(),
    ));
    Repositories::new(git, [], SecretAccess::Labeled).rendered_by(rendering())
}

/// The programs that `cargo xtask test` names.
pub(crate) fn rendering() -> RenderSettings {
    let defaults = RenderSettings::default();
    let program = |variable, name: PathBuf| env::var_os(variable).map_or(name, PathBuf::from);
    RenderSettings {
        kustomize: program("TIDEGATE_KUSTOMIZE", defaults.kustomize.clone()),
        helm: program("TIDEGATE_HELM", defaults.helm.clone()),
        ..defaults
    }
}

fn unreachable_prometheus(script: &Script) -> Prometheuses {
    let (http, credentials) = (reqwest::Client::new(), Credentials::none());
    let operators = Prometheus::new(
        http,
        "http://127.0.0.1:9",
        credentials,
        Arc::new(clock::now),
    );
    let access = SecretAccess::Labeled;
    Prometheuses::new(
        operators.unwrap(),
        Vec::new(),
        access,
        None,
        script.client(),
    )
}

/// Lets what runs in the background do what it can without waiting.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn repository(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("config.git")
}

fn term() -> Term {
    Term {
        epoch: 3,
        until: clock::monotonic() + Duration::from_hours(1),
    }
}

fn read<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn rollout() -> Value {
    json!({
        "apiVersion": "tidegate.io/v1alpha1",
        "kind": "Rollout",
        "metadata": { "name": "checkout", "namespace": "shop", "uid": "r-1" },
        "spec": {
            "workload": { "kind": "Deployment", "name": "checkout" },
            "traffic": { "routes": [{ "kind": "HTTPRoute", "name": "web" }] },
            "steps": [{ "weight": 10, "hold": "1m" }], "gates": [],
        },
    })
}

fn config_repo(folder: &TempDir) -> Value {
    json!({
        "apiVersion": "tidegate.io/v1alpha1",
        "kind": "ConfigRepo",
        "metadata": { "name": "shop", "namespace": "shop", "uid": "c-1" },
        "spec": {
            "url": format!("file://{}", repository(folder).display()), "ref": { "branch": "main" },
            "path": "shop", "interval": "30s", "sync": { "serviceAccountName": "deployer" },
        },
    })
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "checkout", "namespace": "shop", "uid": "d-1",
            "labels": { "team": "web", "kustomize.toolkit.fluxcd.io/name": "apps" },
        },
        "spec": {
            "replicas": 4,
            "minReadySeconds": 7,
            "selector": { "matchLabels": { "app": "checkout" } },
            "template": {
                "metadata": { "labels": { "app": "checkout" } },
                "spec": { "containers": [{ "name": "app", "image": "checkout:1" }, { "name": "sidecar", "image": "old" }] },
            },
        },
    })
}

fn replica_set() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": "checkout-old", "namespace": "shop", "uid": "x-1",
            "labels": { "app": "checkout", "pod-template-hash": "old" },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout", "uid": "d-1",
                "controller": true,
            }],
        },
        "spec": {
            "replicas": 1,
            "template": {
                "metadata": { "labels": { "app": "checkout", "pod-template-hash": "old" } },
                "spec": { "containers": [{ "name": "app", "image": "checkout:0" }] },
            },
        },
        "status": { "replicas": 1, "readyReplicas": 1 },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "checkout", "namespace": "shop", "uid": "s-1",
            "labels": {
                "app": "checkout",
                "app.kubernetes.io/instance": "shop",
                "app.kubernetes.io/managed-by": "Helm",
                "mirror.linkerd.io/exported": "true",
                "kustomize.toolkit.fluxcd.io/name": "shop",
            },
            "annotations": { "argocd.argoproj.io/tracking-id": "a",
                "external-dns.alpha.kubernetes.io/hostname": "shop.example.com",
                "projectcontour.io/upstream-protocol.h2c": "http" },
        },
        "spec": {
            "type": "NodePort",
            "clusterIP": "10.96.0.7",
            "selector": { "app": "checkout", "pod-template-hash": "abc" },
            "ports": [{ "name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080, "appProtocol": "http" }],
        },
    })
}

fn kept() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": revision().object_name("checkout"), "namespace": "shop", "uid": "k-1",
            "labels": { "tidegate.io/rollout": "checkout" },
        },
        "data": { "template": candidate() },
        "revision": 2,
    })
}

fn route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": "web", "namespace": "shop", "uid": "h-1" },
        "spec": { "rules": [{ "backendRefs": [{ "name": "checkout", "port": 80 }] }] },
    })
}
