//! Execution of decisions: urgent effects, then the status, then the others in order until
//! one fails. It forgets everything but the status when it crashes.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    record::Record,
    status::{Stable, Stage},
};
use tidegate_engine::{
    decide::decide,
    decision::{Action, Decision, Sampling},
    gate::reading::Reading,
    invariants::Author,
    observed::{Admission, Comparison, QueryCheck},
    revision::Digest,
};

use crate::{
    cluster::Cluster,
    deployment::{Deployment, Template, labels},
    world::World,
};

/// Pause after a failed write.
const RETRY: SignedDuration = SignedDuration::from_secs(1);

/// Time that a restart takes.
const RESTART: SignedDuration = SignedDuration::from_secs(2);

/// The process.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) alive: bool,
    pub(crate) epoch: u64,
    /// Its view of each group of objects.
    pub(crate) cache: Cluster,
    /// Until when it sees nothing new of a group.
    pub(crate) lagging: BTreeMap<Group, Timestamp>,
    pub(crate) memory: Memory,
    pub(crate) fault: Option<(u32, Fault)>,
    pub(crate) requeue_at: Option<Timestamp>,
    /// The version of the world that it has looked at.
    pub(crate) looked_at: Option<u64>,
}

/// Memory that a crash takes away.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) sampling: Option<Sampling>,
    pub(crate) next_sample: Option<Timestamp>,
    pub(crate) on_its_way: Vec<Reading>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) compared: Vec<(String, Digest, Comparison)>,
    pub(crate) recorded: Vec<String>,
    pub(crate) queries: Option<QueryCheck>,
    /// Answers of the dry runs of canaries, by revision.
    pub(crate) admitted: Option<(String, Admission)>,
    pub(crate) unwritten_since: Option<Timestamp>,
}

/// Objects that come by one watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Workloads,
    Services,
    Routes,
    Endpoints,
    Revisions,
}

/// Fault of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Refused,
    Swallowed,
    CrashBefore,
    CrashAfter,
}

/// A turn that did not come to its end.
enum Stopped {
    Failed,
    Crashed,
}

// === impl Shell ===

impl Shell {
    pub(crate) fn new(cache: Cluster) -> Self {
        Self {
            alive: true,
            epoch: 1,
            cache,
            lagging: BTreeMap::new(),
            memory: Memory::default(),
            fault: None,
            requeue_at: None,
            looked_at: None,
        }
    }

    /// Starts anew, as the leader after the last one or as itself.
    pub(crate) fn restart(&mut self, epoch: u64, live: &Cluster) {
        *self = Self {
            epoch,
            fault: self.fault,
            ..Self::new(live.clone())
        };
    }

    fn refresh(&mut self, live: &Cluster, now: Timestamp) {
        self.lagging.retain(|_, until| *until > now);
        let current = |group| !self.lagging.contains_key(&group);
        if current(Group::Workloads) {
            self.cache.workload.clone_from(&live.workload);
            self.cache.canary.clone_from(&live.canary);
            self.cache.canary_service = live.canary_service;
        }
        if current(Group::Services) {
            self.cache.services.clone_from(&live.services);
        }
        if current(Group::Routes) {
            self.cache.routes.clone_from(&live.routes);
        }
        if current(Group::Endpoints) {
            self.cache
                .stable_endpoints
                .clone_from(&live.stable_endpoints);
            self.cache
                .canary_endpoints
                .clone_from(&live.canary_endpoints);
        }
        if current(Group::Revisions) {
            self.cache.commits.clone_from(&live.commits);
            self.cache.kept.clone_from(&live.kept);
        }
    }
}

// === impl World ===

impl World {
    /// Looks, decides and acts, once.
    pub(crate) fn turn(&mut self) {
        let (now, version) = (self.now, self.version);
        self.shell.refresh(&self.live, now);
        let Some(seen) = self.observed() else { return };
        let decision = decide(&seen, now);
        self.shell.looked_at = Some(version);
        self.shell.requeue_at = decision.requeue_at;
        if !decision.urgent.is_empty() || decision.persist {
            self.turns_that_wrote += 1;
        }
        for note in &decision.events {
            self.story
                .tell(now, "note", &format!("{}: {note}", note.reason()));
        }
        match self.carry_out(&decision) {
            Ok(()) => {
                if self.shell.lagging.is_empty() && self.shell.alive {
                    self.snapshot(Author::Decision, "a turn has ended");
                }
                if decision.status.attempt.is_some() {
                    self.shell.memory.queries = None;
                }
            }
            Err(Stopped::Failed) => {
                let retry = now + RETRY;
                self.shell.requeue_at =
                    Some(self.shell.requeue_at.map_or(retry, |wake| wake.min(retry)));
            }
            Err(Stopped::Crashed) => {
                self.story.tell(now, "tidegate", "killed");
                self.shell.alive = false;
                self.shell.requeue_at = Some(now + RESTART);
                self.snapshot(Author::Others, "Tidegate is killed");
            }
        }
    }

