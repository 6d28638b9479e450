//! Execution of decisions: urgent effects, then the status, then the others in order until
//! one fails. It forgets everything but the status when it crashes.

mod effect;

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    Revision,
    notification::Notification,
    status::{RolloutStatus, Stable, Stage},
};
use tidegate_engine::{
    decide::decide,
    decision::{Action, Decision, Sampling},
    gate::reading::Reading,
    invariants::Author,
    notification,
    observed::{Admission, Comparison, QueryCheck},
    revision::Digest,
};

use self::effect::in_words;
use crate::{
    cluster::Cluster,
    deployment::{Template, labels},
    world::World,
};

/// Pause after a write that was denied.
const DENIED_RETRY: SignedDuration = SignedDuration::from_secs(5);

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
    pub(crate) cache: Rc<Cluster>,
    /// Until when it sees nothing new of a group.
    pub(crate) lagging: BTreeMap<Group, Timestamp>,
    pub(crate) memory: Memory,
    pub(crate) fault: Option<(u32, Fault)>,
    /// Objects whose writes the API server denies, and until when.
    pub(crate) denied: Option<(Group, Timestamp)>,
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
    /// Time up to which requests are counted.
    pub(crate) counted_until: Option<Timestamp>,
    pub(crate) compared: Vec<(String, Digest, Comparison)>,
    pub(crate) recorded: Vec<String>,
    pub(crate) queries: Option<QueryCheck>,
    /// Answers of the dry runs of canaries, by revision.
    pub(crate) admitted: Option<(String, Admission)>,
    pub(crate) unwritten_since: Option<Timestamp>,
    /// Revision whose config was written last, and the attempt in which it was.
    pub(crate) written_config: Option<(u32, Revision)>,
    /// Denial of a write that was not made since.
    pub(crate) refused: Option<String>,
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

// === impl Fault ===

impl Fault {
    /// Kind of event.
    fn kind(self) -> &'static str {
        match self {
            Self::Refused | Self::Swallowed => "failed write",
            Self::CrashBefore | Self::CrashAfter => "crash",
        }
    }
}

// === impl Shell ===

impl Shell {
    pub(crate) fn new(cache: Cluster) -> Self {
        Self {
            alive: true,
            epoch: 1,
            cache: Rc::new(cache),
            lagging: BTreeMap::new(),
            memory: Memory::default(),
            fault: None,
            denied: None,
            requeue_at: None,
            looked_at: None,
        }
    }

    /// Starts anew, as the leader after the last one or as itself.
    pub(crate) fn restart(&mut self, epoch: u64, live: &Cluster) {
        *self = Self {
            epoch,
            fault: self.fault,
            denied: self.denied,
            ..Self::new(live.clone())
        };
    }

