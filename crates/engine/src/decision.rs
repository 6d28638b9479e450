//! Decisions: effects, the next status, the time of the next look, and events.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tidegate_api::{
    Revision, config::ConfigRef, record::PendingRecord, route::RouteRef, status::RolloutStatus,
    workload::VersionId,
};

use crate::{
    event::Event, interventions::answer::Answer, observed::Owned, pin::Pin, revision::Digest,
    waiting::WaitingOn, weight::Weight,
};

/// Change of the mark by which a workload is held, and by which a template is told that somebody has written since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It goes, or there is none.
    Off,
    /// It goes, and appliers that can be told to pass the workload by are told: Tidegate writes its template, or has
    /// it roll out.
    PassedBy,
    /// It stays.
    Kept,
    /// It is held, and this is the digest of the template that it has.
    At(Digest),
}

/// Everything that is to be done, in the order of the fields.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Effects that only lower risk: they go out before the status is written, and even if it
    /// cannot be.
    pub urgent: Vec<Action>,
    /// The next status.
    pub status: RolloutStatus,
    /// True if the next status is worth a write.
    pub persist: bool,
    /// True if the next status waits a moment for its write: more is likely to follow.
    pub unwritten: bool,
    /// Effects whose intent stands in the next status: they go out once it is written.
    pub actions: Vec<Action>,
    /// Events.
    pub events: Vec<Event>,
    /// Time of the next look though nothing has changed.
    pub requeue_at: Option<Timestamp>,
    /// Condition that is waited for.
    pub waiting: Option<WaitingOn>,
    /// Traffic whose gates are to be sampled.
    pub sampling: Option<Sampling>,
}

/// Traffic whose gates are to be sampled: all that the canary has, whatever the attempt waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Release that they judge.
    pub of: Sampled,
    /// Time since which the canary has had traffic.
    pub since: Timestamp,
    /// True if it has all traffic, so that stable is nothing to compare with.
    pub alone: bool,
    /// The step, once its weight is confirmed.
    pub step: Option<SampledStep>,
}

/// Release whose gates are sampled, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampled {
    /// An attempt.
    Attempt(u32),
    /// A rolling update that is observed; its version of the workload takes the place of a canary.
    Observed(u32),
}

/// Step whose weight is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampledStep {
    /// Its number, from 1.
    pub number: u32,
    /// Time at which its weight was confirmed.
    pub since: Timestamp,
    /// Time until which it holds: it ends on a reading that is not older.
    pub until: Timestamp,
}

/// An effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put our finalizer on the Rollout.
    AddFinalizer,
    /// Take it off.
    RemoveFinalizer,
    /// Ask by a dry run whether the candidate differs from what the workload has.
    DryRunCandidate,
    /// Asks whether stable's template differs from what the workload has.
    DryRunStable,
    /// Ask by dry runs whether the API server would admit the candidate's canary.
    DryRunCanary,
    /// Ask Prometheus, without waiting for it, whether the gates' queries can be used for stable.
    CheckQueries,
    /// Look, without waiting for it, at what stands around the workload and may surprise people.
    RunPreflightWarnings,
    /// Keep the workload's live template as this revision.
    SnapshotLiveTemplate(Revision),
    /// Keep the template that somebody has given the workload as the newest revision.
    KeepCandidate(Revision),
    /// Keep the template of a version of the workload as this revision.
    SnapshotVersion {
        /// The revision, named by the digest of the template.
        revision: Revision,
        /// The version.
        version: VersionId,
    },
    /// Scale the pods of a version of the workload that is not stable's to none.
    ScaleDownVersion(VersionId),
    /// Give a route this split: a share for the canary, or none and no trace of it.
    SetRoute {
        /// Reference to the route.
        route: RouteRef,
        /// The canary's share, or `None` for no canary.
        weight: Option<Weight>,
        /// The epoch annotation, or none.
        epoch: Option<u64>,
    },
    /// Give a Service this pin.
    SetService {
        /// The Service.
        name: String,
        /// Its pin, or none.
        pin: Option<Pin>,
        /// The epoch annotation, or none.
        epoch: Option<u64>,
    },
    /// Pause the workload, or let go.
    SetWorkload {
        /// True if it is paused.
        paused: bool,
        /// Its hold.
        hold: Hold,
        /// The epoch annotation, or none.
        epoch: Option<u64>,
    },
    /// Keep this config from being pruned, and no longer that.
    KeepConfig {
        /// All that is to be kept.
        keep: BTreeSet<ConfigRef>,
        /// What was kept before.
        release: Vec<ConfigRef>,
        /// True if what its applier has forgotten meanwhile is deleted.
        prune: bool,
    },
    /// Write the config of this revision, the attempt's or stable's, where stable's pods read it.
    WriteConfig(Revision),
    /// Give up the fields of an object that Tidegate wrote.
    DisownFields(Owned),
    /// Write the template of this revision into the workload, whole.
    WriteTemplate(Revision),
    /// Make the canary Service and the canary workload what they should be.
    ApplyCanary {
        /// The revision that it runs.
        revision: Revision,
        /// Number of its replicas.
        replicas: u32,
    },
    /// Takes pods away from the canary, and leaves it as it is otherwise.
    ScaleDownCanary {
        /// Number of its replicas.
        replicas: u32,
    },
    /// Delete the canary workload and the canary Service.
    DeleteCanary,
    /// Takes one pod of the canary out of everything that selects it, and retains it for inspection. Nothing waits
    /// for that.
    RetainPod {
        /// Time at which it is to be deleted.
        until: Timestamp,
    },
    /// Deletes a pod that was retained.
    DeleteRetainedPod(String),
    /// Write these to git.
    Record(Vec<PendingRecord>),
    /// Hand these to the `ConfigRepo`, since the Rollout is going away.
    TransferPendingRecords(Vec<PendingRecord>),
    /// Delete the revisions that are not among these.
    CollectRevisions {
        /// Revisions to keep.
        keep: Vec<Revision>,
    },
    /// Answer an intervention.
    AnswerIntervention {
        /// The object's name.
        name: String,
        /// The answer.
        answer: Answer,
    },
}