    /// A failed urgent effect holds neither the other urgent ones nor the status back, but it does
    /// hold back what needs the intent.
    fn carry_out(&mut self, decision: &Decision) -> Result<(), Stopped> {
        let mut failed = false;
        for action in &decision.urgent {
            match self.act(action) {
                Ok(()) => {}
                Err(Stopped::Failed) => failed = true,
                Err(Stopped::Crashed) => return Err(Stopped::Crashed),
            }
        }
        if decision.persist {
            self.write_status(decision)?;
        }
        let unwritten = &mut self.shell.memory.unwritten_since;
        *unwritten = unwritten.or(Some(self.now)).filter(|_| decision.unwritten);
        self.sample_for(decision.sampling);
        if failed {
            return Err(Stopped::Failed);
        }
        decision
            .actions
            .iter()
            .try_for_each(|action| self.act(action))
    }

    fn write_status(&mut self, decision: &Decision) -> Result<(), Stopped> {
        let message = decision.status.message.clone();
        let stage = decision
            .status
            .attempt
            .as_ref()
            .map(|attempt| attempt.stage);
        let what = stage.map_or_else(
            || format!("status: {message}"),
            |stage| format!("status {stage:?}: {message}"),
        );
        self.write(Author::Status, &what, |world| {
            let rollout = world.rollout.as_mut()?;
            rollout.status = decision.status.clone();
            Some(())
        })
    }

    fn act(&mut self, action: &Action) -> Result<(), Stopped> {
        if *action == Action::DryRunCandidate {
            self.compare(
                self.shell
                    .cache
                    .commits
                    .last()
                    .map(|head| (head.revision.clone(), head.template)),
            );
        }
        if *action == Action::DryRunStable {
            let stable = self
                .rollout
                .as_ref()
                .and_then(|rollout| rollout.status.stable.clone());
            let kept = stable.and_then(|stable| {
                let kept = *self.live.kept.get(stable.revision.as_str())?;
                Some((stable.revision.to_string(), as_it_runs(kept, &stable)))
            });
            self.compare(kept);
        }
        if *action == Action::CheckQueries {
            self.check_queries();
        }
        if *action == Action::DryRunCanary {
            self.dry_run_canary();
        }
        if let Action::Record(pending) = action {
            self.git.queue.clone_from(pending);
        }
        if self.changes_nothing(action) {
            return Ok(());
        }
        let (cache, now) = (self.shell.cache.clone(), self.now);
        self.write(Author::Effect, &in_words(action), |world| {
            world.apply(action, &cache, now)
        })
    }

