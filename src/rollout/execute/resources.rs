//! Effects on Tidegate's own resources: the Rollout, its Interventions, and the ConfigRepos that its
//! records are left to.

use kube::ResourceExt as _;
use serde_json::json;
use tidegate_api::{NamespacedName, names, record::PendingRecord, status::RolloutStatus};
use tidegate_engine::interventions::Answer;

use super::{Effects, ExecuteError, failed};
use crate::{clock, kubernetes::writer::Writer};

// === impl Effects ===

impl Effects<'_> {
    /// Writes the next status over the one that the decision was made from, and no other.
    pub(super) async fn write_status(self, status: &RolloutStatus) -> Result<(), ExecuteError> {
        let mut rollout = self.subject.rollout.clone();
        rollout.status = Some(status.clone());
        rollout.metadata.managed_fields = None;
        let written = self
            .writer()
            .replace_status(&self.caches.rollouts, &rollout)
            .await;
        let name = &self.subject.id.name;
        written.map_err(failed(format!("write the status of the Rollout {name}")))
    }

    /// Adds the finalizer to those of others, or takes it off.
    pub(super) async fn set_finalizer(self, wanted: bool) -> Result<(), ExecuteError> {
        let name = &self.subject.id.name;
        // As the last write left it.
        let current = self.caches.rollouts.get(&self.subject.id.namespace, name);
        let current =
            current.ok_or_else(|| ExecuteError::Missing(format!("the Rollout {name}")))?;
        let mut finalizers = current.finalizers().to_vec();
        finalizers.retain(|finalizer| finalizer != names::FINALIZER);
        if wanted {
            finalizers.push(names::FINALIZER.to_owned());
        }
        let patch = json!({ "metadata": { "finalizers": finalizers } });
        let patched = self
            .writer()
            .patch(&self.caches.rollouts, &*current, patch)
            .await;
        patched.map_err(failed(format!("set the finalizer of the Rollout {name}")))
    }

    /// Puts what git is owed into the queues of the ConfigRepos, which outlive the Rollout.
    pub(super) async fn hand_over(self, pending: &[PendingRecord]) -> Result<(), ExecuteError> {
        let repos = &self.caches.config_repos;
        for owed in pending {
            let NamespacedName { namespace, name } = &owed.repo();
            // A ConfigRepo that is gone can be told nothing.
            let Some(guarded) = repos.get(namespace, name) else {
                continue;
            };
            let Ok(repo) = &guarded.0 else { continue };
            let mut queue = repo.status.clone().unwrap_or_default().pending_records;
            let path = owed.record.path();
            if queue.iter().any(|queued| queued.record.path() == path) {
                continue;
            }
            queue.push(owed.clone());
            let status = json!({ "pendingRecords": queue });
            let writer = Writer {
                client: self.client,
                namespace,
            };
            let patched = writer.patch_status(repos, &*guarded, status).await;
            patched.map_err(failed(format!("queue a record at the ConfigRepo {name}")))?;
        }
        Ok(())
    }

    /// Writes the answer to an Intervention into its status.
    pub(super) async fn answer_intervention(
        self,
        name: &str,
        answer: &Answer,
    ) -> Result<(), ExecuteError> {
        let (state, message) = (answer.state(), answer.to_string());
        let status = json!({ "state": state, "message": message, "at": clock::now() });
        let interventions = &self.caches.interventions;
        let asked = interventions.get(&self.subject.id.namespace, name);
        let asked =
            asked.ok_or_else(|| ExecuteError::Missing(format!("the Intervention {name}")))?;
        let answered = self
            .writer()
            .patch_status(interventions, &*asked, status)
            .await;
        answered.map_err(failed(format!("answer the Intervention {name}")))
    }
}
