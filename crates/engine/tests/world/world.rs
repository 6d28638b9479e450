//! The whole: time, git, metrics, people, and the invariants after every write.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    CommitId, Revision,
    intervention::{Action as Ask, InterventionSpec},
    record::{Outcome, PendingRecord, Record, RestoreOrder},
    rollout::{GitOnRollback, OnRollback, RolloutSpec},
    status::{RolloutStatus, Source},
};
use tidegate_engine::{
    governed::{TemplateInForce, template_in_force},
    invariants::{self, Author, History, RolloutSeen, Snapshot},
    observed::{self, Admission, Candidate, Comparison, Identity, Observed, QueryCheck},
    revision::Digest,
};

use crate::{
    cluster::{Cluster, Commit},
    deployment::{Deployment, Template},
    metrics::{Metrics, READING_LAG},
    shell::{Shell, candidate_labels},
    story::Story,
};

/// The most turns and controller steps without time going on: more is going round in circles.
const MAX_ROUNDS: usize = 400;

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) live: Cluster,
    pub(crate) rollout: Option<Rollout>,
    pub(crate) shell: Shell,
    pub(crate) git: Git,
    pub(crate) metrics: Metrics,
    pub(crate) asks: Vec<observed::Intervention>,
    pub(crate) history: History,
    pub(crate) story: Story,
    pub(crate) version: u64,
    pub(crate) turns_that_wrote: u32,
    pub(crate) met: BTreeMap<(String, &'static str), u32>,
    /// Time at which sync applies again after a change by another writer.
    pub(crate) next_sync: Option<Timestamp>,
    /// File that holds the workload in git.
    pub(crate) file: &'static str,
    /// Words with which the API server denies a canary, if it does.
    pub(crate) denies_canary: Option<String>,
    asked: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Rollout {
    pub(crate) spec: RolloutSpec,
    pub(crate) status: RolloutStatus,
    pub(crate) finalizer: bool,
    pub(crate) deleting: bool,
    /// True if another finalizer keeps it (foreground deletion).
    pub(crate) kept_by_others: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Git {
    pub(crate) down: bool,
    pub(crate) queue: Vec<PendingRecord>,
    pub(crate) handed_over: Vec<PendingRecord>,
    pub(crate) facts: BTreeMap<String, Record>,
    pub(crate) outcomes: Vec<(u32, Outcome)>,
    pub(crate) orders: Vec<RestoreOrder>,
}

// === impl Rollout ===

impl Rollout {
    /// A Rollout that has just been created.
    pub(crate) fn new(spec: RolloutSpec) -> Self {
        Self {
            spec,
            status: RolloutStatus::default(),
            finalizer: false,
            deleting: false,
            kept_by_others: false,
        }
    }
}

// === impl World ===

impl World {
    pub(crate) fn new(now: Timestamp, spec: RolloutSpec, live: Cluster) -> Self {
        let rollout = Rollout::new(spec);
        Self {
            now,
            shell: Shell::new(live.clone()),
            live,
            rollout: Some(rollout),
            git: Git::default(),
            metrics: Metrics::default(),
            asks: Vec::new(),
            history: History::default(),
            story: Story::new(now),
            version: 0,
            turns_that_wrote: 0,
            met: BTreeMap::new(),
            next_sync: None,
            file: "checkout.yaml",
            denies_canary: None,
            asked: 0,
        }
    }

    /// Returns the process's view now.
    pub(crate) fn observed(&self) -> Option<Observed> {
        let (rollout, cache) = (self.rollout.as_ref()?, &self.shell.cache);
        Some(Observed {
            identity: Identity {
                cluster: "test".to_owned(),
                namespace: "shop".to_owned(),
                name: "checkout".to_owned(),
                uid: "uid-1".to_owned(),
                generation: 1,
            },
            deleting: rollout.deleting,
            finalizer: rollout.finalizer,
            epoch: self.shell.epoch,
            spec: rollout.spec.clone(),
            status: rollout.status.clone(),
            unwritten_since: self.shell.memory.unwritten_since,
            conflicting_rollouts: Vec::new(),
            workload_conflict: false,
            workload: cache
                .workload
                .as_ref()
                .map(|workload| workload.seen(self.now)),
            stable: rollout
                .status
                .stable
                .as_ref()
                .map_or(Comparison::Unknown, |stable| {
                    self.compared(stable.revision.as_str())
                }),
            stable_kept: rollout
                .status
                .stable
                .as_ref()
                .is_none_or(|stable| cache.kept.contains_key(stable.revision.as_str())),
            canary: cache
                .canary
                .as_ref()
                .filter(|canary| canary.going.is_none())
                .map(|canary| canary.seen(self.now)),
            canary_pods: cache.canary.as_ref().map_or(0, Deployment::pods),
            canary_service: cache.canary_service,
            canary_name_conflict: false,
            candidate: cache.commits.last().map(|commit| self.candidate(commit)),
            services: cache
                .services
                .iter()
                .map(crate::cluster::Service::seen)
                .collect(),
            other_workloads: Vec::new(),
            stable_endpoints: cache.stable_endpoints.seen(),
            canary_endpoints: cache.canary_endpoints.seen(),
            unlisted_route_kinds: Vec::new(),
            routes: cache
                .routes
                .iter()
                .map(crate::cluster::Route::seen)
                .collect(),
            refused: None,
            applying: false,
            queries: self
                .shell
                .memory
                .queries
                .clone()
                .unwrap_or(QueryCheck::Unknown),
            readings: self.shell.memory.readings.clone(),
            interventions: self.asks.clone(),
            recorded: self.shell.memory.recorded.clone(),
            default_on_rollback: OnRollback {
                git: GitOnRollback::Restore,
            },
        })
    }

    fn candidate(&self, commit: &Commit) -> Candidate {
        Candidate {
            revision: Revision::named(&commit.revision),
            sequence: commit.sequence,
            source: Source {
                config_repo: Some("shop".to_owned()),
                commit: Some(CommitId::named(&commit.id)),
                author: Some("Ada <ada@example.com>".to_owned()),
                path: Some(self.file.to_owned()),
            },
            first_deploy: commit.first_deploy,
            images: vec![format!("shop/checkout:{}", commit.template.letter)],
            pod_labels: candidate_labels(),
            comparison: self.compared(&commit.revision),
            admission: self.admitted(&commit.revision),
        }
    }

    fn admitted(&self, revision: &str) -> Admission {
        match &self.shell.memory.admitted {
            Some((of, answer)) if of == revision => answer.clone(),
            Some(_) | None => Admission::Unknown,
        }
    }

    fn compared(&self, revision: &str) -> Comparison {
        let live = self
            .shell
            .cache
            .workload
            .as_ref()
            .map(|workload| workload.template.digest());
        let known = |(of, digest, _): &&(String, Digest, Comparison)| {
            *of == revision && Some(*digest) == live
        };
        let comparison = self
            .shell
            .memory
            .compared
            .iter()
            .find(known)
            .map(|(_, _, comparison)| comparison.clone());
        comparison.unwrap_or(Comparison::Unknown)
    }

    /// Something happens that is not Tidegate's doing.
    pub(crate) fn happens(&mut self, kind: &'static str, what: &str) {
        let stage = self
            .stage()
            .map_or_else(|| "(at rest)".to_owned(), |stage| format!("{stage:?}"));
        *self.met.entry((stage, kind)).or_default() += 1;
        self.story.tell(self.now, "event", what);
        self.version += 1;
        let misfortune = kind.ends_with("unready");
        self.snapshot(
            if misfortune {
                Author::PodFailure
            } else {
                Author::Others
            },
            what,
        );
    }

    /// Remembers the world as it is, and asks the invariants.
    pub(crate) fn snapshot(&mut self, by: Author, what: &str) {
        let rollout = self.rollout.as_ref().map(|rollout| RolloutSeen {
            status: rollout.status.clone(),
            finalizer: rollout.finalizer,
            deleting: rollout.deleting,
        });
        self.history.push(Snapshot {
            at: self.now,
            by,
            what: what.to_owned(),
            rollout,
            routes: self.live.routes_seen(),
            services: self.live.services_seen(),
            workload: self.live.workload_seen(self.now),
            canary: self.live.canary_service || self.live.canary.is_some(),
            stable_ready: self.live.stable_endpoints.ready(),
            canary_ready: self.live.canary_endpoints.ready(),
            breach_shown: self.shows_a_breach(),
            leading: self.leads(),
            outcomes: self.git.outcomes.clone(),
        });
        if let Err(violation) = invariants::check(&self.history) {
            self.fail(&violation.to_string());
        }
    }

    /// Returns true if the process runs and no newer leader does.
    fn leads(&self) -> bool {
        let attempt = self
            .rollout
            .as_ref()
            .and_then(|rollout| rollout.status.attempt.as_ref());
        self.shell.alive && attempt.is_none_or(|attempt| attempt.epoch <= self.shell.epoch)
    }

    #[expect(clippy::panic, reason = "a test fails by it")]
    pub(crate) fn fail(&self, why: &str) -> ! {
        panic!("{why}\n\n{}", self.story)
    }

    /// Lets time go on.
    pub(crate) fn run_for(&mut self, time: SignedDuration) {
        let end = self.now + time;
        self.settle();
        while let Some(next) = self.next_change().filter(|next| *next <= end) {
            self.now = next;
            self.settle();
        }
        self.now = end;
    }

    /// Lets time go on until something holds; whether it came to that.
    pub(crate) fn run_until(
        &mut self,
        limit: SignedDuration,
        holds: impl Fn(&Self) -> bool,
    ) -> bool {
        let end = self.now + limit;
        self.settle_until(&holds);
        while !holds(self) {
            let Some(next) = self.next_change().filter(|next| *next <= end) else {
                return false;
            };
            self.now = next;
            self.settle_until(&holds);
        }
        true
    }

    fn settle(&mut self) {
        self.settle_until(&|_| false);
    }

    /// Everything that happens at this instant.
    fn settle_until(&mut self, holds: &impl Fn(&Self) -> bool) {
        for _ in 0..MAX_ROUNDS {
            if holds(self) || !self.step() {
                return;
            }
        }
        self.fail("it goes round in circles");
    }

    fn step(&mut self) -> bool {
        if let Some(what) = self.live.control(self.now) {
            self.story.tell(self.now, "cluster", &what);
            self.version += 1;
            self.snapshot(Author::Controllers, &what);
            return true;
        }
        if self.next_sync.is_some_and(|at| at <= self.now) {
            self.sync();
            return true;
        }
        self.end_behavior() || self.read_gates() || self.write_git() || self.wake()
    }

    fn wake(&mut self) -> bool {
        let due = self.shell.requeue_at.is_some_and(|at| at <= self.now);
        if !self.shell.alive {
            if due {
                self.story.tell(self.now, "tidegate", "starts again");
                self.shell.restart(self.shell.epoch, &self.live);
                self.snapshot(Author::Others, "Tidegate starts again");
            }
            return due;
        }
        let lag_over = self.shell.lagging.values().any(|until| *until <= self.now);
        let news = self.shell.looked_at != Some(self.version);
        if self.rollout.is_none() || !(due || news || lag_over) {
            return false;
        }
        self.turn();
        true
    }

    fn next_change(&self) -> Option<Timestamp> {
        let memory = &self.shell.memory;
        let alive = self.rollout.is_some();
        let shell = self.shell.requeue_at.filter(|_| alive);
        let lags = self.shell.lagging.values().copied().filter(|_| alive);
        let readings = memory
            .on_its_way
            .iter()
            .map(|reading| reading.sampled_at + READING_LAG);
        let all = self
            .live
            .next_change(self.now)
            .into_iter()
            .chain(shell)
            .chain(lags);
        all.chain(memory.next_sample)
            .chain(self.next_sync)
            .chain(self.metrics.until)
            .chain(readings)
            .filter(|at| *at > self.now)
            .min()
    }

    /// The writer of records, and of restores.
    fn write_git(&mut self) -> bool {
        if self.git.down || self.git.queue.is_empty() && self.git.handed_over.is_empty() {
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
                self.git
                    .outcomes
                    .push((outcome.head.attempt, outcome.outcome));
                self.story.tell(
                    self.now,
                    "git",
                    &format!("attempt {}: {}", outcome.head.attempt, outcome.outcome),
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
        let head = self.live.commits.last();
        let id = format!("commit-{}", self.live.commits.len() + 1);
        let sequence = match head {
            Some(head) if head.revision == revision => head.sequence,
            Some(head) => head.sequence + 1,
            None => 1,
        };
        let first_deploy = match head {
            Some(head) => head.first_deploy,
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

    /// Applies git's state as sync does, but for the fields that the Rollout governs.
    pub(crate) fn sync(&mut self) {
        self.next_sync = None;
        let Some(head) = self.live.commits.last().cloned() else {
            return;
        };
        self.live.kept.insert(head.revision.clone(), head.template);
        let status = self.rollout.as_ref().map(|rollout| &rollout.status);
        let wanted = match template_in_force(status, head.first_deploy) {
            TemplateInForce::Git => Some(head.template),
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
        self.snapshot(Author::Others, "sync has applied");
    }

    /// A person asks for something, of the attempt that there is or was.
    pub(crate) fn ask(&mut self, action: Ask) {
        let Some(rollout) = &self.rollout else { return };
        let attempt = rollout.status.attempt.as_ref();
        let last = rollout.status.last_outcome.as_ref();
        self.asked += 1;
        // The one that waits is promoted as the next.
        let next = u32::from(action == Ask::Promote);
        let wanted = rollout.status.wanted.as_ref();
        let spec = InterventionSpec {
            rollout: "checkout".to_owned(),
            attempt: attempt.map_or(rollout.status.attempts + next, |attempt| attempt.number),
            revision: match (attempt, last) {
                (Some(attempt), _) => Some(attempt.revision.to_string()),
                (None, _) if next == 1 => wanted.map(|wanted| wanted.revision.to_string()),
                (None, last) => last.map(|last| last.revision.to_string()),
            },
            step: (action == Ask::Approve).then(|| attempt.map_or(1, |attempt| attempt.step)),
            action,
            reason: "it was time".to_owned(),
            by: "grace".to_owned(),
        };
        let name = format!("ask-{}", self.asked);
        self.asks.push(observed::Intervention {
            uid: format!("uid-{name}"),
            name,
            spec,
        });
        self.happens(
            action.as_str(),
            &format!("grace asks to {}", action.as_str()),
        );
    }

    /// Someone, or an autoscaler, scales the workload.
    pub(crate) fn scale(&mut self, replicas: u32) {
        if let Some(workload) = &mut self.live.workload {
            workload.edit(|workload| workload.replicas = replicas);
            self.happens("scale", &format!("the Deployment is scaled to {replicas}"));
        }
    }

    /// The Rollout is deleted.
    pub(crate) fn delete(&mut self, foreground: bool) {
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        rollout.deleting = true;
        rollout.kept_by_others = foreground;
        self.vanish();
        self.happens("delete", "the Rollout is deleted");
    }

    /// A Rollout that is being deleted and that nobody keeps is gone.
    pub(crate) fn vanish(&mut self) {
        let gone =
            |rollout: &Rollout| rollout.deleting && !rollout.finalizer && !rollout.kept_by_others;
        if self.rollout.as_ref().is_some_and(gone) {
            self.rollout = None;
            self.shell.memory = crate::shell::Memory::default();
        }
    }

    /// Returns true if nothing moves: no attempt runs, and none is to come.
    pub(crate) fn is_quiet(&self) -> bool {
        let status = self.rollout.as_ref().map(|rollout| &rollout.status);
        let waits = self.shell.requeue_at.is_some_and(|at| at > self.now)
            || self.shell.looked_at != Some(self.version);
        let resting = status.is_none_or(|status| {
            status.attempt.is_none() && !waits && status.pending_records.is_empty()
        });
        let told = self.git.down || (self.git.queue.is_empty() && self.git.handed_over.is_empty());
        resting
            && told
            && self.next_sync.is_none()
            && self.shell.alive
            && self.live.next_change(self.now).is_none()
    }

    /// Lets it come to rest, and asks what must hold then.
    pub(crate) fn come_to_rest(&mut self) {
        let end = self.now + SignedDuration::from_hours(12);
        self.settle();
        while !self.is_quiet() {
            if let Some(ask) = self.awaits_person() {
                self.ask(ask);
            } else if self.stage().is_none() && self.live.is_switched_off() {
                self.scale(3);
            } else if let Some(next) = self.next_change().filter(|next| *next <= end) {
                self.now = next;
            } else {
                break;
            }
            self.settle();
        }
        if let Err(violation) = invariants::check_quiet(&self.history) {
            self.fail(&violation.to_string());
        }
        if !self.is_quiet() {
            self.fail("invariant 12: it does not come to rest");
        }
    }

    /// Does what only people can do for it to go on.
    fn awaits_person(&self) -> Option<Ask> {
        let rollout = self
            .rollout
            .as_ref()
            .filter(|_| self.asks.is_empty() && self.shell.alive)?;
        let attempt = rollout
            .status
            .attempt
            .as_ref()
            .filter(|attempt| attempt.ending.is_none())?;
        if attempt.stage.is_past_steps() {
            return None;
        }
        let waits = rollout.status.phase == tidegate_api::status::Phase::AwaitingApproval;
        if attempt.paused {
            Some(Ask::Resume)
        } else {
            waits.then_some(Ask::Approve)
        }
    }
}