    /// Writes, unless something befalls the write; `None` is a conflict.
    fn write(
        &mut self,
        by: Author,
        what: &str,
        write: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Result<(), Stopped> {
        let fault = match &mut self.shell.fault {
            Some((0, fault)) => Some(*fault),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        if fault.is_some() {
            self.shell.fault = None;
        }
        match fault {
            Some(Fault::CrashBefore) => return Err(Stopped::Crashed),
            Some(Fault::Refused) => {
                self.story
                    .tell(self.now, by_word(by), &format!("{what}: refused"));
                return Err(Stopped::Failed);
            }
            Some(Fault::Swallowed | Fault::CrashAfter) | None => {}
        }
        if write(self).is_none() {
            self.story
                .tell(self.now, by_word(by), &format!("{what}: conflict"));
            return Err(Stopped::Failed);
        }
        self.story.tell(self.now, by_word(by), what);
        self.version += 1;
        self.snapshot(by, what);
        match fault {
            Some(Fault::CrashAfter) => Err(Stopped::Crashed),
            Some(Fault::Swallowed) => Err(Stopped::Failed),
            Some(Fault::Refused | Fault::CrashBefore) | None => Ok(()),
        }
    }

    /// Does what the action says to the live objects, if they are those of the cache.
    fn apply(&mut self, action: &Action, cache: &Cluster, now: Timestamp) -> Option<()> {
        let (live, rollout) = (&mut self.live, self.rollout.as_mut());
        match action {
            Action::AddFinalizer => rollout?.finalizer = true,
            Action::RemoveFinalizer => {
                rollout?.finalizer = false;
                self.vanish();
            }
            Action::SnapshotLiveTemplate(revision) => {
                let template = cache.workload.as_ref()?.template;
                live.kept.insert(revision.to_string(), template);
            }
            Action::SnapshotVersion { revision, version } => {
                let sets = &live.workload.as_ref()?.sets;
                let set = sets.iter().find(|set| set.template.version() == *version)?;
                live.kept.insert(revision.to_string(), set.template);
            }
            Action::ScaleDownVersion(version) => workload(live, cache)?.scale_down(version),
            Action::SetRoute {
                route: wanted,
                weight,
                epoch,
            } => {
                let version = cache
                    .routes
                    .iter()
                    .find(|route| route.name == wanted.name)?
                    .version;
                let route = live
                    .routes
                    .iter_mut()
                    .find(|route| route.name == wanted.name && route.version == version)?;
                route.write(*weight, *epoch, "tidegate", now);
            }
            Action::SetService { name, pin, epoch } => {
                let version = cache
                    .services
                    .iter()
                    .find(|service| service.name == *name)?
                    .version;
                let service = live
                    .services
                    .iter_mut()
                    .find(|service| service.name == *name && service.version == version)?;
                (service.pin, service.epoch, service.version) = (pin.clone(), *epoch, version + 1);
            }
            Action::SetWorkload { paused, epoch } => {
                workload(live, cache)?
                    .edit(|workload| (workload.paused, workload.epoch) = (*paused, *epoch));
            }
            Action::WriteTemplate(revision) => {
                let kept = *live
                    .kept
                    .get(revision.as_str())
                    .expect("a revision that is needed was collected");
                let stable = rollout.and_then(|rollout| rollout.status.stable.as_ref());
                let template = match stable {
                    Some(stable) if stable.revision == *revision => as_it_runs(kept, stable),
                    Some(_) | None => kept,
                };
                workload(live, cache)?.edit(|workload| {
                    (workload.template, workload.manager) = (template, "tidegate-sync");
                });
            }
            Action::ApplyCanary { revision, replicas } => {
                let template = *live
                    .kept
                    .get(revision.as_str())
                    .expect("a revision that is needed was collected");
                live.canary_service = true;
                let canary = live
                    .canary
                    .get_or_insert_with(|| Deployment::new("checkout-canary", template, *replicas));
                canary.edit(|canary| {
                    (canary.template, canary.replicas) = (template, *replicas);
                    canary.revision = Some(revision.clone());
                    canary.in_background = true;
                });
            }
            Action::DeleteCanary => {
                live.canary_service = false;
                live.canary.iter_mut().for_each(|canary| canary.delete(now));
            }
            Action::TransferPendingRecords(pending) => self.git.handed_over.clone_from(pending),
            Action::CollectRevisions { keep } => {
                let seen = |name: &String| cache.kept.contains_key(name);
                live.kept
                    .retain(|name, _| !seen(name) || keep.iter().any(|keep| keep.as_str() == name));
            }
            Action::AnswerIntervention { name, .. } => self.asks.retain(|ask| ask.name != *name),
            Action::DryRunCandidate
            | Action::DryRunStable
            | Action::DryRunCanary
            | Action::CheckQueries
            | Action::RunPreflightWarnings
            | Action::Record(_) => {}
        }
        Some(())
    }

    /// Returns true if the API server would have nothing to write.
    fn changes_nothing(&self, action: &Action) -> bool {
        let live = &self.live;
        match action {
            Action::DryRunCandidate
            | Action::DryRunStable
            | Action::DryRunCanary
            | Action::CheckQueries
            | Action::RunPreflightWarnings
            | Action::Record(_) => true,
            Action::AnswerIntervention { name, .. } => {
                !self.asks.iter().any(|ask| ask.name == *name)
            }
            Action::SnapshotLiveTemplate(revision) | Action::SnapshotVersion { revision, .. } => {
                live.kept.contains_key(revision.as_str())
            }
            Action::ApplyCanary { revision, replicas } => {
                let right = |canary: &Deployment| {
                    canary.replicas == *replicas && canary.revision.as_ref() == Some(revision)
                };
                live.canary_service && live.canary.as_ref().is_some_and(right)
            }
            Action::DeleteCanary => {
                !live.canary_service
                    && live
                        .canary
                        .as_ref()
                        .is_none_or(|canary| canary.going.is_some())
            }
            Action::TransferPendingRecords(pending) => self.git.handed_over == *pending,
            Action::CollectRevisions { keep } => {
                let seen = |name: &&String| self.shell.cache.kept.contains_key(*name);
                live.kept
                    .keys()
                    .filter(seen)
                    .all(|name| keep.iter().any(|keep| keep.as_str() == name))
            }
            Action::AddFinalizer
            | Action::RemoveFinalizer
            | Action::SetRoute { .. }
            | Action::SetService { .. }
            | Action::SetWorkload { .. }
            | Action::ScaleDownVersion(_)
            | Action::WriteTemplate(_) => false,
        }
    }

    /// Asks if the canary of the newest revision would be admitted.
    fn dry_run_canary(&mut self) {
        let Some(head) = self.shell.cache.commits.last() else {
            return;
        };
        let at = self.now;
        let answer = match &self.denies_canary {
            None => Admission::Admitted { at },
            Some(why) => Admission::Denied {
                object: "a pod of Deployment checkout-canary".to_owned(),
                why: why.clone(),
                at,
            },
        };
        self.shell.memory.admitted = Some((head.revision.clone(), answer));
        self.version += 1;
    }

    /// A dry run: it compares with what is live.
    fn compare(&mut self, revision: Option<(String, Template)>) {
        let (Some((revision, template)), Some(workload)) = (revision, &self.live.workload) else {
            return;
        };
        let live = workload.template;
        let same_content = Template {
            restarted: None,
            ..live
        };
        let comparison = if [live, same_content].contains(&template) {
            Comparison::Same
        } else {
            Comparison::Different
        };
        let answer = (revision, workload.template.digest(), comparison);
        if !self.shell.memory.compared.contains(&answer) {
            self.shell.memory.compared.push(answer);
            self.version += 1;
        }
    }

    /// Returns the number of the step that is persisted.
    pub(crate) fn current_step(&self) -> Option<u32> {
        Some(self.rollout.as_ref()?.status.attempt.as_ref()?.step)
    }

    /// The stage that is persisted.
    pub(crate) fn stage(&self) -> Option<Stage> {
        Some(self.rollout.as_ref()?.status.attempt.as_ref()?.stage)
    }
}

/// Stable's template with the mark of its restart.
fn as_it_runs(kept: Template, stable: &Stable) -> Template {
    let restarted = stable.restarted_at.as_ref();
    Template {
        restarted: restarted.map(|at| at.parse().unwrap()),
        ..kept
    }
}

/// The workload, if it is the one of the cache.
fn workload<'a>(live: &'a mut Cluster, cache: &Cluster) -> Option<&'a mut Deployment> {
    let version = cache.workload.as_ref()?.version;
    live.workload
        .as_mut()
        .filter(|workload| workload.version == version)
}

