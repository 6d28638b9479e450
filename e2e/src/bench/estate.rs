//! Many apps of fake pods: a config repository in each namespace, and one Tidegate for all.

use std::{collections::HashSet, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::Secret,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api, Client, Resource,
    api::{ListParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tidegate_api::{ConfigRepo, NamespacedName, Rollout, status::RolloutStatus};

use super::{exporter::Exporter, process::Usage};
use crate::{
    chart::{Chart, ChartPod},
    cluster::{Cluster, FAKE_NODE_LABEL, GATEWAY_NAME, GATEWAY_NAMESPACE, Kwok, Prometheus},
    eventually::eventually,
    git_server::{Change, GitServer, Repo},
};

/// Label of an app's pods, with its name.
pub(super) const APP_LABEL: &str = "app";

/// Namespace of Tidegate. The audit log has the reads of its ServiceAccount.
const SYSTEM: &str = "tidegate-system";

/// Name of Tidegate in the audit log.
pub(super) const TIDEGATE: &str = "system:serviceaccount:tidegate-system:tidegate";

/// ServiceAccount in whose name each repository is applied.
const ACCOUNT: &str = "deployer";

/// Name of the Prometheus that scrapes the exporter.
const PROMETHEUS: &str = "prometheus-of-fake-pods";

/// Number of apps and their distribution.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Size {
    /// Number of apps in all.
    #[arg(long, default_value_t = 100)]
    apps: usize,
    /// Number of namespaces, each with a config repository.
    #[arg(long, default_value_t = 10)]
    namespaces: usize,
}

/// Many apps.
pub(super) struct Estate {
    cluster: Arc<Cluster>,
    places: Vec<Place>,
    pub(super) exporter: Exporter,
    pub(super) tidegate: ChartPod,
    git: GitServer,
    /// Held for their end.
    _parts: (Prometheus, Kwok),
}

/// A namespace with its repository.
struct Place {
    namespace: String,
    repo: Repo,
    apps: Vec<String>,
}

// === impl Size ===

impl Size {
    /// Names of the apps, by namespace.
    fn distribution(self) -> Vec<(String, Vec<String>)> {
        let namespaces = self.namespaces.clamp(1, self.apps.max(1));
        let mut places: Vec<_> = (0..namespaces)
            .map(|number| (format!("team-{number:02}"), Vec::new()))
            .collect();
        for app in 0..self.apps {
            places[app % namespaces].1.push(format!("app-{app:04}"));
        }
        places
    }
}

// === impl Estate ===

impl Estate {
    /// Everything but the apps: they come with the first commit.
    pub(super) async fn found(cluster: &Arc<Cluster>, size: Size) -> Result<Self> {
        let admin = cluster.admin_client();
        let kwok = Kwok::start(cluster).await?;
        let exporter = Exporter::serve(admin.clone()).await?;
        let prometheus = cluster
            .prometheus_of(PROMETHEUS, &exporter.config())
            .await?;
        let git =
            GitServer::launch(cluster.dir().join("git"), Ipv4Addr::new(10, 0, 0, 1).into()).await?;
        allow_to_apply(&admin).await?;
        let mut places = Vec::new();
        for (namespace, apps) in size.distribution() {
            cluster.namespace(&namespace).await?;
            let repo = git.repo(&namespace).await?;
            places.push(Place {
                namespace,
                repo,
                apps,
            });
        }
        let tidegate = start_tidegate(cluster, &prometheus.url()).await?;
        let estate = Self {
            cluster: cluster.clone(),
            places,
            exporter,
            tidegate,
            git,
            _parts: (prometheus, kwok),
        };
        Ok(estate)
    }

    /// Commits all apps for the first time, and has Tidegate bring them.
    pub(super) async fn declare(&self, rollout: &Value) -> Result<()> {
        for place in &self.places {
            let changes = place.apps.iter().flat_map(|app| {
                [
                    Change::write(file(app, "app"), deployment(app, "v1")),
                    Change::write(file(app, "rest"), rest(app, &place.namespace, rollout)),
                ]
            });
            place.repo.commit(changes, "Open").await?;
        }
        try_join_all(
            self.places
                .iter()
                .map(|place| self.create_config_repo(place)),
        )
        .await?;
        Ok(())
    }

    /// Commits another version of every app, and returns the time of the first commit.
    pub(super) async fn release(&self, version: &str) -> Result<Timestamp> {
        let began = Timestamp::now();
        let commits = self.places.iter().map(|place| {
            let changes = place
                .apps
                .iter()
                .map(|app| Change::write(file(app, "app"), deployment(app, version)));
            place.repo.commit(changes, version)
        });
        try_join_all(commits).await?;
        Ok(began)
    }

    /// Namespace and name of every app.
    pub(super) fn apps(&self) -> Vec<(String, String)> {
        let places = self.places.iter();
        places
            .flat_map(|place| {
                let apps = place.apps.iter();
                apps.map(|app| (place.namespace.clone(), app.clone()))
            })
            .collect()
    }

    /// Waits until the status of every Rollout among these apps is so.
    pub(super) async fn until(
        &self,
        what: &str,
        limit: Duration,
        apps: &HashSet<(String, String)>,
        holds: impl Fn(&RolloutStatus) -> bool,
    ) -> Result<Timestamp> {
        let rollouts: Api<Rollout> = Api::all(self.cluster.admin_client());
        let holds = &holds;
        let rollouts = &rollouts;
        eventually(what, limit, || async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            // Any version that the API server has at hand is new enough.
            let listed = rollouts.list(&ListParams::default().match_any()).await?;
            let so = listed.items.iter().filter(|rollout| {
                let NamespacedName { namespace, name } = NamespacedName::of(*rollout);
                apps.contains(&(namespace, name)) && rollout.status.as_ref().is_some_and(holds)
            });
            let (so, all) = (so.count(), apps.len());
            anyhow::ensure!(so == all, "{so} of {all}");
            Ok(Some(Timestamp::now()))
        })
        .await
    }

    /// CPU and memory of Tidegate and of the programs that it has started, until now.
    pub(super) fn usage(&self) -> Result<Usage> {
        Usage::of(self.tidegate.process.pid())
    }

    /// Number of namespaces.
    pub(super) fn namespaces(&self) -> usize {
        self.places.len()
    }

    /// The cluster.
    pub(super) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    async fn create_config_repo(&self, place: &Place) -> Result<()> {
        let credentials = self.git.credentials();
        let client = self.cluster.admin_client();
        let secret = json!({
            "metadata": { "name": "git", "labels": { "tidegate.io/use": "git" } },
            "stringData": {
                "username": credentials.username,
                "password": credentials.password,
                "ca.crt": self.git.ca_pem(),
            },
        });
        create::<Secret>(&client, &place.namespace, secret).await?;
        let repo = json!({
            "apiVersion": "tidegate.io/v1alpha1",
            "kind": "ConfigRepo",
            "metadata": { "name": "config" },
            "spec": {
                "url": self.git.url(&place.namespace),
                "ref": { "branch": "main" },
                "path": "apps",
                "interval": "1s",
                "secretRef": { "name": "git" },
                "sync": { "serviceAccountName": ACCOUNT },
            },
        });
        create::<ConfigRepo>(&client, &place.namespace, repo).await
    }
}

