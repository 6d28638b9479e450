//! Break glass: the page of that name is followed to the letter with Tidegate stopped, and then Tidegate
//! takes over again what it finds.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::api::Api;
use serde_json::json;
use tidegate_api::{Rollout, status::Phase};
use tokio::process::Command;

use crate::{
    eventually::until_true,
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(break_glass, run)];

/// The page.
const PAGE: &str = include_str!("../../../docs/break-glass.md");

/// Image that is released by hand.
const IMAGE: &str = "tidegate.dev/demo-app:v3";

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 20, "hold": "1h" }] }));
    let mut bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(50);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    bed.tidegate()?.kill().await?;
    let mut commands = commands();
    let (first, rest) = (commands.remove(0), commands);
    follow(&bed, &first).await?;
    bed.gateway_serves("v1").await?;
    for block in &rest {
        follow(&bed, block).await?;
    }
    bed.gateway_serves("v3").await?;
    let service = bed.api::<Service>().get(NAME).await?;
    let selector = service.spec.and_then(|spec| spec.selector);
    ensure!(
        selector.is_some_and(|selector| selector.keys().eq(["app"])),
        "the Service is still pinned"
    );

    bed.commit(&shop.with(Release::good("v3")), "What was released by hand")
        .await?;
    bed.start_tidegate().await?;
    let rollouts: Api<Rollout> = bed.api();
    until_true("it adopts what runs", LIMIT, || async {
        let rollout = rollouts.get_opt(NAME).await?;
        let status = rollout.and_then(|rollout| rollout.status);
        Ok(status.is_some_and(|status| status.phase == Phase::Stable && status.attempts == 0))
    })
    .await?;
    bed.gateway_serves("v3").await?;
    let report = clients.stop().await;
    report.none_failed()
}

/// The blocks of the page that are run.
fn commands() -> Vec<String> {
    let blocks = PAGE.split("```sh\n").skip(1);
    blocks
        .filter_map(|block| Some(block.split_once("```")?.0.to_owned()))
        .collect()
}

/// Runs a block in a shell, as a person would who has pasted it.
async fn follow(bed: &Testbed, block: &str) -> Result<()> {
    let done = Command::new("bash")
        .args(["-euc", block])
        .env("KUBECONFIG", bed.context.cluster.kubeconfig_path())
        .env("NS", &bed.context.namespace)
        .env("APP", NAME)
        .env("ROUTE", NAME)
        .env("IMAGE", IMAGE)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(LIMIT, done)
        .await
        .with_context(|| format!("not within {LIMIT:?}:\n{block}"))??;
    ensure!(
        done.status.success(),
        "{}\nof\n{block}",
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_commands() {
        let commands = commands();
        assert!(commands.len() >= 5, "{commands:?}");
        assert!(commands.iter().all(|block| block.contains("kubectl")));
    }
}
