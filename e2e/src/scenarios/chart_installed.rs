//! Tidegate as the chart installs it, for all namespaces: two replicas with the chart's rights and no
//! others, over definitions that the chart upgrades, and people with the rights that the chart gives
//! them.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::{
    api::{coordination::v1::Lease, rbac::v1::RoleBinding},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tidegate_api::{
    Intervention, Rollout,
    intervention::Action,
    record::{Outcome, OutcomeRecord, Reason},
    status::{Phase, RolloutStatus},
};

use crate::{
    chart::{self, Chart, ChartPod},
    cluster::{KubeconfigSpec, User},
    eventually::{eventually, until_true},
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(alone chart_installed, run)];

/// Namespace of the chart's release. The audit log has the reads of its ServiceAccount.
const SYSTEM: &str = "tidegate-system";

/// Name of Tidegate in the audit log.
const TIDEGATE: &str = "system:serviceaccount:tidegate-system:tidegate";

/// A field of the status that an older definition doesn't have.
const FIELD: &str = "driftCorrections";

/// Two people, each with one of Kubernetes' own roles in the shop's namespace.
struct People {
    /// May edit.
    oncall: Person,
    /// May administer.
    lead: Person,
}

/// A person with a client of their own.
struct Person {
    name: String,
    interventions: Api<Intervention>,
}

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let (cluster, admin) = (context.cluster.clone(), context.client());
    cluster.namespace(SYSTEM).await?;
    let mut values = chart::values(&cluster);
    let chart = Chart::render(&cluster, SYSTEM, &values, &context.dir).await?;
    chart.install(&admin).await?;
    make_definition_older(&admin).await?;
    let pods = [
        chart
            .start_pod(&cluster, "tidegate-one", &context.dir)
            .await?,
        chart
            .start_pod(&cluster, "tidegate-two", &context.dir)
            .await?,
    ];
    older_definition_keeps_all_from_leading(&admin, &pods).await?;
    // The upgrade brings the definitions, and holds what Tidegate may read and act as to names.
    values["rbac"] = json!({ "secretNames": ["shop-git"], "serviceAccounts": ["deployer"] });
    let upgrade = Chart::render(&cluster, SYSTEM, &values, &context.dir).await?;
    upgrade.install(&admin).await?;
    for pod in &pods {
        until_true("the replica is ready", LIMIT, || async {
            Ok(pod.readiness().await?.0)
        })
        .await?;
    }
    let audit_log = cluster.audit_log();
    context
        .apart("shop", |context| async move {
            let namespace = context.namespace.clone();
            Box::pin(releases(context)).await?;
            nothing_was_forbidden(&fs::read_to_string(audit_log)?, &namespace)
        })
        .await
}

/// Takes a field out of the Rollout's definition, as a version before it would have had it.
async fn make_definition_older(admin: &Client) -> Result<()> {
    let path =
        format!("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/{FIELD}");
    let patch = serde_json::from_value(json!([{ "op": "remove", "path": path }]))?;
    Api::<CustomResourceDefinition>::all(admin.clone())
        .patch(
            Rollout::crd_name(),
            &PatchParams::default(),
            &Patch::Json::<()>(patch),
        )
        .await?;
    until_true("the older definition is served", LIMIT, || async {
        let request =
            http::Request::get("/openapi/v3/apis/tidegate.io/v1alpha1").body(Vec::new())?;
        Ok(!admin.request_text(request).await?.contains(FIELD))
    })
    .await
}

async fn older_definition_keeps_all_from_leading(admin: &Client, pods: &[ChartPod]) -> Result<()> {
    let lost = format!("would drop Rollout.status.{FIELD}:");
    for pod in pods {
        until_true("readiness names the lost field", LIMIT, || async {
            let (is_ready, said) = pod.readiness().await?;
            Ok(!is_ready && said.contains(&lost))
        })
        .await?;
        let log = fs::read_to_string(pod.process.log())?;
        ensure!(log.contains(&lost), "the log doesn't say it: {log}");
    }
    let leases: Api<Lease> = Api::namespaced(admin.clone(), SYSTEM);
    let leases = leases.list(&ListParams::default()).await?.items;
    ensure!(leases.is_empty(), "one leads: {leases:?}");
    Ok(())
}

