//! A Deployment, its ReplicaSets and its controller.

use std::{collections::BTreeMap, sync::LazyLock};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tidegate_api::{Revision, workload::VersionId};
use tidegate_engine::{
    decision::Hold,
    observed::{Appliers, Held, Version, Workload},
    readiness::{Fault, PodProblem, PodProgress},
    revision::Digest,
};

/// Time that a pod takes to become ready, where nothing else is said.
const STARTUP: SignedDuration = SignedDuration::from_millis(1500);

/// Time that pods take to go.
const GRACE: SignedDuration = SignedDuration::from_millis(800);

/// Digests of the templates by their letters: they are asked for all the time.
static DIGESTS: LazyLock<BTreeMap<char, Digest>> = LazyLock::new(|| {
    let digest = |letter: char| Digest::of(&json!({ "image": letter.to_string() }));
    ('A'..='Z').map(|letter| (letter, digest(letter))).collect()
});

/// Content of a pod template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Template {
    pub(crate) letter: char,
    pub(crate) quality: Quality,
    /// Number of the restart that its pods were last replaced by.
    pub(crate) restarted: Option<u32>,
}

/// Behavior of a template's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Quality {
    /// As they should.
    Good,
    /// A fifth of their answers are errors.
    Erroring,
    /// Three in a hundred of their answers are errors, where one is usual: less than any limit.
    Worse,
    /// They are slow.
    Slow,
    /// They never become ready.
    Broken,
}

#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) id: u64,
    /// Time at which it is ready; never, if broken.
    pub(crate) ready_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) template: Template,
    pub(crate) pods: Vec<Pod>,
}

#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) name: &'static str,
    pub(crate) replicas: u32,
    /// True if an autoscaler scales it.
    pub(crate) autoscaled: bool,
    pub(crate) template: Template,
    pub(crate) paused: bool,
    /// Digest of the template that it had when it was held last.
    pub(crate) held: Option<Digest>,
    /// What its applier is told, where it can be.
    pub(crate) appliers: Appliers,
    /// Field manager that owns its template, if that is Tidegate.
    pub(crate) owner: Option<&'static str>,
    /// Time at which it will be gone.
    pub(crate) going: Option<Timestamp>,
    /// True if it is gone at once when it is deleted, and its pods are what goes then.
    pub(crate) in_background: bool,
    pub(crate) epoch: Option<u64>,
    pub(crate) manager: &'static str,
    pub(crate) revision: Option<Revision>,
    pub(crate) sets: Vec<Set>,
    pub(crate) version: u64,
    /// Time until which new pods find no room.
    pub(crate) no_room_until: Option<Timestamp>,
    /// Time that a new pod takes to become ready.
    pub(crate) startup: SignedDuration,
    generation: i64,
    observed: i64,
    /// Number of ready pods, by its status.
    available: u32,
    next_pod: u64,
    /// The most that its pods have had, and the time at which they last got more.
    progress: Option<(PodProgress, Timestamp)>,
}

// === impl Template ===

impl Template {
    pub(crate) fn digest(self) -> Digest {
        match self.restarted {
            None => self.content(),
            Some(at) => Digest::of(&json!({ "image": self.letter.to_string(), "restartedAt": at })),
        }
    }

    /// Digest without the mark of a restart.
    pub(crate) fn content(self) -> Digest {
        DIGESTS[&self.letter]
    }

    pub(crate) fn version(self) -> VersionId {
        let restart = self.restarted.map_or_else(String::new, |at| at.to_string());
        VersionId::new(format!("hash{}{restart}", self.letter))
    }

    /// Returns true if this is its version.
    pub(crate) fn is_of(self, version: &VersionId) -> bool {
        let name = version.as_str().strip_prefix("hash");
        let restart = name.and_then(|name| name.strip_prefix(self.letter));
        restart.is_some_and(|restart| match self.restarted {
            None => restart.is_empty(),
            Some(at) => restart == at.to_string(),
        })
    }
}

// === impl Pod ===

impl Pod {
    pub(crate) fn is_ready(&self, now: Timestamp) -> bool {
        self.ready_at.is_some_and(|at| at <= now)
    }
}

// === impl Set ===

impl Set {
    pub(crate) fn ready(&self, now: Timestamp) -> u32 {
        count(self.pods.iter().filter(|pod| pod.is_ready(now)).count())
    }
}

// === impl Deployment ===

