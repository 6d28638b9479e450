//! Git: commits and what sync makes of them, records and restores.

use tidegate_api::record::{PendingRecord, Record, RecordHead};
use tidegate_engine::{
    governed::{TemplateInForce, template_in_force},
    invariants::Author,
    observed::{Appliers, Brake},
};

use super::{APPLIER_INTERVAL, Reader, World};
use crate::{
    cluster::Commit,
    deployment::{Deployment, Template},
};

// === impl World ===

impl World {
    /// The writer of records, and of restores.
    pub(super) fn write_git(&mut self) -> bool {
        if self.git.is_out_of_reach()
            || self.git.queue.is_empty() && self.git.handed_over.is_empty()
        {
            return false;
        }
        let pending: Vec<_> = self
            .git
            .queue
            .drain(..)
            .chain(self.git.handed_over.drain(..))
            .collect();
        for PendingRecord {
            record, restore, ..
        } in pending
        {
            let path = record.path();
            self.shell.memory.recorded.push(path.clone());
            if self.git.facts.get(&path) == Some(&record) {
                continue;
            }
            if let Record::Outcome(outcome) = &record {
                if self.is_of_this_rollout(&outcome.head) {
                    self.git
                        .outcomes
                        .push((outcome.head.attempt, outcome.outcome));
                }
                self.story.tell(
                    self.now,
                    "git",
                    format_args!("attempt {}: {}", outcome.head.attempt, outcome.outcome),
                );
            }
            self.git.facts.insert(path, record);
            if let Some(restore) = restore {
                self.restore(restore.rejected.as_str());
                self.git.orders.push(restore);
            }
        }
        self.version += 1;
        self.snapshot(Author::Controllers, "records were written");
        true
    }

    /// Returns false for the records of a Rollout that was deleted by force and created again.
    fn is_of_this_rollout(&self, head: &RecordHead) -> bool {
        let uid = self.rollout.as_ref().map(|rollout| rollout.uid);
        uid.is_none_or(|uid| head.rollout_uid == format!("uid-{uid}"))
    }

    /// Puts the last good template back, if the rejected one is still there and was not promoted since.
    fn restore(&mut self, rejected: &str) {
        let stable = self
            .rollout
            .as_ref()
            .and_then(|rollout| rollout.status.stable.clone());
        let there = self
            .live
            .commits
            .last()
            .is_some_and(|head| head.revision == rejected);
        if let Some(stable) = stable.filter(|stable| there && stable.revision.as_str() != rejected)
        {
            let template = self.live.kept.get(stable.revision.as_str()).copied();
            if let Some(template) = template {
                self.commit(stable.revision.as_str(), template, "restore");
            }
        }
    }

    /// A commit to the config repository, and what sync makes of it.
    pub(crate) fn commit(&mut self, revision: &str, template: Template, kind: &'static str) {
        if let Some(applier) = &mut self.applier {
            (applier.wants, applier.next) = (template, Some(self.now));
            self.happens(kind, &format!("{kind}: git asks for {}", template.letter));
            return;
        }
        if self.brake == Brake::Pause {
            self.apply_by_hand(template, kind);
            return;
        }
        if let Some(unread) = &mut self.git.unread {
            unread.push((revision.to_owned(), template));
            self.happens(kind, "a commit that nobody reads");
            return;
        }
        let head = self.live.commits.last();
        let id = format!("commit-{}", self.live.commits.len() + 1);
        let sequence = match head {
            Some(head) if head.revision == revision => head.sequence,
            Some(head) => head.sequence + 1,
            None => 1,
        };
        let first_deploy = match head {
            Some(head) => head.first_deploy && self.status().stable.is_none(),
            None => self.live.workload.is_none(),
        };
        let what = format!("{kind}: {id} asks for {revision}");
        self.live.commits.push(Commit {
            id,
            revision: revision.to_owned(),
            sequence,
            template,
            first_deploy,
        });
        self.happens(kind, &what);
        self.sync();
    }

    /// Without a `ConfigRepo` the status alone tells how an attempt ended.
    pub(crate) fn note_outcome(&mut self) {
        let last = self.status().last_outcome;
        let is_untold = self.brake == Brake::Pause && self.reader.is_none();
        let Some(last) = last.filter(|_| is_untold) else {
            return;
        };
        let outcomes = &mut self.git.outcomes;
        if outcomes
            .last()
            .is_none_or(|(attempt, _)| *attempt != last.attempt)
        {
            outcomes.push((last.attempt, last.ending.outcome));
        }
    }

    /// An applier looks at the workload, and has it as its git says, unless it is told to pass it by. Returns true
    /// if anything has happened.
    pub(crate) fn reconciles_by_applier(&mut self) -> bool {
        let Some(applier) = &mut self.applier else {
            return false;
        };
        let wants = applier.wants;
        let workload = self.live.workload.as_ref();
        let is_right = workload.is_some_and(|workload| workload.template == wants);
        let is_passed_by = workload.is_some_and(|workload| workload.appliers == Appliers::PassBy);
        match applier.next {
            _ if is_right || is_passed_by => applier.next = None,
            None => applier.next = Some(self.now + APPLIER_INTERVAL),
            Some(at) if at <= self.now => {
                applier.next = None;
                self.apply_by_hand(wants, "applier");
                return true;
            }
            Some(_) => {}
        }
        false
    }