/// A good release is promoted, a bad one rolled back, a third aborted; and who may do which.
async fn releases(context: Context) -> Result<()> {
    let mut bed = Testbed::new(context).await?;
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "2s" }, { "approval": { "timeout": "10m" } }, { "weight": 50, "hold": "2s" }],
    }));
    bed.declare(&shop).await?;
    bed.is_open(&shop).await?;
    let people = People::join(&bed).await?;
    let clients = bed.clients(200);

    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    let waiting = awaits_approval(&bed, 2).await?;
    rights_are_held(&people, &waiting).await?;
    let approve = request(&waiting, Action::Approve, &people.lead.name)?;
    people
        .lead
        .interventions
        .create(&PostParams::default(), &approve)
        .await?;
    let record = bed.outcome(2).await?;
    is(&record, Outcome::Promoted, Reason::StepsPassed)?;
    let approved = record
        .steps
        .iter()
        .find_map(|step| step.approved_by.as_ref());
    ensure!(
        approved == Some(&people.lead.name),
        "approved by {approved:?}"
    );
    bed.gateway_serves("v2").await?;

    bed.commit(&shop.with(Release::bad("v3")), "Release v3, which is bad")
        .await?;
    is(
        &bed.outcome(3).await?,
        Outcome::RolledBack,
        Reason::GateBreached,
    )?;
    bed.all_went_back(&clients, "v2").await?;

    bed.commit(&shop.with(Release::good("v4")), "Release v4")
        .await?;
    let waiting = awaits_approval(&bed, 4).await?;
    let abort = request(&waiting, Action::Abort, &people.oncall.name)?;
    people
        .oncall
        .interventions
        .create(&PostParams::default(), &abort)
        .await?;
    is(
        &bed.outcome(4).await?,
        Outcome::Aborted,
        Reason::AbortRequested,
    )?;
    bed.all_went_back(&clients, "v2").await?;
    clients.stop().await;
    Ok(())
}

async fn awaits_approval(bed: &Testbed, attempt: u32) -> Result<RolloutStatus> {
    bed.until(&format!("attempt {attempt} awaits approval"), |status| {
        let running = status.attempt.as_ref().map(|running| running.number);
        status.phase == Phase::AwaitingApproval && running == Some(attempt)
    })
    .await
}

fn is(record: &OutcomeRecord, outcome: Outcome, reason: Reason) -> Result<()> {
    ensure!(
        record.outcome == outcome && record.reason == reason,
        "it is not {outcome:?}: {record:?}"
    );
    Ok(())
}

/// An Intervention for the attempt that waits.
fn request(waiting: &RolloutStatus, action: Action, by: &str) -> Result<Intervention> {
    let attempt = waiting.attempt.as_ref().context("an attempt runs")?;
    let mut spec = json!({
        "rollout": NAME, "attempt": attempt.number, "revision": attempt.revision.as_str(),
        "action": action, "reason": "the scenario wants it", "by": by,
    });
    if action == Action::Approve {
        spec["step"] = attempt.step.into();
    }
    Ok(serde_json::from_value(json!({
        "apiVersion": "tidegate.io/v1alpha1",
        "kind": "Intervention",
        "metadata": { "generateName": format!("{NAME}-") },
        "spec": spec,
    }))?)
}

/// On-call may abort, pause and resume; the lead may do everything; and neither in another's name.
async fn rights_are_held(people: &People, waiting: &RolloutStatus) -> Result<()> {
    let People { oncall, lead } = people;
    for action in Action::ALL {
        lead.may(request(waiting, action, &lead.name)?).await?;
        let own = request(waiting, action, &oncall.name)?;
        if matches!(action, Action::Abort | Action::Pause | Action::Resume) {
            oncall.may(own).await?;
        } else {
            let denied = format!("you may not {}", action.as_str());
            oncall.may_not(&own, &denied).await?;
        }
        let others = request(waiting, action, "system:serviceaccount:shop:somebody")?;
        for person in [oncall, lead] {
            let denied = if person.name == lead.name {
                "spec.by must be your own name"
            } else {
                ""
            };
            person.may_not(&others, denied).await?;
        }
    }
    Ok(())
}

