//! Effects: what an action does to the live objects, and in words.

use jiff::Timestamp;
use tidegate_api::{
    Revision,
    record::Record,
    status::{RolloutStatus, Stage},
};
use tidegate_engine::{
    decision::{Action, Hold},
    observed::{Owned, RetainedPod},
};

use super::{Group, as_it_runs};
use crate::{
    cluster::{Cluster, Route},
    deployment::Deployment,
    world::{Applier, World},
};

// === impl World ===

impl World {
    /// Does what the action says to the live objects, if they are those of the cache.
    pub(super) fn apply(&mut self, action: &Action, cache: &Cluster, now: Timestamp) -> Option<()> {
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
                let set = sets.iter().find(|set| set.template.is_of(version))?;
                live.kept.insert(revision.to_string(), set.template);
            }
            Action::ScaleDownVersion(version) => workload(live, cache)?.scale_down(version),
            Action::SetRoute {
                route,
                weight,
                epoch,
            } => {
                let version = cache
                    .routes
                    .iter()
                    .find(|seen| seen.name == route.name)?
                    .version;
                let mut routes = live.routes.iter_mut();
                let is_meant =
                    |live: &&mut Route| live.name == route.name && live.version == version;
                routes
                    .find(is_meant)?
                    .write(*weight, *epoch, "tidegate", now);
            }
            Action::SetService { name, pin, epoch } => {
                let mut seen = cache.services.iter();
                let version = seen.find(|service| service.name == *name)?.version;
                let service = live
                    .services
                    .iter_mut()
                    .find(|service| service.name == *name && service.version == version)?;
                (service.pin, service.epoch, service.version) = (pin.clone(), *epoch, version + 1);
                service.owned = true;
            }
            Action::DisownFields(owned) => disown(live, cache, owned)?,
            Action::SetWorkload {
                paused,
                hold,
                epoch,
            } => {
                let hold = told(*hold, self.applier);
                workload(live, cache)?.pause(*paused, hold, *epoch);
            }
            Action::KeepCandidate(revision) => {
                workload(live, cache)?;
                return self.keep_candidate(revision.as_str());
            }
            Action::WriteTemplate(revision) => {
                let kept = *live.kept.get(revision.as_str())?;
                let stable = rollout.and_then(|rollout| rollout.status.stable.as_ref());
                let template = match stable {
                    Some(stable) if stable.revision == *revision => as_it_runs(kept, stable),
                    Some(_) | None => kept,
                };
                workload(live, cache)?.edit(|workload| {
                    (workload.template, workload.manager) = (template, "tidegate-sync");
                    workload.owner = Some("tidegate-sync");
                });
            }
            Action::WriteConfig(revision) => return self.write_config(revision),
            Action::ApplyCanary { revision, replicas } => live.apply_canary(revision, *replicas)?,
            Action::ScaleDownCanary { replicas } => live.scale_down_canary(*replicas)?,
            Action::DeleteCanary => live.delete_canary(now),
            Action::RetainPod { until } => {
                let letter = live.canary.as_ref()?.template.letter;
                live.retained.push(RetainedPod {
                    name: format!("checkout-canary-{letter}"),
                    created: now,
                    until: *until,
                });
            }
            Action::DeleteRetainedPod(name) => live.retained.retain(|pod| pod.name != *name),
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
            | Action::KeepConfig { .. }
            | Action::Record(_) => {}
        }
        Some(())
    }

    /// Writes the config of a revision. The copies of one that is stable are deleted; what is put back is not.
    fn write_config(&mut self, revision: &Revision) -> Option<()> {
        let RolloutStatus {
            stable, attempt, ..
        } = self.status();
        let goes_back = attempt
            .is_some_and(|attempt| attempt.has_failed() || attempt.stage == Stage::RollingBack);
        let is_stables = stable.is_some_and(|stable| stable.revision == *revision);
        let letter = self.live.kept.get(revision.as_str())?.letter;
        if is_stables && !goes_back {
            return None;
        }
        self.live.config = Some(letter);
        Some(())
    }

    /// Returns true if the API server denies such writes now.
    pub(super) fn denies(&self, action: &Action) -> bool {
        let group = match action {
            Action::SetRoute { .. } => Group::Routes,
            Action::SetService { .. } => Group::Services,
            Action::SetWorkload { .. }
            | Action::WriteTemplate(_)
            | Action::WriteConfig(_)
            | Action::ScaleDownVersion(_)
            | Action::ApplyCanary { .. }
            | Action::ScaleDownCanary { .. }
            | Action::DeleteCanary
            | Action::DeleteRetainedPod(_) => Group::Workloads,
            Action::SnapshotLiveTemplate(_)
            | Action::KeepCandidate(_)
            | Action::SnapshotVersion { .. }
            | Action::CollectRevisions { .. } => Group::Revisions,
            Action::AddFinalizer
            | Action::RemoveFinalizer
            | Action::AnswerIntervention { .. }
            | Action::TransferPendingRecords(_)
            // One that is denied is passed over.
            | Action::DisownFields(_)
            | Action::RetainPod { .. }
            | Action::DryRunCandidate
            | Action::DryRunStable
            | Action::DryRunCanary
            | Action::CheckQueries
            | Action::RunPreflightWarnings
            | Action::KeepConfig { .. }
            | Action::Record(_) => return false,
        };
        let denied = self.shell.denied;
        denied.is_some_and(|(denied, until)| denied == group && self.now < until)
    }

    /// Returns true if the API server would have nothing to write.
    pub(super) fn changes_nothing(&self, action: &Action) -> bool {
        let live = &self.live;
        match action {
            Action::DryRunCandidate
            | Action::DryRunStable
            | Action::DryRunCanary
            | Action::CheckQueries
            | Action::RunPreflightWarnings
            | Action::KeepConfig { .. }
            | Action::Record(_) => true,
            Action::AnswerIntervention { name, .. } => {
                !self.asks.iter().any(|ask| ask.name == *name)
            }
            Action::SnapshotLiveTemplate(revision) | Action::SnapshotVersion { revision, .. } => {
                live.kept.contains_key(revision.as_str())
            }
            Action::KeepCandidate(revision) => {
                let head = live.commits.last();
                let is_newest = head.is_some_and(|head| head.revision == revision.as_str());
                is_newest && live.kept.contains_key(revision.as_str())
            }
            Action::ApplyCanary { revision, replicas } => {
                let right = |canary: &Deployment| {
                    canary.replicas == *replicas && canary.revision.as_ref() == Some(revision)
                };
                let has_service = live.canary_service || live.is_uncalled;
                has_service && live.canary.as_ref().is_some_and(right)
            }
            Action::ScaleDownCanary { replicas } => {
                let canary = live.canary.as_ref();
                canary.is_some_and(|canary| canary.replicas <= *replicas)
            }
            Action::DeleteCanary => {
                !live.canary_service
                    && live
                        .canary
                        .as_ref()
                        .is_none_or(|canary| canary.going.is_some())
            }
            Action::DisownFields(owned) => !is_owned(live, owned),
            Action::DeleteRetainedPod(name) => !live.retained.iter().any(|pod| pod.name == *name),
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
            | Action::RetainPod { .. }
            | Action::WriteConfig(_)
            | Action::WriteTemplate(_) => false,
        }
    }
}

