//! A shop in a namespace of its own: a config repository, a Tidegate behind a fault proxy, and
//! clients whose answers are counted.
//!
//! Owns what every scenario of Tidegate begins with. What a scenario tries, and what it holds to be
//! right, is in [`crate::scenarios`].

mod attribution;
mod config_repo;
mod events;
mod evidence;
mod flux;
mod governed;
mod guard;
mod held;
mod history;
mod interventions;
mod kubectl;
mod marks;
mod pods;
mod policy;
mod reaction;
mod rights;
mod shop;
mod template;
mod traffic;

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    core::v1::Secret,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Resource, api::PostParams, core::NamespaceResourceScope, runtime::wait::await_condition,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tidegate_api::{
    ConfigRepo, Rollout,
    record::{Outcome, OutcomeRecord, Reason},
    route::RouteKind,
    status::RolloutStatus,
};

pub use self::{
    evidence::{CANARY, Share, Shares, backends},
    flux::{flux_ready, kustomization},
    governed::Governed,
    held::{image, is_paused, ran_as_canary_alone},
    history::History,
    interventions::ADMIN,
    marks::{IGNORE, PRUNE, SSA},
    pods::runs,
    shop::{
        APP_FILE, CONFIG, CONFIG_FILE, ROLLOUT_FILE, ROUTE_FILE, Release, SERVICE_FILE, Shop,
        errors_gate, service,
    },
};
use crate::{
    cluster::{KubeconfigSpec, User},
    fault_proxy::{FaultProxy, WriteKinds},
    git_server::{Change, GitServer, Repo},
    load::ServiceEndpoints,
    process::{ChildProcess, ProcessSpec},
    scenario::Context,
};

/// The Rollout, the Deployment, the Service and the route all have this name.
pub const NAME: &str = "shop";

/// The branch for records.
pub const RECORDS: &str = "tidegate/records";

/// ServiceAccount in whose name the repository is applied.
const ACCOUNT: &str = "deployer";

/// Far longer than anything here takes on a busy machine.
pub const LIMIT: Duration = Duration::from_mins(2);

/// Lease duration: a second Tidegate may lead this long after the first was last heard of.
pub const LEASE: Duration = Duration::from_secs(3);

/// A shop.
#[derive(Debug)]
pub struct Testbed {
    /// Context of the scenario.
    pub context: Context,
    /// The git server, for this scenario alone.
    pub git: GitServer,
    /// The config repository.
    pub repo: Repo,
    /// Between Tidegate and the API server.
    pub proxy: FaultProxy,
    /// URL at which Tidegate queries metrics.
    pub prometheus_url: String,
    /// Hosts with a port at which Rollouts may have it query, beside the cluster's own Prometheus.
    pub metrics_hosts: Vec<String>,
    /// Hosts with a port at which Rollouts may have releases told of.
    pub notification_hosts: Vec<String>,
    /// Kind of the route that sends traffic to the shop.
    route_kind: RouteKind,
    /// Endpoints of the Service that callers use where no route sends traffic to the shop.
    endpoints: Option<Arc<ServiceEndpoints>>,
    tidegate: Option<ChildProcess>,
    started: u32,
}

// === impl Testbed ===

impl Testbed {
    /// Everything but Tidegate itself and what the repository holds.
    pub async fn new(context: Context) -> Result<Self> {
        let git =
            GitServer::launch(context.dir.join("git"), Ipv4Addr::new(10, 0, 0, 1).into()).await?;
        let repo = git.repo("config").await?;
        let cluster = &context.cluster;
        let ca = std::fs::read_to_string(cluster.ca_path())
            .context("the API server's certificate cannot be read")?;
        let writes = WriteKinds::default();
        let listen = (Ipv4Addr::LOCALHOST, 0).into();
        let proxy = FaultProxy::start(listen, cluster.api_server_url(), Some(&ca), writes).await?;
        let prometheus_url = cluster.prometheus_url();
        let bed = Self {
            context,
            git,
            repo,
            proxy,
            prometheus_url,
            metrics_hosts: Vec::new(),
            notification_hosts: Vec::new(),
            route_kind: RouteKind::HttpRoute,
            endpoints: None,
            tidegate: None,
            started: 0,
        };
        bed.allow_to_apply().await?;
        bed.allow_to_run().await?;
        bed.create_secret().await?;
        attribution::enforce(bed.context.client(), &bed.context.namespace).await?;
        Ok(bed)
    }