fn by_word(by: Author) -> &'static str {
    if by == Author::Status {
        "status"
    } else {
        "effect"
    }
}

fn in_words(action: &Action) -> String {
    match action {
        Action::SetRoute {
            route,
            weight: Some(weight),
            ..
        } => format!("{route}: {weight} to the canary"),
        Action::SetRoute {
            route,
            weight: None,
            ..
        } => format!("{route}: without the canary"),
        Action::SetService { name, pin, .. } => match pin {
            Some(pin) => format!("Service {name}: pinned to {pin:?}"),
            None => format!("Service {name}: pin off"),
        },
        Action::SetWorkload { paused, .. } => {
            format!(
                "Deployment checkout: {}",
                if *paused { "paused" } else { "let go" }
            )
        }
        Action::WriteTemplate(revision) => {
            format!("Deployment checkout: the template of {revision}")
        }
        Action::SnapshotLiveTemplate(_) => "the live template is kept".to_owned(),
        Action::SnapshotVersion { version, .. } => format!("the template of {version} is kept"),
        Action::ScaleDownVersion(version) => format!("the pods of {version} go"),
        Action::ApplyCanary { revision, replicas } => format!("canary: {replicas} of {revision}"),
        Action::DeleteCanary => "canary: deleted".to_owned(),
        Action::AddFinalizer => "finalizer: on".to_owned(),
        Action::RemoveFinalizer => "finalizer: off".to_owned(),
        Action::DryRunCandidate => "the candidate is compared".to_owned(),
        Action::DryRunStable => "stable is compared".to_owned(),
        Action::DryRunCanary => "the canary is dry-run".to_owned(),
        Action::CheckQueries => "the queries are checked".to_owned(),
        Action::RunPreflightWarnings => "what stands around is looked at".to_owned(),
        Action::Record(pending) | Action::TransferPendingRecords(pending) => {
            let kinds = pending.iter().map(|pending| match &pending.record {
                Record::Started(record) => format!("attempt {} started", record.head.attempt),
                Record::Outcome(record) => {
                    format!("attempt {} {}", record.head.attempt, record.outcome)
                }
            });
            format!("handed over: {}", kinds.collect::<Vec<_>>().join(", "))
        }
        Action::CollectRevisions { .. } => "revisions collected".to_owned(),
        Action::AnswerIntervention { name, answer } => {
            format!("{name}: {:?}: {answer}", answer.state())
        }
    }
}

/// The labels of a candidate's pods.
pub(crate) fn candidate_labels() -> BTreeMap<String, String> {
    labels()
}
