//! The whole: time, git, metrics, people, and the invariants after every write.

mod observation;
mod people;
mod repository;

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    Revision,
    notification::Notification,
    record::{Outcome, PendingRecord, Record, RestoreOrder},
    rollout::{Mode, RolloutSpec},
    status::RolloutStatus,
};
use tidegate_engine::{
    invariants::{self, Author, History, RolloutSeen, Snapshot, WantedSeen},
    observed,
};

use crate::{
    cluster::Cluster,
    deployment::{Quality, Template},
    histories::AT_REST,
    metrics::{Metrics, READING_LAG},
    rollout::template,
    shell::Shell,
    story::Story,
};

/// Interval at which another writer writes the same again.
const WRITE_BACK_INTERVAL: SignedDuration = SignedDuration::from_secs(20);

/// Interval at which an applier looks whether the workload is as its git says.
const APPLIER_INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// The most turns and controller steps without time going on: more is going round in circles.
const MAX_ROUNDS: usize = 400;

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) live: Cluster,
    pub(crate) rollout: Option<Rollout>,
    pub(crate) shell: Shell,
    /// Who applies the workload: a `ConfigRepo`, or people.
    pub(crate) brake: observed::Brake,
    /// An applier that has the workload as its own git says, again and again.
    pub(crate) applier: Option<Applier>,
    pub(crate) git: Git,
    pub(crate) metrics: Metrics,
    pub(crate) asks: Vec<observed::Intervention>,
    pub(crate) history: History,
    pub(crate) story: Story,
    pub(crate) version: u64,
    pub(crate) turns_that_wrote: u32,
    pub(crate) decisions: u32,
    pub(crate) met: BTreeMap<(String, &'static str), u32>,
    /// Another writer that writes the same again and again.
    pub(crate) rival: Option<Rival>,
    /// Time at which sync applies again after a change by another writer.
    pub(crate) next_sync: Option<Timestamp>,
    /// File that holds the workload in git.
    pub(crate) file: &'static str,
    /// Attribution of Interventions.
    pub(crate) attribution: observed::Attribution,
    /// Repository that is read for the commits of what is applied by others.
    pub(crate) reader: Option<Reader>,
    /// Words with which the API server denies a canary, if it does.
    pub(crate) denies_canary: Option<String>,
    /// Notifications, in their order.
    pub(crate) notified: Vec<Notification>,
    asked: u32,
    /// True if pods of the revision that is tried have just stopped being ready.
    probes_fail: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Rollout {
    /// One that is created again is another one.
    pub(crate) uid: u32,
    pub(crate) spec: RolloutSpec,
    /// The persisted status, which snapshots share.
    pub(crate) status: Arc<RolloutStatus>,
    pub(crate) finalizer: bool,
    pub(crate) deleted_at: Option<Timestamp>,
    /// True if another finalizer keeps it (foreground deletion).
    pub(crate) kept_by_others: bool,
}

/// Another writer that writes the same again and again, as one does that has a desired state of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rival {
    pub(crate) writes: Written,
    pub(crate) next: Timestamp,
    /// Number of times that it will.
    pub(crate) left: u32,
}

/// An applier that can be told to pass an object by, as Flux can.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applier {
    /// Template in its git.
    pub(crate) wants: Template,
    /// Time at which it looks next, if the workload is not as it wants it.
    pub(crate) next: Option<Timestamp>,
}

/// Repository that is read for the commits of what is applied by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Its server does not answer.
    Silent,
    /// It tells the commit.
    Answers,
}

/// Field that another writer writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Written {
    Template,
    /// The canary's share in the route, in percent.
    Route(u32),
}

