//! A shop without a ConfigRepo, whose workload its Rollout holds by a pause.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::ResourceExt as _;
use tidegate_api::{
    names,
    record::{Outcome, Reason},
    status::{OutcomeSummary, RolloutStatus},
};

use super::{CANARY, History, LIMIT, NAME, Testbed, runs};
use crate::eventually::until_true;

// === impl Testbed ===

impl Testbed {
    /// Starts Tidegate, which holds the workload that runs. No pod restarts.
    pub async fn holds_what_runs(&mut self) -> Result<()> {
        self.workload_rolled_out().await?;
        let pods = self.pod_uids().await?;
        self.start_tidegate().await?;
        self.is_held().await?;
        ensure!(self.pod_uids().await? == pods, "pods were restarted");
        Ok(())
    }

    /// Waits until the workload is held, and nothing is to be done.
    pub async fn is_held(&self) -> Result<()> {
        until_true("the workload is held", LIMIT, || async {
            let workload = self.api::<Deployment>().get(NAME).await?;
            Ok(is_paused(&workload) && workload.annotations().contains_key(names::HELD_ANNOTATION))
        })
        .await?;
        let is_done = |status: &RolloutStatus| status.stable.is_some() && status.attempt.is_none();
        self.until("no attempt runs", is_done).await?;
        Ok(())
    }

    /// Waits until what is asked for is stable again without another attempt, of which there were so many.
    pub async fn rests_on_what_is_wanted(&self, attempts: u32) -> Result<()> {
        let status = self
            .until("what is wanted is stable", |status| {
                let (stable, wanted) = (status.stable.as_ref(), status.wanted.as_ref());
                let stable = stable.map(|stable| &stable.revision);
                status.attempt.is_none() && stable == wanted.map(|wanted| &wanted.revision)
            })
            .await?;
        ensure!(status.attempts == attempts, "it was tried again");
        Ok(())
    }

    /// Waits until the attempt of this number is over. No git has its record.
    pub async fn ended(&self, attempt: u32) -> Result<OutcomeSummary> {
        let is_over = |status: &RolloutStatus| {
            let last = status.last_outcome.as_ref();
            status.attempt.is_none() && last.is_some_and(|last| last.attempt == attempt)
        };
        let status = self
            .until(&format!("attempt {attempt} is over"), is_over)
            .await?;
        status.last_outcome.context("it has an outcome")
    }

    /// Waits until the attempt of this number is over, which has to be promoted since all its steps have passed.
    pub async fn ended_well(&self, attempt: u32) -> Result<()> {
        let ended = self.ended(attempt).await?.ending;
        ensure!(
            (ended.outcome, ended.reason) == (Outcome::Promoted, Reason::StepsPassed),
            "{ended:?}"
        );
        Ok(())
    }

    /// Waits until the attempt of this number is over, which has to be rolled back since a gate was breached.
    pub async fn ended_badly(&self, attempt: u32) -> Result<()> {
        let ended = self.ended(attempt).await?.ending;
        ensure!(
            (ended.outcome, ended.reason) == (Outcome::RolledBack, Reason::GateBreached),
            "{ended:?}"
        );
        Ok(())
    }
}

/// Returns true where the workload is paused.
pub fn is_paused(workload: &Deployment) -> bool {
    workload.spec.as_ref().and_then(|spec| spec.paused) == Some(true)
}

/// The image of the workload's template.
pub fn image(workload: &Deployment) -> String {
    let template = workload.spec.as_ref().map(|spec| &spec.template);
    let pod = template.and_then(|template| template.spec.as_ref());
    let container = pod.and_then(|pod| pod.containers.first());
    let image = container.and_then(|container| container.image.clone());
    image.unwrap_or_default()
}

/// No pod of the workload itself has ever run this version, and the canary's have.
pub fn ran_as_canary_alone(seen: &History<Pod>, version: &str) -> Result<()> {
    let states = seen.states();
    let of_version = states.iter().filter(|(_, pod)| runs(pod, version));
    let names: BTreeSet<_> = of_version.map(|(_, pod)| pod.name_any()).collect();
    let of_canary = format!("{CANARY}-");
    ensure!(
        !names.is_empty() && names.iter().all(|name| name.starts_with(&of_canary)),
        "{version} ran in {names:?}"
    );
    Ok(())
}