impl Deployment {
    pub(crate) fn new(name: &'static str, template: Template, replicas: u32) -> Self {
        Self {
            name,
            replicas,
            autoscaled: false,
            template,
            paused: false,
            held: None,
            appliers: Appliers::Apply,
            owner: None,
            going: None,
            in_background: false,
            epoch: None,
            manager: "tidegate-sync",
            revision: None,
            sets: Vec::new(),
            version: 1,
            no_room_until: None,
            startup: STARTUP,
            generation: 1,
            observed: 0,
            available: 0,
            next_pod: 0,
            progress: None,
        }
    }

    /// Changes its spec.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        self.generation += 1;
        self.version += 1;
    }

    /// Tidegate pauses it, or lets go.
    pub(crate) fn pause(&mut self, paused: bool, hold: Hold, epoch: Option<u64>) {
        self.edit(|workload| {
            (workload.paused, workload.epoch) = (paused, epoch);
            workload.appliers = match hold {
                Hold::PassedBy => Appliers::PassBy,
                Hold::Off | Hold::Kept | Hold::At(_) => Appliers::Apply,
            };
            match hold {
                Hold::Off | Hold::PassedBy => workload.held = None,
                Hold::Kept => {}
                Hold::At(digest) => workload.held = Some(digest),
            }
        });
    }

    pub(crate) fn delete(&mut self, now: Timestamp) {
        self.version += 1;
        self.going.get_or_insert(now + GRACE);
    }

    /// One step of its controller; whether it did anything.
    pub(crate) fn sync(&mut self, now: Timestamp) -> bool {
        let changed = if self.going.is_some() && self.in_background {
            // Its pods are marked a moment after it.
            false
        } else if self.going.is_some() {
            self.drop_pods()
        } else {
            self.roll(now)
        };
        let seen = std::mem::replace(&mut self.observed, self.generation) == self.generation;
        let ready = self.sets.iter().map(|set| set.ready(now)).sum();
        let same = std::mem::replace(&mut self.available, ready) == ready;
        let changed = changed || !seen || !same;
        self.version += u64::from(changed);
        // What it has changes by itself where room is found alone.
        if !changed && self.progress.is_some() && self.no_room_until.is_none() {
            return false;
        }
        let seen = self.seen(now);
        let (progress, at) = self
            .progress
            .get_or_insert_with(|| (PodProgress::of(&seen), now));
        if progress.advance(&seen) {
            *at = now;
        }
        changed
    }

    /// Makes so many of its pods unready until then, of those that are ready.
    pub(crate) fn strike(&mut self, now: Timestamp, until: Timestamp, pods: usize) {
        let ready = self
            .sets
            .iter_mut()
            .flat_map(|set| &mut set.pods)
            .filter(|pod| pod.is_ready(now));
        ready.take(pods).for_each(|pod| pod.ready_at = Some(until));
        self.version += 1;
    }

    /// Somebody deletes what runs this version, with its pods.
    pub(crate) fn lose(&mut self, version: &VersionId) {
        self.sets.retain(|set| !set.template.is_of(version));
        self.version += 1;
    }

    /// The pods of this version go.
    pub(crate) fn scale_down(&mut self, version: &VersionId) {
        let sets = self.sets.iter_mut();
        sets.filter(|set| set.template.is_of(version))
            .for_each(|set| set.pods.clear());
        self.version += 1;
    }

    /// Returns the time at which its pods change by themselves.
    pub(crate) fn next_change(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        let pods = self
            .sets
            .iter()
            .flat_map(|set| &set.pods)
            .filter_map(|pod| pod.ready_at);
        pods.chain(self.going).filter(move |at| *at > now)
    }

    pub(crate) fn seen(&self, now: Timestamp) -> Workload {
        let current = self.sets.iter().find(|set| set.template == self.template);
        let all = || self.sets.iter().flat_map(|set| &set.pods);
        Workload {
            generation: self.generation,
            observed_generation: self.observed,
            replicas: self.replicas,
            updated: current.map_or(0, |set| count(set.pods.len())),
            total: count(all().count()),
            available: self.available,
            paused: self.paused,
            held: self.held.filter(|_| self.paused).map(|known| Held {
                live: self.template.digest(),
                is_known: known == self.template.digest(),
            }),
            appliers: self.appliers,
            deleting: self.going.is_some(),
            epoch: self.epoch,
            template: self.template.digest(),
            content: self.template.content(),
            restarted_at: self.template.restarted.map(|at| at.to_string()),
            config: None,
            pod_labels: labels(),
            parallel_blockers: Vec::new(),
            obstacle: None,
            hold_obstacle: None,
            versions: self
                .sets
                .iter()
                .map(|set| Version {
                    id: set.template.version(),
                    template: set.template.digest(),
                    content: set.template.content(),
                    pod_labels: labels(),
                    replicas: count(set.pods.len()),
                    ready: set.ready(now),
                })
                .collect(),
            autoscaled: self.autoscaled,
            scaled_by: None,
            template_manager: Some(self.manager.to_owned()),
            revision: self.revision.clone(),
            problem: current.and_then(|set| self.problem(set, now)),
            progressed_at: self.progress.map(|(_, at)| at),
        }
    }

    fn problem(&self, current: &Set, now: Timestamp) -> Option<PodProblem> {
        let unready = current.pods.iter().any(|pod| !pod.is_ready(now));
        if unready && current.template.quality == Quality::Broken {
            return Some(PodProblem {
                fault: Fault::Revision,
                message: "container app: CrashLoopBackOff".to_owned(),
            });
        }
        if unready && self.no_room_until.is_some_and(|until| until > now) {
            return Some(PodProblem {
                fault: Fault::Surroundings,
                message: "Unschedulable".to_owned(),
            });
        }
        None
    }

    /// Number of its pods.
    pub(crate) fn pods(&self) -> u32 {
        self.sets.iter().map(|set| count(set.pods.len())).sum()
    }

    fn drop_pods(&mut self) -> bool {
        let had = self.sets.iter().any(|set| !set.pods.is_empty());
        self.sets.iter_mut().for_each(|set| set.pods.clear());
        had
    }

    /// A rolling update with maxSurge 1 and maxUnavailable 0; while paused, scaling alone.
    fn roll(&mut self, now: Timestamp) -> bool {
        let known = self
            .sets
            .iter()
            .position(|set| set.template == self.template);
        if self.paused {
            let largest = (0..self.sets.len()).max_by_key(|index| self.sets[*index].pods.len());
            // Where none has pods, it is the one of its template, if there was one.
            let active = largest.filter(|index| !self.sets[*index].pods.is_empty());
            let active = active.or(known).or(largest);
            return active.is_some_and(|active| self.scale(active, now));
        }
        let Some(current) = known else {
            self.sets.push(Set {
                template: self.template,
                pods: Vec::new(),
            });
            return true;
        };
        let wanted = self.replicas as usize;
        let new = self.sets[current].pods.len();
        let old: usize = self.sets.iter().map(|set| set.pods.len()).sum::<usize>() - new;
        if old == 0 {
            return self.scale(current, now);
        }
        if new < wanted && new + old <= wanted {
            self.add_pod(current, now);
            return true;
        }
        let unready = self.sets[current]
            .pods
            .iter()
            .filter(|pod| !pod.is_ready(now))
            .count();
        let spare = (new + old).saturating_sub(wanted).saturating_sub(unready);
        spare > 0 && self.drop_old(current, now)
    }

    fn drop_old(&mut self, current: usize, now: Timestamp) -> bool {
        let ready: usize = self.sets.iter().map(|set| set.ready(now) as usize).sum();
        let may = ready > self.replicas as usize;
        let mut old = self
            .sets
            .iter_mut()
            .enumerate()
            .filter(|(index, _)| *index != current)
            .map(|(_, set)| set);
        old.any(|set| {
            let victim = set
                .pods
                .iter()
                .position(|pod| !pod.is_ready(now))
                .or_else(|| (may && !set.pods.is_empty()).then_some(0));
            victim.map(|victim| set.pods.remove(victim)).is_some()
        })
    }

    fn scale(&mut self, set: usize, now: Timestamp) -> bool {
        let (have, wanted) = (self.sets[set].pods.len(), self.replicas as usize);
        (have..wanted).for_each(|_| self.add_pod(set, now));
        // Pods that are not ready go first.
        self.sets[set]
            .pods
            .sort_by_key(|pod| (!pod.is_ready(now), pod.id));
        self.sets[set].pods.truncate(wanted);
        have != wanted
    }

    fn add_pod(&mut self, set: usize, now: Timestamp) {
        self.next_pod += 1;
        let broken = self.sets[set].template.quality == Quality::Broken;
        let starts = self.no_room_until.map_or(now, |until| until.max(now));
        let ready_at = (!broken).then_some(starts + self.startup);
        self.sets[set].pods.push(Pod {
            id: self.next_pod,
            ready_at,
        });
    }
}

/// The labels of all pods.
pub(crate) fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), "checkout".to_owned())])
}

pub(crate) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap()
}
