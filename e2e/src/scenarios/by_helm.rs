//! Helm installs the shop and upgrades it, and a Rollout holds it by a pause. Helm 4 applies by server-side apply, without
//! force: what Tidegate has written must not stand in the way of a later upgrade.

use std::{fs, process::Output};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::process::Command;

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::{NAME, ROUTE_FILE, Release, Shop, Testbed, ran_as_canary_alone},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(by_helm, run)];

const RATE: u32 = 200;

async fn run(context: Context) -> Result<()> {
    let steps = json!([{ "weight": 10, "hold": "4s" }, { "weight": 50, "hold": "4s" }]);
    let shop = Shop::new().with_rollout(json!({ "steps": steps }));
    let mut bed = Testbed::new(context).await?;
    bed.has_no_repo(&shop).await;
    upgrade(&bed, &shop, false, &[]).await?;
    let seen = bed.history::<Pod>("");
    bed.holds_what_runs().await?;

    let clients = bed.clients(RATE);
    upgrade(&bed, &shop.with(Release::good("v2")), false, &[]).await?;
    ensure!(wait(&bed).await? == Some(0), "it ends before v2 is stable");
    bed.ended_well(1).await?;
    bed.gateway_serves("v2").await?;
    bed.attempt_has_left_no_mark().await?;
    clients.stop().await.none_failed()?;

    let clients = bed.clients(RATE);
    upgrade(&bed, &shop.with(Release::bad("v3")), false, &[]).await?;
    ensure!(
        wait(&bed).await? == Some(1),
        "it does not end with a rejection"
    );
    bed.ended_badly(2).await?;
    bed.gateway_serves("v2").await?;
    bed.attempt_has_left_no_mark().await?;
    ran_as_canary_alone(&seen, "v3")?;
    clients.stop().await.none_failed_beside("v3")?;

    let clients = bed.clients(RATE);
    changes_what_tidegate_wrote(&bed, &shop).await?;
    upgrades_in_an_attempt(&bed, &shop).await?;
    clients.stop().await.none_failed()
}

/// The rules of the route and the template were written by Tidegate last, and are Helm's again.
async fn changes_what_tidegate_wrote(bed: &Testbed, shop: &Shop) -> Result<()> {
    upgrade(bed, &shop.with(Release::good("v4")), true, &[]).await?;
    bed.ended_well(3).await?;
    bed.gateway_serves("v4").await?;
    let route = bed.route().await?;
    let timeout = route.data.pointer("/spec/rules/0/timeouts/request");
    ensure!(
        timeout == Some(&json!("30s")),
        "the route lacks its timeout: {}",
        route.data
    );
    Ok(())
}

/// In an attempt Helm 4 says what is in its way, and the template has come all the same; without server-side apply it
/// leaves alone what the chart has not changed.
async fn upgrades_in_an_attempt(bed: &Testbed, shop: &Shop) -> Result<()> {
    upgrade(bed, &shop.with(Release::good("v5")), true, &[]).await?;
    bed.first_step(4).await?;
    let refused = helm(bed, &shop.with(Release::good("v6")), true, &[]).await?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        !refused.status.success() && said.contains("tidegate"),
        "Helm says nothing of Tidegate: {said}"
    );
    bed.first_step(5).await?;
    let flags = ["--server-side=false"];
    upgrade(bed, &shop.with(Release::good("v7")), true, &flags).await?;
    bed.ended_well(6).await?;
    bed.gateway_serves("v7").await?;
    bed.attempt_has_left_no_mark().await
}

/// What a pipeline does next: it waits for what it has just applied. Returns the exit code.
async fn wait(bed: &Testbed) -> Result<Option<i32>> {
    let cluster = &bed.context.cluster;
    let done = Command::new(&cluster.tools().tidegate)
        .args(["wait", NAME, "--timeout", "2m"])
        .args(["--namespace", &bed.context.namespace])
        .env("KUBECONFIG", cluster.kubeconfig_path())
        .kill_on_drop(true)
        .status();
    Ok(done.await.context("tidegate cannot be started")?.code())
}

async fn upgrade(bed: &Testbed, shop: &Shop, has_timeout: bool, flags: &[&str]) -> Result<()> {
    let done = helm(bed, shop, has_timeout, flags).await?;
    ensure!(
        done.status.success(),
        "helm upgrade: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(())
}

/// Upgrades the release to this shop, whose route may have a timeout.
async fn helm(bed: &Testbed, shop: &Shop, has_timeout: bool, flags: &[&str]) -> Result<Output> {
    let cluster = &bed.context.cluster;
    let chart = bed.context.dir.join("chart");
    fs::create_dir_all(chart.join("templates"))?;
    let about = json!({ "apiVersion": "v2", "name": NAME, "version": "0.1.0" });
    fs::write(chart.join("Chart.yaml"), about.to_string())?;
    for (path, text) in shop.files(&bed.context.namespace) {
        let text = if path == ROUTE_FILE && has_timeout {
            with_a_timeout(&text)?
        } else {
            text
        };
        let name = path.trim_start_matches("shop/");
        // A query's own braces are none of Helm's.
        let text = text.replace("{{", r#"{{ "{{" }}"#);
        fs::write(chart.join("templates").join(name), text)?;
    }
    let program = cluster.tools().helm.as_ref().context("it needs --helm")?;
    let done = Command::new(program)
        .args(["upgrade", "--install", NAME])
        .arg(&chart)
        .args(["--namespace", &bed.context.namespace])
        .args(flags)
        .env("KUBECONFIG", cluster.kubeconfig_path())
        .env("HELM_CACHE_HOME", bed.context.dir.join("helm"))
        .kill_on_drop(true)
        .output();
    done.await.context("Helm cannot be started")
}

fn with_a_timeout(route: &str) -> Result<String> {
    let mut route: serde_json::Value = serde_saphyr::from_str(route)?;
    route["spec"]["rules"][0]["timeouts"] = json!({ "request": "30s" });
    Ok(route.to_string())
}