    /// Somebody applies the workload with this template.
    fn apply_by_hand(&mut self, template: Template, kind: &'static str) {
        let workload = self
            .live
            .workload
            .get_or_insert_with(|| Deployment::new("checkout", template, 3));
        if workload.template != template {
            workload.edit(|workload| (workload.template, workload.manager) = (template, "kubectl"));
        }
        let what = format!("{kind}: kubectl applies {}", template.letter);
        self.happens(kind, &what);
    }

    /// The repository that is read answers: the commits are found of all that was applied.
    pub(crate) fn find_commits(&mut self) {
        self.reader = Some(Reader::Answers);
        self.happens("read", "the commits are found");
    }

    /// Keeps what somebody has applied as the newest revision, if it is still there.
    pub(crate) fn keep_candidate(&mut self, revision: &str) -> Option<()> {
        let template = self.live.workload.as_ref()?.template;
        if template.digest().to_string() != revision {
            return None;
        }
        let sequence = self.live.commits.last().map_or(0, |head| head.sequence);
        self.live.kept.insert(revision.to_owned(), template);
        let workload = self.live.workload.as_mut();
        if let Some(workload) = workload.filter(|workload| workload.held.is_some()) {
            workload.edit(|workload| workload.held = Some(template.digest()));
        }
        let head = self.live.commits.last();
        if head.is_some_and(|head| head.revision == revision) {
            return Some(());
        }
        self.live.commits.push(Commit {
            id: "kubectl".to_owned(),
            revision: revision.to_owned(),
            sequence: sequence + 1,
            template,
            first_deploy: false,
        });
        Some(())
    }

    /// The `ConfigRepo` is deleted: nobody applies, and nobody knows where records go.
    pub(crate) fn delete_repo(&mut self) {
        self.git.unread.get_or_insert_default();
        self.happens("repo", "the ConfigRepo is deleted");
    }

    /// The `ConfigRepo` is created again, and reads what was committed since.
    pub(crate) fn create_repo(&mut self) {
        let Some(unread) = self.git.unread.take() else {
            return;
        };
        self.happens("repo", "the ConfigRepo is created again");
        for (revision, template) in unread {
            self.commit(&revision, template, "commit");
        }
        self.sync();
    }

    /// Applies git's state as sync does, but for the fields that the Rollout governs.
    pub(crate) fn sync(&mut self) {
        self.next_sync = None;
        if self.git.unread.is_some() || self.brake == Brake::Pause {
            return;
        }
        let Some(head) = self.live.commits.last().cloned() else {
            return;
        };
        if self.is_observing() {
            return self.apply_ungoverned(&head);
        }
        self.live.kept.insert(head.revision.clone(), head.template);
        let status = self.rollout.as_ref().map(|rollout| &*rollout.status);
        let stable = status.and_then(|status| status.stable.as_ref());
        let stable = stable.map(|stable| stable.revision.to_string());
        self.git.governed = Some(stable.unwrap_or_default());
        self.git.unreleased = None;
        let wanted = match template_in_force(status, head.first_deploy) {
            TemplateInForce::Git => {
                self.live.config = self.live.config.map(|_| head.template.letter);
                Some(head.template)
            }
            TemplateInForce::Revision(name) => self.live.kept.get(name.as_str()).copied(),
            TemplateInForce::Live => None,
        };
        let Some(wanted) = wanted else { return };
        let workload = self
            .live
            .workload
            .get_or_insert_with(|| Deployment::new("checkout", wanted, 3));
        let replaces = status
            .and_then(|status| status.attempt.as_ref())
            .is_some_and(|attempt| attempt.stable_template_updated);
        let wanted = Template {
            restarted: if replaces {
                None
            } else {
                workload.template.restarted
            },
            ..wanted
        };
        if workload.template != wanted {
            workload
                .edit(|workload| (workload.template, workload.manager) = (wanted, "tidegate-sync"));
        }
        self.version += 1;
        self.snapshot(Author::Sync, "sync has applied");
    }

    /// Applies git's state as it is. What was held back when the workload was governed waits for another commit.
    fn apply_ungoverned(&mut self, head: &Commit) {
        if let Some(stable) = self.git.governed.take() {
            let is_stables = stable == head.revision;
            self.git.unreleased = Some(head.revision.clone()).filter(|_| !is_stables);
        }
        if self.git.unreleased.as_ref() == Some(&head.revision) {
            return;
        }
        self.git.unreleased = None;
        self.live.config = self.live.config.map(|_| head.template.letter);
        let wanted = head.template;
        let workload = self
            .live
            .workload
            .get_or_insert_with(|| Deployment::new("checkout", wanted, 3));
        if workload.template != wanted {
            workload
                .edit(|workload| (workload.template, workload.manager) = (wanted, "tidegate-sync"));
        }
        self.version += 1;
        self.snapshot(Author::Sync, "sync has applied");
    }
}