/// Fails if the API server has refused Tidegate anything for want of a right, reads and what it did in
/// another's name included.
fn nothing_was_forbidden(audit_log: &str, namespace: &str) -> Result<()> {
    let lines = audit_log.lines().filter(|line| line.contains(TIDEGATE));
    let events = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours: Vec<_> = events
        .filter(|event| {
            // Other scenarios' namespaces come to their end meanwhile, and take nothing any more.
            let of = &event["objectRef"]["namespace"];
            event["user"]["username"] == TIDEGATE
                && (of.is_null() || of == SYSTEM || of == namespace)
        })
        .collect();
    for verb in ["watch", "get", "patch"] {
        let is_seen = ours.iter().any(|event| event["verb"] == verb);
        ensure!(is_seen, "the audit log has no {verb} of Tidegate");
    }
    let forbidden: Vec<_> = ours
        .iter()
        .filter(|event| event["responseStatus"]["code"] == 403 && !is_denied_by_policy(event))
        .map(|event| {
            format!(
                "{} {}: {}",
                event["verb"], event["requestURI"], event["responseStatus"]["message"]
            )
        })
        .collect();
    ensure!(forbidden.is_empty(), "forbidden: {forbidden:#?}");
    Ok(())
}

/// Returns true if Tidegate was not in want of a right: it asks if another's name would be denied.
fn is_denied_by_policy(event: &Value) -> bool {
    let message = event["responseStatus"]["message"].as_str();
    message.is_some_and(|message| message.contains("denied request"))
}

// === impl People ===

impl People {
    /// Gives each their role, and waits until the role has the chart's rights and the policy is in force.
    async fn join(bed: &Testbed) -> Result<Self> {
        let people = Self {
            oncall: Person::join(bed, "oncall", "edit").await?,
            lead: Person::join(bed, "lead", "admin").await?,
        };
        eventually("the admission policy is in force", LIMIT, || async {
            let nobody = intervention_of_nobody()?;
            let admin = bed.api::<Intervention>();
            let params = PostParams {
                dry_run: true,
                ..PostParams::default()
            };
            match admin.create(&params, &nobody).await {
                Err(kube::Error::Api(status)) if status.code == 403 => Ok(Some(())),
                Err(error) => Err(error.into()),
                Ok(_) => Ok(None),
            }
        })
        .await?;
        Ok(people)
    }
}

fn intervention_of_nobody() -> Result<Intervention> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "tidegate.io/v1alpha1",
        "kind": "Intervention",
        "metadata": { "name": "nobody" },
        "spec": { "rollout": NAME, "attempt": 1, "action": "Abort", "reason": "a try", "by": "nobody" },
    }))?)
}

// === impl Person ===

impl Person {
    async fn join(bed: &Testbed, name: &str, role: &str) -> Result<Self> {
        let context = &bed.context;
        let user = User::service_account(&context.namespace, name);
        bed.create::<RoleBinding>(json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": name }],
        }))
        .await?;
        let spec = KubeconfigSpec::new(format!("{}-{name}", context.namespace), user.clone());
        let client = context.cluster.client(&spec).await?;
        Ok(Self {
            name: user.name(),
            interventions: Api::namespaced(client, &context.namespace),
        })
    }

    /// The API server would take it, at the latest when the roles are aggregated.
    async fn may(&self, asked: Intervention) -> Result<()> {
        let what = format!("{} may {:?}", self.name, asked.spec.action);
        eventually(&what, LIMIT, || async {
            self.try_out(&asked).await?;
            Ok(Some(()))
        })
        .await
    }

    /// The API server denies it with these words.
    async fn may_not(&self, asked: &Intervention, words: &str) -> Result<()> {
        match self.try_out(asked).await {
            Err(kube::Error::Api(status)) if status.code == 403 => {
                ensure!(
                    status.message.contains(words),
                    "{words:?} is not in {}",
                    status.message
                );
                Ok(())
            }
            other => bail!("{} may {:?}: {other:?}", self.name, asked.spec),
        }
    }

    async fn try_out(&self, asked: &Intervention) -> Result<Intervention, kube::Error> {
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        self.interventions.create(&params, asked).await
    }
}
