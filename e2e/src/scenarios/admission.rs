//! A quota or a policy that would deny the canary: the status says so before anything is pinned, and the
//! release goes on by itself once it would be admitted. Labels that policies ask for, the canary has.

use anyhow::{Result, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apps::v1::Deployment,
    core::v1::{Pod, ResourceQuota, Service},
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tidegate_api::{
    Condition,
    condition::ConditionStatus,
    reason::{ConditionType, ReasonCode as _, StallReason},
    record::Outcome,
};

use crate::{
    eventually::until_true,
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(quota_of_deployments, quota),
    scenario!(policy_for_labels, labels),
    scenario!(policy_for_pods, pods),
];

/// The quota.
const QUOTA: &str = "full";

/// Expression of a policy that asks for the label `team`.
const TEAM: &str = "has(object.metadata.labels) && 'team' in object.metadata.labels";

/// A quota that has no room for the canary's Deployment.
async fn quota(context: Context) -> Result<()> {
    let bed = Testbed::open(context, &shop()).await?;
    let clients = bed.clients(50);
    let hard = json!({ "hard": { "count/deployments.apps": "1" } });
    bed.create::<ResourceQuota>(json!({ "metadata": { "name": QUOTA }, "spec": hard }))
        .await?;
    bed.commit(&shop().with(Release::good("v2")), "Release v2")
        .await?;
    is_denied(&bed, &format!("exceeded quota: {QUOTA}")).await?;
    bed.api::<ResourceQuota>()
        .delete(QUOTA, &DeleteParams::default())
        .await?;
    promoted(&bed).await?;
    clients.stop().await.none_failed()
}

/// A policy that asks for a label on Deployments and Services: the canary's have stable's.
async fn labels(context: Context) -> Result<()> {
    let shop = Shop {
        labels: json!({ "team": "web" }),
        ..shop()
    };
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(50);
    let _policy = Policy::create(&bed, &["deployments", "services"], TEAM).await?;
    let without =
        json!({ "metadata": { "name": "without" }, "spec": { "ports": [{ "port": 80 }] } });
    in_force::<Service>(&bed, without).await?;
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    promoted(&bed).await?;
    clients.stop().await.none_failed()
}

/// A policy for pods, which the Deployment passes.
async fn pods(context: Context) -> Result<()> {
    let bed = Testbed::open(context, &shop()).await?;
    let clients = bed.clients(50);
    let policy = Policy::create(&bed, &["pods"], TEAM).await?;
    let containers = json!([{ "name": "app", "image": "tidegate.dev/demo-app:v1" }]);
    let without =
        json!({ "metadata": { "name": "without" }, "spec": { "containers": containers } });
    in_force::<Pod>(&bed, without).await?;
    bed.commit(&shop().with(Release::good("v2")), "Release v2")
        .await?;
    is_denied(&bed, "a pod of Deployment shop-canary").await?;
    policy.delete().await?;
    promoted(&bed).await?;
    clients.stop().await.none_failed()
}

fn shop() -> Shop {
    Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "2s" }] }))
}

/// The status has these words, and nothing is pinned, paused or tried.
async fn is_denied(bed: &Testbed, words: &str) -> Result<()> {
    bed.until("the denial is in the status", |status| {
        let stalled = Condition::find(&status.conditions, ConditionType::Stalled);
        stalled.is_some_and(|stalled| {
            stalled.status == ConditionStatus::True
                && stalled.reason == StallReason::PreflightFailed.as_str()
                && stalled.message.contains(words)
        })
    })
    .await?;
    let service = bed.api::<Service>().get(NAME).await?;
    let selector = service
        .spec
        .and_then(|spec| spec.selector)
        .unwrap_or_default();
    let workload = bed.api::<Deployment>().get(NAME).await?;
    let paused = workload.spec.and_then(|spec| spec.paused);
    ensure!(
        selector.keys().eq(["app"]) && paused != Some(true) && bed.status().await?.attempts == 1,
        "something has moved: {selector:?}, paused: {paused:?}"
    );
    Ok(())
}

/// Policy for objects of one namespace. The namespace's end is its own, too: it selects nothing then.
struct Policy {
    client: Client,
    name: String,
}

// === impl Policy ===

impl Policy {
    /// Denies new and changed objects of these resources for which an expression is false.
    async fn create(bed: &Testbed, resources: &[&str], expression: &str) -> Result<Self> {
        let name = format!("{}-team", bed.context.namespace);
        let rule = json!({ "apiGroups": ["", "apps"], "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"], "resources": resources });
        let policy = json!({
            "metadata": { "name": name },
            "spec": {
                "matchConstraints": { "resourceRules": [rule] },
                "validations": [{ "expression": expression, "message": "the label team is missing" }],
            },
        });
        let here = json!({ "kubernetes.io/metadata.name": bed.context.namespace });
        let binding = json!({
            "metadata": { "name": name },
            "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": { "matchLabels": here } },
            },
        });
        let client = bed.context.client();
        let params = PostParams::default();
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
        policies
            .create(&params, &serde_json::from_value(policy)?)
            .await?;
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
        bindings
            .create(&params, &serde_json::from_value(binding)?)
            .await?;
        Ok(Self { client, name })
    }

    async fn delete(self) -> Result<()> {
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.client);
        bindings
            .delete(&self.name, &DeleteParams::default())
            .await?;
        Ok(())
    }
}

/// Waits until the API server denies an object without the label.
async fn in_force<K>(bed: &Testbed, without: Value) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let object: K = serde_json::from_value(without)?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    until_true("the policy is in force", LIMIT, || async {
        Ok(bed.api::<K>().create(&params, &object).await.is_err())
    })
    .await
}

async fn promoted(bed: &Testbed) -> Result<()> {
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    bed.until("nothing is denied any more", |status| {
        let stalled = Condition::find(&status.conditions, ConditionType::Stalled);
        stalled.is_some_and(|stalled| stalled.status == ConditionStatus::False)
    })
    .await?;
    Ok(())
}