#[derive(Debug, Default)]
pub(crate) struct Git {
    pub(crate) down: bool,
    /// Commits that nobody reads, as the `ConfigRepo` is gone.
    pub(crate) unread: Option<Vec<(String, Template)>>,
    pub(crate) queue: Vec<PendingRecord>,
    pub(crate) handed_over: Vec<PendingRecord>,
    pub(crate) facts: BTreeMap<String, Record>,
    pub(crate) outcomes: Vec<(u32, Outcome)>,
    pub(crate) orders: Vec<RestoreOrder>,
    /// Stable's revision when sync last saw the workload governed; empty where nothing was stable.
    pub(crate) governed: Option<String>,
    /// Revision that was not let in when the workload was governed last: it waits for another commit.
    pub(crate) unreleased: Option<String>,
}

// === impl Rollout ===

impl Rollout {
    /// A Rollout that has just been created.
    pub(crate) fn new(spec: RolloutSpec) -> Self {
        Self {
            uid: 1,
            spec,
            status: Arc::default(),
            finalizer: false,
            deleted_at: None,
            kept_by_others: false,
        }
    }
}

// === impl Git ===

impl Git {
    /// Returns true if nothing can be written: git is down, or nobody says where it is.
    pub(crate) fn is_out_of_reach(&self) -> bool {
        self.down || self.unread.is_some()
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
            brake: observed::Brake::Sync,
            applier: None,
            git: Git::default(),
            metrics: Metrics::default(),
            asks: Vec::new(),
            history: History::default(),
            story: Story::new(now),
            version: 0,
            turns_that_wrote: 0,
            decisions: 0,
            met: BTreeMap::new(),
            rival: None,
            next_sync: None,
            file: "checkout.yaml",
            reader: None,
            denies_canary: None,
            notified: Vec::new(),
            attribution: observed::Attribution::Enforced,
            asked: 0,
            probes_fail: false,
        }
    }

    /// Something happens that is not Tidegate's doing.
    pub(crate) fn happens(&mut self, kind: &'static str, what: &str) {
        self.meet(kind);
        self.story.tell(self.now, "event", what);
        self.version += 1;
        let by = if kind.ends_with("unready") {
            Author::PodFailure
        } else {
            Author::Others
        };
        self.probes_fail = self.are_of_revision(kind);
        self.snapshot(by, what);
        self.probes_fail = false;
    }

    /// Returns true if pods of the revision that is tried stop being ready by this kind of event.
    fn are_of_revision(&self, kind: &'static str) -> bool {
        let attempt = self.rollout.as_ref();
        let attempt = attempt.and_then(|rollout| rollout.status.attempt.as_ref());
        let is_updated = attempt.is_some_and(|attempt| attempt.stable_template_updated);
        kind == "canary unready" || kind == "stable unready" && is_updated
    }

    /// Counts that the stage has met an event of this kind.
    pub(crate) fn meet(&mut self, kind: &'static str) {
        let stage = self
            .stage()
            .map_or_else(|| AT_REST.to_owned(), |stage| format!("{stage:?}"));
        *self.met.entry((stage, kind)).or_default() += 1;
    }

    /// Remembers the world as it is, and asks the invariants.
    pub(crate) fn snapshot(&mut self, by: Author, what: &str) {
        let rollout = self.rollout.as_ref().map(|rollout| RolloutSeen {
            status: Arc::clone(&rollout.status),
            finalizer: rollout.finalizer,
            deleting: rollout.deleted_at.is_some(),
            suspended: rollout.spec.suspend,
            mode: rollout.spec.mode,
        });
        self.history.push(Snapshot {
            at: self.now,
            by,
            what: if self.story.is_told {
                what.to_owned()
            } else {
                String::new()
            },
            rollout,
            routes: if self.is_without_service() {
                Vec::new()
            } else if self.splits_by_replicas() {
                self.shares_seen()
            } else {
                self.live.routes_seen()
            },
            services: self.live.services_seen(),
            workload: self.live.workload_seen(self.now),
            wanted: self.live.commits.last().map(|head| WantedSeen {
                revision: Revision::named(&head.revision),
                sequence: head.sequence,
            }),
            canary: self.live.canary_service || self.live.canary.is_some(),
            canary_template: self
                .live
                .canary
                .as_ref()
                .map(|canary| canary.template.content()),
            config: self
                .live
                .config
                .map(|letter| template(letter, Quality::Good).content()),
            culpable: self.probes_fail || self.is_culpable(),
            stable_ready: self.ready_for_stables_share(),
            canary_ready: self.ready_of_canary(),
            canary_replicas: self
                .live
                .canary
                .as_ref()
                .filter(|canary| canary.going.is_none())
                .map_or(0, |canary| canary.replicas),
            breach_shown: self.shows_a_breach(),
            leading: self.leads(),
            outcomes: self.git.outcomes.clone(),
        });
        if let Err(violation) = invariants::check(&self.history) {
            self.fail(&violation.to_string());
        }
    }

    /// Returns true if the workload is left to itself.
    pub(crate) fn is_observing(&self) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| {
            rollout.spec.mode == Mode::Observe && rollout.status.attempt.is_none()
        })
    }

    /// Returns true if the process runs, may write, and no newer leader is there.
    fn leads(&self) -> bool {
        let attempt = self
            .rollout
            .as_ref()
            .and_then(|rollout| rollout.status.attempt.as_ref());
        let may_write = self.shell.denied.is_none_or(|(_, until)| until <= self.now);
        self.shell.alive
            && may_write
            && attempt.is_none_or(|attempt| attempt.epoch <= self.shell.epoch)
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
        if let Some(change) = self.live.control(self.now) {
            let what = if self.story.is_told {
                self.live.told(change, self.now)
            } else {
                String::new()
            };
            self.story.tell(self.now, "cluster", &what);
            self.version += 1;
            self.snapshot(Author::Controllers, &what);
            return true;
        }
        if self.next_sync.is_some_and(|at| at <= self.now) {
            self.sync();
            return true;
        }
        if self.reconciles_by_applier() {
            return true;
        }
        if let Some(rival) = self.rival.filter(|rival| rival.next <= self.now) {
            self.write_back(rival);
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
        // A process that was killed starts again, whatever there is for it to do.
        let shell = self.shell.requeue_at.filter(|_| alive || !self.shell.alive);
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
            .chain(self.rival.map(|rival| rival.next))
            .chain(self.applier.and_then(|applier| applier.next))
            .chain(self.metrics.until)
            .chain(readings)
            .filter(|at| *at > self.now)
            .min()
    }

    /// Returns true if nothing moves: no attempt runs, and none is to come.
    pub(crate) fn is_quiet(&self) -> bool {
        let status = self.rollout.as_ref().map(|rollout| &rollout.status);
        let waits = self.shell.requeue_at.is_some_and(|at| at > self.now)
            || self.shell.looked_at != Some(self.version);
        let resting = status.is_none_or(|status| {
            status.attempt.is_none() && !waits && status.pending_records.is_empty()
        });
        let told = self.git.is_out_of_reach()
            || (self.git.queue.is_empty() && self.git.handed_over.is_empty());
        resting
            && told
            && self.next_sync.is_none()
            && self.rival.is_none()
            && self.applier.is_none_or(|applier| applier.next.is_none())
            && self.shell.alive
            && (self.rollout.is_none() || self.shell.lagging.is_empty())
            && self.live.next_change(self.now).is_none()
    }

    /// Lets it come to rest, and asks what must hold then.
    pub(crate) fn come_to_rest(&mut self) {
        let end = self.now + SignedDuration::from_hours(12);
        self.settle();
        while !self.is_quiet() || self.is_left_over_for_good() {
            if let Some(ask) = self.awaits_person() {
                self.ask(ask);
            } else if self.waits_to_be_scaled_up() {
                self.scale(3);
            } else if self.is_left_over_for_good() {
                self.delete(false);
            } else if self.is_fix_wanted() {
                self.commit_fix();
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
}