/// Returns the hold as it comes to be: nobody is told who does not listen.
fn told(hold: Hold, applier: Option<Applier>) -> Hold {
    match hold {
        Hold::PassedBy if applier.is_none() => Hold::Off,
        Hold::PassedBy | Hold::Off | Hold::Kept | Hold::At(_) => hold,
    }
}

/// Returns true if Tidegate owns a field of an object.
fn is_owned(live: &Cluster, owned: &Owned) -> bool {
    match owned {
        Owned::Workload => live
            .workload
            .iter()
            .any(|workload| workload.owner.is_some()),
        Owned::Service(name) => {
            let mut services = live.services.iter();
            services.any(|service| service.owned && service.name == *name)
        }
        Owned::Route(route) => {
            let mut routes = live.routes.iter();
            routes.any(|live| live.owned && live.name == route.name)
        }
    }
}

/// Tidegate gives up the fields of an object.
fn disown(live: &mut Cluster, cache: &Cluster, owned: &Owned) -> Option<()> {
    match owned {
        Owned::Workload => workload(live, cache)?.owner = None,
        Owned::Service(name) => {
            let mut services = live.services.iter_mut();
            services.find(|service| service.name == *name)?.owned = false;
        }
        Owned::Route(route) => {
            let mut routes = live.routes.iter_mut();
            routes.find(|live| live.name == route.name)?.owned = false;
        }
    }
    Some(())
}

/// The workload, if it is the one of the cache.
fn workload<'a>(live: &'a mut Cluster, cache: &Cluster) -> Option<&'a mut Deployment> {
    let version = cache.workload.as_ref()?.version;
    live.workload
        .as_mut()
        .filter(|workload| workload.version == version)
}

pub(super) fn in_words(action: &Action) -> String {
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
        Action::SetWorkload { paused, hold, .. } => {
            let paused = if *paused { "paused" } else { "let go" };
            let held = match hold {
                Hold::At(_) => ", held",
                Hold::Off | Hold::Kept | Hold::PassedBy => "",
            };
            format!("Deployment checkout: {paused}{held}")
        }
        Action::WriteTemplate(revision) => {
            format!("Deployment checkout: the template of {revision}")
        }
        Action::WriteConfig(revision) => format!("the config of {revision} is written"),
        Action::DisownFields(Owned::Workload) => "Deployment checkout: disowned".to_owned(),
        Action::DisownFields(Owned::Service(name)) => format!("Service {name}: disowned"),
        Action::DisownFields(Owned::Route(route)) => format!("{route}: disowned"),
        Action::SnapshotLiveTemplate(_) => "the live template is kept".to_owned(),
        Action::KeepCandidate(_) => "the template that waits is kept".to_owned(),
        Action::SnapshotVersion { version, .. } => format!("the template of {version} is kept"),
        Action::ScaleDownVersion(version) => format!("the pods of {version} go"),
        Action::ApplyCanary { revision, replicas } => format!("canary: {replicas} of {revision}"),
        Action::ScaleDownCanary { replicas } => format!("canary: scaled down to {replicas}"),
        Action::DeleteCanary => "canary: deleted".to_owned(),
        Action::RetainPod { until } => format!("canary: a pod is retained until {until:.0}"),
        Action::DeleteRetainedPod(name) => format!("pod {name}: deleted"),
        Action::KeepConfig { keep, .. } => format!("{} objects of config are kept", keep.len()),
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
