//! A platform team's ConfigRepo brings an app into another namespace, as far as the rights of its account reach.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Secret},
    rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding},
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tidegate_api::{Condition, ConfigRepo, Rollout, reason::ConditionType, record::RestoreResult};

use crate::{
    chart::{self, Chart},
    eventually::eventually,
    git_server::Change,
    scenario::{Context, Scenario, scenario},
    testbed::{APP_FILE, LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(alone reach, run)];

/// Namespace of the chart's release.
const SYSTEM: &str = "tidegate-reach";

/// Name of the ConfigRepo, its Secret's and its account's.
const PLATFORM: &str = "platform";

/// File with a namespace of the repository's own.
const EXTRA_FILE: &str = "shop/extra.yaml";

/// The platform team's namespace.
struct Platform {
    admin: Client,
    namespace: String,
}

async fn run(context: Context) -> Result<()> {
    let (cluster, admin) = (context.cluster.clone(), context.client());
    cluster.namespace(SYSTEM).await?;
    let values = chart::values(&cluster);
    let chart = Chart::render(&cluster, SYSTEM, &values, &context.dir).await?;
    chart.install(&admin).await?;
    let _pod = chart
        .start_pod(&cluster, "tidegate-reach", &context.dir)
        .await?;
    let platform = Platform {
        admin,
        namespace: context.namespace.clone(),
    };
    context
        .apart("shop", |context| async move {
            let mut bed = Testbed::new(context).await?;
            platform.brings(&mut bed).await
        })
        .await
}

// === impl Platform ===

impl Platform {
    async fn brings(&self, bed: &mut Testbed) -> Result<()> {
        let shop = Shop::new();
        bed.has_no_repo(&shop).await;
        bed.commit(&shop, "Open the shop").await?;
        self.create_config_repo(bed).await?;
        self.right_is_missing(bed).await?;
        self.allow(&bed.context.namespace).await?;
        bed.is_open(&shop).await?;
        self.releases(bed, &shop).await?;
        self.brings_a_namespace(bed).await
    }

    async fn create_config_repo(&self, bed: &Testbed) -> Result<()> {
        let credentials = bed.git.credentials();
        self.create::<Secret>(json!({
            "metadata": { "name": PLATFORM, "labels": { "tidegate.io/use": "git" } },
            "stringData": {
                "username": credentials.username,
                "password": credentials.password,
                "ca.crt": bed.git.ca_pem(),
            },
        }))
        .await?;
        self.create::<ConfigRepo>(json!({
            "apiVersion": "tidegate.io/v1alpha1",
            "kind": "ConfigRepo",
            "metadata": { "name": PLATFORM },
            "spec": {
                "url": bed.git.url("config"),
                "ref": { "branch": "main" },
                "path": "shop",
                "interval": "1s",
                "secretRef": { "name": PLATFORM },
                "sync": { "serviceAccountName": PLATFORM, "targetNamespace": bed.context.namespace },
                "onRollback": { "git": "Restore" },
            },
        }))
        .await
    }

    /// The sentence names the right, and nothing counts as applied.
    async fn right_is_missing(&self, bed: &Testbed) -> Result<()> {
        let target = &bed.context.namespace;
        let role = format!(
            "metadata: {{name: tidegate-sync-{}-{PLATFORM}, namespace: {target}}}",
            self.namespace
        );
        let repo = self
            .repo_until("says which right is missing", |_, ready| {
                ready.reason == "Forbidden" && ready.message.contains(&role)
            })
            .await?;
        let status = repo.status.context("the ConfigRepo has a status")?;
        ensure!(
            status.inventory.is_empty() && status.governed.is_empty(),
            "it counts as applied: {status:?}"
        );
        let rollout = bed.api::<Rollout>().get_opt(NAME).await?;
        ensure!(rollout.is_none(), "it was applied without the right");
        Ok(())
    }

    /// Gives the account the target's role for those who apply.
    async fn allow(&self, target: &str) -> Result<()> {
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": { "name": PLATFORM },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "shop-config" },
            "subjects": [{ "kind": "ServiceAccount", "name": PLATFORM, "namespace": self.namespace }],
        }))?;
        let bindings: Api<RoleBinding> = Api::namespaced(self.admin.clone(), target);
        bindings.create(&PostParams::default(), &binding).await?;
        Ok(())
    }

    /// A good release is promoted and recorded; a bad one is rolled back and restored in the platform's repository.
    async fn releases(&self, bed: &Testbed, shop: &Shop) -> Result<()> {
        let clients = bed.clients(200);
        bed.commit(&shop.with(Release::good("v2")), "Release v2")
            .await?;
        let record = bed.promoted(2).await?;
        let reference = format!("{}/{PLATFORM}", self.namespace);
        ensure!(
            record.head.source.config_repo.as_ref() == Some(&reference),
            "{record:?}"
        );
        let good = bed.repo.file_at("main", APP_FILE).await?;
        bed.commit(&shop.with(Release::bad("v3")), "Release v3, which is bad")
            .await?;
        let record = bed.rolled_back(3).await?;
        ensure!(
            matches!(record.restore, Some(RestoreResult::Restored { .. })),
            "{record:?}"
        );
        ensure!(
            bed.repo.file_at("main", APP_FILE).await? == good,
            "git is not as it was before v3"
        );
        bed.gateway_serves("v2").await?;
        clients.stop().await.none_failed_beside("v3")
    }

    /// A namespace comes before what is in it, and stays when it leaves git.
    async fn brings_a_namespace(&self, bed: &Testbed) -> Result<()> {
        let extra = format!("{}-extra", self.namespace);
        let objects = [
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra", "namespace": extra}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": extra}}),
        ];
        let text = objects.map(|object| object.to_string()).join("\n---\n");
        let commit = [Change::write(EXTRA_FILE, text)];
        bed.repo.commit(commit, "Add a namespace").await?;
        self.repo_until("asks for a ClusterRole", |_, ready| {
            ready.reason == "Forbidden" && ready.message.contains("kind: ClusterRole")
        })
        .await?;
        self.allow_everywhere().await?;
        let maps: Api<ConfigMap> = Api::namespaced(self.admin.clone(), &extra);
        eventually(
            "the namespace and its ConfigMap are there",
            LIMIT,
            || async { Ok(maps.get_opt("extra").await?) },
        )
        .await?;
        let commit = [Change::delete(EXTRA_FILE)];
        bed.repo.commit(commit, "Remove it").await?;
        self.repo_until("says that the namespace stays", |repo, ready| {
            let reach = repo.status.as_ref().map(|status| &status.reach);
            ready.is_true()
                && ready
                    .message
                    .contains(&format!("Namespace/{extra} is no longer"))
                && reach.is_some_and(|reach| !reach.has(&extra) && reach.cluster)
        })
        .await?;
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        let annotation =
            json!({ "metadata": { "annotations": { "tidegate.io/prune": "Confirmed" } } });
        namespaces
            .patch(&extra, &PatchParams::default(), &Patch::Merge(&annotation))
            .await?;
        bed.repo
            .commit([Change::write("shop/note.txt", "nothing")], "Look again")
            .await?;
        eventually("the namespace is deleted", LIMIT, || async {
            let live = namespaces.get_opt(&extra).await?;
            let is_going = live.is_none_or(|live| live.metadata.deletion_timestamp.is_some());
            Ok(is_going.then_some(()))
        })
        .await?;
        self.forbid_everywhere().await
    }

    async fn allow_everywhere(&self) -> Result<()> {
        let role: ClusterRole = serde_json::from_value(json!({
            "metadata": { "name": self.namespace },
            "rules": [{
                "apiGroups": [""], "resources": ["namespaces", "configmaps"],
                "verbs": ["get", "create", "patch", "delete"],
            }],
        }))?;
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": { "name": self.namespace },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": self.namespace },
            "subjects": [{ "kind": "ServiceAccount", "name": PLATFORM, "namespace": self.namespace }],
        }))?;
        let params = PostParams::default();
        Api::all(self.admin.clone()).create(&params, &role).await?;
        Api::all(self.admin.clone())
            .create(&params, &binding)
            .await?;
        Ok(())
    }

    async fn forbid_everywhere(&self) -> Result<()> {
        let (name, params) = (&self.namespace, DeleteParams::default());
        let bindings: Api<ClusterRoleBinding> = Api::all(self.admin.clone());
        bindings.delete(name, &params).await?;
        let roles: Api<ClusterRole> = Api::all(self.admin.clone());
        roles.delete(name, &params).await?;
        Ok(())
    }

    async fn create<K>(&self, object: Value) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        let object: K = serde_json::from_value(object)?;
        let api: Api<K> = Api::namespaced(self.admin.clone(), &self.namespace);
        api.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Waits until the ConfigRepo is so.
    async fn repo_until(
        &self,
        what: &str,
        holds: impl Fn(&ConfigRepo, &Condition) -> bool,
    ) -> Result<ConfigRepo> {
        let repos: Api<ConfigRepo> = Api::namespaced(self.admin.clone(), &self.namespace);
        eventually(&format!("the ConfigRepo {what}"), LIMIT, || async {
            let repo = repos.get(PLATFORM).await?;
            let status = repo.status.as_ref();
            let ready =
                status.and_then(|status| Condition::find(&status.conditions, ConditionType::Ready));
            let holds = ready.is_some_and(|ready| holds(&repo, ready));
            Ok(holds.then_some(repo))
        })
        .await
    }
}