    fn refresh(&mut self, live: &Cluster, now: Timestamp) {
        self.lagging.retain(|_, until| *until > now);
        let current = |group| !self.lagging.contains_key(&group);
        let cache = Rc::make_mut(&mut self.cache);
        if current(Group::Workloads) {
            cache.workload.clone_from(&live.workload);
            cache.canary.clone_from(&live.canary);
            cache.canary_service = live.canary_service;
            cache.retained.clone_from(&live.retained);
        }
        if current(Group::Services) {
            cache.services.clone_from(&live.services);
        }
        if current(Group::Routes) {
            cache.routes.clone_from(&live.routes);
        }
        if current(Group::Endpoints) {
            cache.stable_endpoints.clone_from(&live.stable_endpoints);
            cache.canary_endpoints.clone_from(&live.canary_endpoints);
        }
        if current(Group::Revisions) {
            cache.config = live.config;
            cache.commits.clone_from(&live.commits);
            cache.kept.clone_from(&live.kept);
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
        self.decisions += 1;
        self.shell.looked_at = Some(version);
        self.shell.requeue_at = decision.requeue_at;
        if !decision.urgent.is_empty() || decision.persist {
            self.turns_that_wrote += 1;
        }
        for note in &decision.events {
            self.story
                .tell(now, "note", format_args!("{}: {note}", note.reason()));
        }
        self.story.detail(now, &decision);
        let due = notification::due(&seen.identity, &seen.status, &decision, now);
        match self.carry_out(&decision, due) {
            Ok(()) => {
                self.shell.memory.refused = None;
                if self.shell.lagging.is_empty() && self.shell.alive {
                    self.snapshot(Author::Decision, "a turn has ended");
                }
                if decision.status.attempt.is_some() {
                    self.shell.memory.queries = None;
                }
            }
            Err(Stopped::Failed) => {
                let is_denied = self.shell.memory.refused.is_some();
                let retry = now + if is_denied { DENIED_RETRY } else { RETRY };
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

    /// A failed urgent effect holds neither the other urgent ones, the status nor the finalizer back, but it
    /// does hold back what needs the intent.
    fn carry_out(&mut self, decision: &Decision, due: Vec<Notification>) -> Result<(), Stopped> {
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
        self.notified.extend(due);
        let unwritten = &mut self.shell.memory.unwritten_since;
        *unwritten = unwritten.or(Some(self.now)).filter(|_| decision.unwritten);
        self.sample_for(decision.sampling);
        if failed {
            if decision.actions.contains(&Action::AddFinalizer) {
                self.act(&Action::AddFinalizer)?;
            }
            return Err(Stopped::Failed);
        }
        decision
            .actions
            .iter()
            .try_for_each(|action| self.act(action))
    }

    fn write_status(&mut self, decision: &Decision) -> Result<(), Stopped> {
        self.write(
            Author::Status,
            || status_in_words(&decision.status),
            |world| {
                world.rollout.as_mut()?.status = Arc::new(decision.status.clone());
                world.note_outcome();
                if world.is_observing() {
                    // Nothing is governed any more.
                    world.next_sync.get_or_insert(world.now);
                }
                Some(())
            },
        )
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
        if self.denies(action) {
            self.shell.memory.refused = Some(format!("{}: forbidden", in_words(action)));
            self.story.tell(
                self.now,
                "effect",
                format_args!("{}: denied", in_words(action)),
            );
            return Err(Stopped::Failed);
        }
        let (cache, now) = (Rc::clone(&self.shell.cache), self.now);
        self.write(
            Author::Effect,
            || in_words(action),
            |world| world.apply(action, &cache, now),
        )?;
        if let Action::WriteConfig(revision) = action {
            let attempt = self.status().attempt;
            let number = attempt.map_or(0, |attempt| attempt.number);
            self.shell.memory.written_config = Some((number, revision.clone()));
            self.version += 1;
        }
        Ok(())
    }

    /// Writes, unless something befalls the write; `None` is a conflict.
    fn write(
        &mut self,
        by: Author,
        what: impl FnOnce() -> String,
        write: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Result<(), Stopped> {
        let what = if self.story.is_told {
            what()
        } else {
            String::new()
        };
        let fault = match &mut self.shell.fault {
            Some((0, fault)) => Some(*fault),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        if let Some(fault) = fault {
            self.shell.fault = None;
            self.meet(fault.kind());
        }
        match fault {
            Some(Fault::CrashBefore) => return Err(Stopped::Crashed),
            Some(Fault::Refused) => {
                self.story
                    .tell(self.now, by_word(by), format_args!("{what}: refused"));
                return Err(Stopped::Failed);
            }
            Some(Fault::Swallowed | Fault::CrashAfter) | None => {}
        }
        if write(self).is_none() {
            self.story
                .tell(self.now, by_word(by), format_args!("{what}: conflict"));
            return Err(Stopped::Failed);
        }
        self.story.tell(self.now, by_word(by), &what);
        self.version += 1;
        self.snapshot(by, &what);
        match fault {
            Some(Fault::CrashAfter) => Err(Stopped::Crashed),
            Some(Fault::Swallowed) => Err(Stopped::Failed),
            Some(Fault::Refused | Fault::CrashBefore) | None => Ok(()),
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

/// Stable's template with the mark of its restart. One that is kept with a mark, as it was applied, has its own.
fn as_it_runs(kept: Template, stable: &Stable) -> Template {
    let restarted = stable.restarted_at.as_ref();
    let restarted = restarted.map(|at| at.parse().unwrap());
    Template {
        restarted: kept.restarted.or(restarted),
        ..kept
    }
}

fn by_word(by: Author) -> &'static str {
    if by == Author::Status {
        "status"
    } else {
        "effect"
    }
}

fn status_in_words(status: &RolloutStatus) -> String {
    let message = &status.message;
    match &status.attempt {
        Some(attempt) => format!("status {:?}: {message}", attempt.stage),
        None => format!("status: {message}"),
    }
}

/// The labels of a candidate's pods.
pub(crate) fn candidate_labels() -> BTreeMap<String, String> {
    labels()
}
