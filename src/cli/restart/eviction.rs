//! Eviction of stable's pods, one after the other: disruption budgets are kept, and each waits for the one before.

use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Error, ResourceExt as _,
    api::{EvictParams, ListParams},
};
use tidegate_api::{
    Rollout,
    workload::{VersionId, WorkloadRef},
};
use tokio::time::sleep;

use super::{
    super::connection::{answer, answered},
    idle_version,
};
use crate::workload::version_of;

/// Interval at which pods are looked at, and a budget is asked again.
const INTERVAL: Duration = Duration::from_secs(1);

/// Code with which the API server denies an eviction that a budget does not allow now.
const NOT_NOW: u16 = 429;

/// The pods of stable.
pub(super) struct Pods<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
    pub(super) workload: &'a WorkloadRef,
    pub(super) version: &'a VersionId,
    pub(super) rollout: &'a str,
}

// === impl Pods ===

impl Pods<'_> {
    /// Replaces every pod that there is now, and returns their number. Those that are not ready go first: nobody loses
    /// by that.
    pub(super) async fn replace(&self) -> anyhow::Result<usize> {
        let mut old = self.list().await?;
        old.sort_by_key(is_ready);
        let ready = old.iter().filter(|pod| is_ready(pod)).count();
        if ready == 1 {
            bail!(
                "{} has one ready pod, and callers would have nobody until its successor is ready: scale it up \
                 first, which works while it is held",
                self.workload
            );
        }
        let mut evicted = Vec::new();
        for pod in &old {
            self.is_idle().await?;
            self.evict(&pod.name_any()).await?;
            evicted.extend(pod.uid());
            while !is_replaced(&self.list().await?, &evicted, ready) {
                sleep(INTERVAL).await;
            }
        }
        Ok(old.len())
    }

    /// Returns the pods of stable's version that are not on their way out.
    async fn list(&self) -> anyhow::Result<Vec<Pod>> {
        let label = self.workload.kind.version_label();
        let params = ListParams::default().labels(&format!("{label}={}", self.version));
        let mut pods = answered(self.api().list(&params)).await?.items;
        // Another workload of the same template has the same label.
        pods.retain(|pod| {
            let version = version_of(self.workload, &pod.name_any());
            version.as_ref() == Some(self.version) && pod.metadata.deletion_timestamp.is_none()
        });
        Ok(pods)
    }

    /// Fails if an attempt has begun meanwhile.
    async fn is_idle(&self) -> anyhow::Result<()> {
        let api: Api<Rollout> = Api::namespaced(self.client.clone(), self.namespace);
        let rollout = answered(api.get(self.rollout)).await?;
        let version = idle_version(&rollout).context("the other pods are left as they are")?;
        if version != *self.version {
            bail!("another revision is stable now, so all pods are new");
        }
        Ok(())
    }

    /// Evicts a pod, as soon as the budgets allow it.
    async fn evict(&self, pod: &str) -> anyhow::Result<()> {
        let mut is_said = false;
        loop {
            match self.api().evict(pod, &EvictParams::default()).await {
                Ok(_) => return Ok(()),
                Err(Error::Api(status)) if status.code == NOT_NOW => {
                    if !is_said {
                        eprintln!("waiting to evict {pod}: {}", status.message);
                        is_said = true;
                    }
                    sleep(INTERVAL).await;
                }
                Err(Error::Api(status)) if status.code == 404 => return Ok(()),
                Err(error) => return Err(answer(error)),
            }
        }
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), self.namespace)
    }
}

/// Returns true once the pods that were evicted are gone, and as many are ready as in the beginning.
fn is_replaced(now: &[Pod], evicted: &[String], ready: usize) -> bool {
    let is_there = |pod: &Pod| pod.uid().is_some_and(|uid| evicted.contains(&uid));
    !now.iter().any(is_there) && now.iter().filter(|pod| is_ready(pod)).count() >= ready
}

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let mut conditions = status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
