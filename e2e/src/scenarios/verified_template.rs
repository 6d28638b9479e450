//! A candidate takes a sidecar, a variable and an annotation away that were applied by client-side
//! kubectl: what stable runs after promotion is exactly what the canary ran.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tidegate_api::names::TRACK_LABEL;
use tokio::process::Command;

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::{APP_FILE, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(verified_template, run)];

/// Tries it; skips where there is no kubectl.
async fn run(context: Context) -> Result<()> {
    if Command::new("kubectl")
        .arg("version")
        .arg("--client")
        .output()
        .await
        .is_err()
    {
        println!("skip  verified_template: there is no kubectl here");
        return Ok(());
    }
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "3s" }] }));
    let mut bed = Testbed::new(context).await?;
    apply_with_kubectl(&bed, &shop).await?;
    bed.apply_files(&shop, &["Service", "HTTPRoute"]).await?;
    bed.gateway_serves("v1").await?;
    let before = template(&bed, NAME).await?;
    ensure!(
        before["spec"]["containers"]
            .as_array()
            .is_some_and(|all| all.len() == 2),
        "kubectl applied {before}"
    );
    let clients = bed.clients(100);

    bed.commit(
        &shop.with(Release::good("v2")),
        "Do without the sidecar, the variable and the annotation",
    )
    .await?;
    bed.create_config_repo(json!({})).await?;
    bed.start_tidegate().await?;
    bed.first_step(1).await?;
    let mut canary = template(&bed, &format!("{NAME}-canary")).await?;
    let ran: Vec<_> = bed.pods_of("v2").await?.iter().map(what_it_runs).collect();
    let track = canary["metadata"]["labels"]
        .as_object_mut()
        .and_then(|labels| labels.remove(TRACK_LABEL));
    ensure!(
        track.is_some(),
        "the canary's pods are told apart by nothing"
    );

    bed.promoted(1).await?;
    let stable = template(&bed, NAME).await?;
    ensure!(
        stable == canary,
        "what is stable is not what was verified:\n{stable}\nbut\n{canary}"
    );
    bed.workload_rolled_out().await?;
    for pod in bed.pods_of("v2").await? {
        ensure!(
            ran.contains(&what_it_runs(&pod)),
            "a pod runs what no canary ran: {:?}",
            pod.spec
        );
    }
    let text = stable.to_string();
    for left in ["sidecar", "DEMO_OLD", "example.com/old"] {
        ensure!(!text.contains(left), "{left} is still there: {text}");
    }
    let report = clients.stop().await;
    report.none_failed()
}

/// The app with what the candidate is going to take away.
async fn apply_with_kubectl(bed: &Testbed, shop: &Shop) -> Result<()> {
    let (_, app) = shop
        .files("")
        .into_iter()
        .find(|(path, _)| path == APP_FILE)
        .context("the app's file")?;
    let mut app: Value = serde_saphyr::from_str(&app)?;
    let template = &mut app["spec"]["template"];
    template["metadata"]["annotations"]["example.com/old"] = "yes".into();
    let containers = template["spec"]["containers"]
        .as_array_mut()
        .context("the app has containers")?;
    containers[0]["env"]
        .as_array_mut()
        .context("the app has variables")?
        .push(json!({
            "name": "DEMO_OLD", "value": "yes",
        }));
    containers.push(json!({ "name": "sidecar", "image": "tidegate.dev/idle:1" }));
    let file = bed.context.dir.join("app.json");
    fs::write(&file, app.to_string())
        .with_context(|| format!("{} cannot be written", file.display()))?;
    let kubeconfig = bed.context.cluster.kubeconfig_path();
    let output = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--namespace", &bed.context.namespace, "apply", "--filename"])
        .arg(&file)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "kubectl could not apply the app: {said}"
    );
    Ok(())
}

async fn template(bed: &Testbed, name: &str) -> Result<Value> {
    let workload = bed.get("apps/v1", "Deployment", name).await?;
    let workload = workload.with_context(|| format!("the Deployment {name} is not there"))?;
    Ok(workload.data["spec"]["template"].clone())
}

/// Fields of a pod that are not its own alone.
fn what_it_runs(pod: &Pod) -> Value {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let containers: Vec<_> = containers
        .map(|one| json!({ "name": one.name, "image": one.image, "env": one.env }))
        .collect();
    json!({ "annotations": pod.metadata.annotations, "containers": containers })
}