    /// Commits the shop and has Tidegate bring it, up to the first revision.
    pub async fn open(context: Context, shop: &Shop) -> Result<Self> {
        let mut bed = Self::new(context).await?;
        bed.bring(shop).await?;
        Ok(bed)
    }

    /// Commits the shop and has Tidegate bring it, up to the first revision.
    pub async fn bring(&mut self, shop: &Shop) -> Result<()> {
        self.declare(shop).await?;
        self.start_tidegate().await?;
        self.is_open(shop).await
    }

    /// Takes the policy away by which nobody can write another's name into an Intervention.
    pub async fn stop_attribution(&self) -> Result<()> {
        attribution::stop(self.context.client(), &self.context.namespace).await
    }

    /// Commits the shop, for whichever Tidegate runs.
    pub async fn declare(&mut self, shop: &Shop) -> Result<()> {
        self.has_no_repo(shop).await;
        self.commit(shop, "Open the shop").await?;
        self.create_config_repo(json!({})).await
    }

    /// Knows how callers reach the shop, which nobody has committed.
    pub async fn has_no_repo(&mut self, shop: &Shop) {
        match shop.route_kind {
            Some(kind) => self.route_kind = kind,
            None => self.endpoints = Some(ServiceEndpoints::follow(self.api(), NAME).await),
        }
    }

    /// Waits until the first revision of the shop is stable and served.
    pub async fn is_open(&self, shop: &Shop) -> Result<()> {
        self.until("the first revision is stable", |status| {
            status.stable.is_some() && status.attempt.is_none()
        })
        .await?;
        self.gateway_serves(shop.version()).await
    }

    /// Commits all files of the shop; gives the commit's id.
    pub async fn commit(&self, shop: &Shop, message: &str) -> Result<String> {
        let files = shop.files(&self.context.namespace);
        let changes = files
            .into_iter()
            .map(|(path, content)| Change::write(path, content));
        Ok(self.repo.commit(changes, message).await?)
    }

    /// Tells Tidegate of the repository; `more` is laid over the spec.
    pub async fn create_config_repo(&self, more: Value) -> Result<()> {
        let mut spec = json!({
            "url": self.git.url("config"),
            "ref": { "branch": "main" },
            "path": "shop",
            "interval": "1s",
            "secretRef": { "name": "shop-git" },
            "sync": { "serviceAccountName": ACCOUNT },
            "onRollback": { "git": "Restore" },
        });
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        self.create::<ConfigRepo>(json!({
            "apiVersion": "tidegate.io/v1alpha1",
            "kind": "ConfigRepo",
            "metadata": { "name": "shop" },
            "spec": spec,
        }))
        .await
    }

    /// Starts a Tidegate that looks after this namespace alone.
    pub async fn start_tidegate(&mut self) -> Result<()> {
        self.started += 1;
        let name = format!("tidegate-{}", self.started);
        let process = self.spawn_tidegate(&name).await?;
        self.tidegate = Some(process);
        Ok(())
    }

