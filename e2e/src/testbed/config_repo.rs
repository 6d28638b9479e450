//! The ConfigRepo of a shop: its condition, and what people write into its spec.

use anyhow::{Context as _, Result, bail};
use kube::{
    api::{Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use tidegate_api::{
    Condition, ConfigRepo,
    reason::{ConditionType, ReasonCode as _, SyncReason},
};

use super::{LIMIT, NAME, Testbed};

// === impl Testbed ===

impl Testbed {
    /// Waits until the ConfigRepo's condition `Ready` is so.
    pub async fn config_repo_until(
        &self,
        what: &str,
        holds: impl Fn(&Condition) -> bool,
    ) -> Result<Condition> {
        let awaited = await_condition(
            self.api::<ConfigRepo>(),
            NAME,
            |repo: Option<&ConfigRepo>| ready(repo).is_some_and(|ready| holds(&ready)),
        );
        let Ok(repo) = tokio::time::timeout(LIMIT, awaited).await else {
            let repo = self.api::<ConfigRepo>().get_opt(NAME).await?;
            bail!(
                "not within {LIMIT:?}: the ConfigRepo {what}; it says {:?}",
                ready(repo.as_ref())
            );
        };
        ready(repo?.as_ref()).context("the ConfigRepo is gone")
    }

    /// Waits until the ConfigRepo's condition `Ready` has this reason.
    pub async fn config_repo_is(&self, reason: SyncReason) -> Result<Condition> {
        let what = format!("is {}", reason.as_str());
        self.config_repo_until(&what, |ready| ready.reason == reason.as_str())
            .await
    }

    /// Acknowledges the removals that are held, as the message says.
    pub async fn acknowledge(&self) -> Result<()> {
        let held = self.config_repo_is(SyncReason::RemovalHeld).await?;
        let digest = held
            .message
            .split_once("deleted now, write ")
            .and_then(|(_, rest)| rest.split(' ').next())
            .with_context(|| format!("no digest in {:?}", held.message))?;
        self.patch_config_repo(&json!({ "spec": { "sync": { "acknowledge": digest } } }))
            .await
    }

    /// Changes the ConfigRepo as a person would.
    pub async fn patch_config_repo(&self, patch: &Value) -> Result<()> {
        let repos = self.api::<ConfigRepo>();
        repos
            .patch(NAME, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }
}

fn ready(repo: Option<&ConfigRepo>) -> Option<Condition> {
    let status = repo?.status.as_ref()?;
    Condition::find(&status.conditions, ConditionType::Ready).cloned()
}