async fn create<K>(client: &Client, namespace: &str, object: Value) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let object: K = serde_json::from_value(object)?;
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let created = api.create(&PostParams::default(), &object).await;
    created.with_context(|| format!("the {} cannot be created", K::kind(&())))?;
    Ok(())
}

/// Grants every ServiceAccount the rights to apply an app.
async fn allow_to_apply(admin: &Client) -> Result<()> {
    let verbs = ["get", "list", "create", "patch", "update", "delete"];
    let rule = |group: &str, resources: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    let role: ClusterRole = serde_json::from_value(json!({
        "metadata": { "name": ACCOUNT },
        "rules": [
            rule("", &["services"]),
            rule("apps", &["deployments"]),
            rule("gateway.networking.k8s.io", &["httproutes"]),
            rule("tidegate.io", &["rollouts"]),
        ],
    }))?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": { "name": ACCOUNT },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts" }],
    }))?;
    let params = PostParams::default();
    Api::all(admin.clone()).create(&params, &role).await?;
    Api::all(admin.clone()).create(&params, &binding).await?;
    Ok(())
}

/// Installs the chart for all namespaces, and starts one of its pods.
async fn start_tidegate(cluster: &Arc<Cluster>, prometheus: &str) -> Result<ChartPod> {
    cluster.namespace(SYSTEM).await?;
    let values = json!({
        "clusterName": "e2e",
        "image": { "repository": "registry.example.com/tidegate" },
        "prometheus": { "url": prometheus, "scrapeInterval": "1s" },
        "log": { "format": "text", "filter": "info" },
    });
    let dir = cluster.dir().join(SYSTEM);
    std::fs::create_dir(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let chart = Chart::render(cluster, SYSTEM, &values, &dir).await?;
    chart.install(&cluster.admin_client()).await?;
    let tidegate = chart.start_pod(cluster, "tidegate", &dir).await?;
    eventually("Tidegate is ready", Duration::from_mins(1), || async {
        let (is_ready, said) = tidegate.readiness().await?;
        anyhow::ensure!(is_ready, "{said}");
        Ok(Some(()))
    })
    .await?;
    Ok(tidegate)
}

/// File of a part of an app.
fn file(app: &str, part: &str) -> String {
    Path::new("apps")
        .join(format!("{app}-{part}.yaml"))
        .display()
        .to_string()
}

/// Two fake pods.
fn deployment(app: &str, version: &str) -> String {
    let (key, value) = FAKE_NODE_LABEL;
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": app },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { APP_LABEL: app } },
            "template": {
                "metadata": { "labels": { APP_LABEL: app } },
                "spec": {
                    "nodeSelector": { key: value },
                    "containers": [{
                        "name": "app",
                        "image": format!("registry.example.com/{app}:{version}"),
                        "ports": [{ "name": "http", "containerPort": 8080 }],
                    }],
                },
            },
        },
    })
    .to_string()
}

/// Service, route and Rollout of an app, as JSON documents.
fn rest(app: &str, namespace: &str, rollout: &Value) -> String {
    let mut spec = rollout.clone();
    spec["workload"] = json!({ "kind": "Deployment", "name": app });
    spec["traffic"] = json!({ "routes": [{ "kind": "HTTPRoute", "name": app }] });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": app },
        "spec": { "selector": { APP_LABEL: app }, "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] },
    });
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": app },
        "spec": {
            "parentRefs": [{ "name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE }],
            "hostnames": [format!("{app}.{namespace}.example.com")],
            "rules": [{ "backendRefs": [{ "name": app, "port": 80 }] }],
        },
    });
    let rollout = json!({
        "apiVersion": "tidegate.io/v1alpha1",
        "kind": "Rollout",
        "metadata": { "name": app },
        "spec": spec,
    });
    format!("{service}\n---\n{route}\n---\n{rollout}\n")
}