    /// Starts one more, which is the caller's.
    pub async fn spawn_tidegate(&self, name: &str) -> Result<ChildProcess> {
        let namespace = &self.context.namespace;
        let user = User::service_account(namespace, "tidegate");
        let kubeconfig =
            KubeconfigSpec::new(format!("{namespace}-tidegate"), user).through(self.proxy.url());
        let kubeconfig = self.context.cluster.kubeconfig(&kubeconfig).await?;
        let dir = &self.context.dir;
        let tools = self.context.cluster.tools();
        let renderers = [("--kustomize", &tools.kustomize), ("--helm", &tools.helm)];
        let mut spec = ProcessSpec::new(name, &tools.tidegate, dir.join(format!("{name}.log")))
            .arg("run")
            .args(["--namespace", namespace, "--cluster-name", "e2e"])
            .args([
                "--prometheus-url",
                &self.prometheus_url,
                "--prometheus-scrape-interval",
                "1s",
            ])
            .args(["--metrics-hosts", &self.metrics_hosts().join(",")])
            .args(["--notification-hosts", &self.notification_hosts.join(",")])
            .args(["--listen", "127.0.0.1:0"])
            .arg("--git-cache")
            .arg(dir.join(format!("{name}-git")))
            .args([
                "--lease-namespace",
                namespace,
                "--lease-duration",
                &format!("{}s", LEASE.as_secs()),
            ])
            .env("KUBECONFIG", kubeconfig)
            .env("HOSTNAME", name)
            .env("TIDEGATE_LOG", "info,tidegate=debug");
        for (flag, program) in renderers {
            if let Some(program) = program {
                spec = spec.arg(flag).arg(program);
            }
        }
        Ok(spec.spawn()?)
    }

    fn metrics_hosts(&self) -> Vec<String> {
        let own = self.context.cluster.prometheus_url();
        let own = own.trim_start_matches("http://").to_owned();
        [vec![own], self.metrics_hosts.clone()].concat()
    }

    /// The Tidegate that was started last.
    pub fn tidegate(&mut self) -> Result<&mut ChildProcess> {
        self.tidegate.as_mut().context("no Tidegate was started")
    }

    /// Hands over the Tidegate that was started last, which is the caller's from now on.
    pub fn hand_over_tidegate(&mut self) -> Result<ChildProcess> {
        self.tidegate.take().context("no Tidegate was started")
    }

    /// Waits until the Rollout's status is so.
    pub async fn until(
        &self,
        what: &str,
        holds: impl Fn(&RolloutStatus) -> bool,
    ) -> Result<RolloutStatus> {
        let condition = |rollout: Option<&Rollout>| {
            rollout
                .and_then(|rollout| rollout.status.as_ref())
                .is_some_and(&holds)
        };
        let waited = await_condition(self.api::<Rollout>(), NAME, condition);
        let Ok(waited) = tokio::time::timeout(LIMIT, waited).await else {
            let status = self.status().await?;
            anyhow::bail!(
                "not within {LIMIT:?}: {what}; the status is {}",
                serde_json::to_string_pretty(&status)?
            );
        };
        let rollout = waited.context("the Rollout cannot be watched")?;
        rollout
            .and_then(|rollout| rollout.status)
            .context("the Rollout is gone")
    }

    /// Waits until the canary of this attempt has the share of its first step.
    pub async fn first_step(&self, attempt: u32) -> Result<RolloutStatus> {
        self.step(attempt, 1).await
    }

    /// Waits until the canary of this attempt has the share of a step.
    pub async fn step(&self, attempt: u32, step: u32) -> Result<RolloutStatus> {
        self.until(
            &format!("step {step} of attempt {attempt} is confirmed"),
            |status| {
                let running = status
                    .attempt
                    .as_ref()
                    .filter(|running| running.number == attempt && running.step == step);
                // While the canary grows for it, the attempt still has the share of the step before.
                let entered = running.and_then(|running| running.steps.last());
                entered.is_some_and(|entered| entered.confirmed_at.is_some())
            },
        )
        .await
    }

    /// Waits until the attempt of this number has ended and git has its record, and gives that.
    pub async fn outcome(&self, attempt: u32) -> Result<OutcomeRecord> {
        self.until(&format!("attempt {attempt} has ended"), |status| {
            let ended = status
                .last_outcome
                .as_ref()
                .is_some_and(|last| last.attempt >= attempt);
            ended && status.pending_records.is_empty()
        })
        .await?;
        let records = self.outcomes().await?;
        let mut of_attempt = records
            .into_iter()
            .filter(|record| record.head.attempt == attempt);
        let record = of_attempt
            .next()
            .with_context(|| format!("git has no outcome of attempt {attempt}"))?;
        ensure!(
            of_attempt.next().is_none(),
            "git has more than one outcome of attempt {attempt}"
        );
        Ok(record)
    }

    /// The outcome of an attempt that has to be promoted since all its steps have passed.
    pub async fn promoted(&self, attempt: u32) -> Result<OutcomeRecord> {
        self.outcome_is(attempt, Outcome::Promoted, Reason::StepsPassed)
            .await
    }

    /// The outcome of an attempt that has to be rolled back since a gate was breached.
    pub async fn rolled_back(&self, attempt: u32) -> Result<OutcomeRecord> {
        self.outcome_is(attempt, Outcome::RolledBack, Reason::GateBreached)
            .await
    }

    async fn outcome_is(
        &self,
        attempt: u32,
        outcome: Outcome,
        reason: Reason,
    ) -> Result<OutcomeRecord> {
        let record = self.outcome(attempt).await?;
        ensure!(
            record.outcome == outcome && record.reason == reason,
            "{record:?}"
        );
        Ok(record)
    }

    /// Every outcome in git.
    pub async fn outcomes(&self) -> Result<Vec<OutcomeRecord>> {
        let mut records = Vec::new();
        if self.repo.tip(RECORDS).await?.is_none() {
            return Ok(records);
        }
        for path in self.repo.files(RECORDS).await? {
            if Path::new(&path)
                .extension()
                .is_none_or(|kind| kind != "json")
                || path.ends_with(".started.json")
            {
                continue;
            }
            let text = self
                .repo
                .file_at(RECORDS, &path)
                .await?
                .with_context(|| format!("{path} is gone"))?;
            records
                .push(serde_json::from_str(&text).with_context(|| format!("{path} is no record"))?);
        }
        Ok(records)
    }

    /// The Rollout's status now.
    pub async fn status(&self) -> Result<RolloutStatus> {
        let rollout = self.api::<Rollout>().get_opt(NAME).await?;
        Ok(rollout
            .and_then(|rollout| rollout.status)
            .unwrap_or_default())
    }

    /// Objects of the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.context.client(), &self.context.namespace)
    }

    /// Creates an object.
    pub async fn create<K>(&self, object: Value) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        let object: K = serde_json::from_value(object)?;
        let created = self
            .api::<K>()
            .create(&PostParams::default(), &object)
            .await;
        created.with_context(|| format!("the {} cannot be created", K::kind(&())))?;
        Ok(())
    }

    /// Grants the ConfigRepo's ServiceAccount the rights to apply.
    async fn allow_to_apply(&self) -> Result<()> {
        self.create::<Role>(json!({
            "metadata": { "name": "shop-config" },
            "rules": [
                rule("", &["services", "configmaps"]),
                rule("apps", &["deployments"]),
                rule("gateway.networking.k8s.io", &RouteKind::ALL.map(RouteKind::plural)),
                rule("tidegate.io", &["rollouts", "interventions"]),
            ],
        }))
        .await?;
        self.create::<RoleBinding>(json!({
            "metadata": { "name": "shop-config" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "shop-config" },
            "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT }],
        }))
        .await
    }

    /// Tidegate runs with the rights that the chart gives it.
    async fn allow_to_run(&self) -> Result<()> {
        self.create::<Role>(
            json!({ "metadata": { "name": "tidegate" }, "rules": rights::rules()? }),
        )
        .await?;
        self.create::<RoleBinding>(json!({
            "metadata": { "name": "tidegate" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tidegate" },
            "subjects": [{ "kind": "ServiceAccount", "name": "tidegate" }],
        }))
        .await
    }

    async fn create_secret(&self) -> Result<()> {
        let credentials = self.git.credentials();
        self.create::<Secret>(json!({
            "metadata": { "name": "shop-git", "labels": { "tidegate.io/use": "git" } },
            "stringData": {
                "username": credentials.username,
                "password": credentials.password,
                "ca.crt": self.git.ca_pem(),
            },
        }))
        .await
    }
}

/// A rule of a Role that allows to apply.
fn rule(group: &str, resources: &[&str]) -> Value {
    let verbs = ["get", "list", "create", "patch", "update", "delete"];
    json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
}
