//! Catalogue of condition types and reasons: every word that a program may read in a condition, an
//! event or a record, with its meaning and its remedy.
//!
//! Conditions, events, records and the command line take their words from here, and
//! `docs/reference/conditions-and-events.md` is generated from the comments of the variants.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::Outcome;

/// Reason of a condition, an event or a record: one word in `CamelCase`, from a list.
pub trait ReasonCode: Copy + 'static {
    /// Every reason of the list, in the order of the documentation.
    const ALL: &'static [Self];

    /// Returns the word.
    fn as_str(self) -> &'static str;

    /// Returns the meaning and, where there is something to do, the remedy.
    fn meaning(self) -> String;
}

/// Declares lists of words. The comment of a variant is its meaning.
macro_rules! catalogue {
    ($(
        $(#[doc = $about:literal])+
        pub enum $name:ident $(= $default:ident)? {
            $( $(#[doc = $meaning:literal])+ $variant:ident, )+
        }
    )+) => { $(
        $(#[doc = $about])+
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            JsonSchema,
        )]
        pub enum $name {
            $( $(#[doc = $meaning])+ $variant, )+
        }

        $(
            impl Default for $name {
                fn default() -> Self {
                    Self::$default
                }
            }
        )?

        impl ReasonCode for $name {
            const ALL: &'static [Self] = &[$( Self::$variant, )+];

            fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => stringify!($variant), )+
                }
            }

            fn meaning(self) -> String {
                let lines: &[&str] = match self {
                    $( Self::$variant => &[$( $meaning ),+], )+
                };
                lines.concat().trim().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+ };
}

catalogue! {
    /// Type of a condition.
    pub enum ConditionType {
        /// Callers are served: the Service and the routes exist, and every version that gets
        /// traffic has a ready endpoint.
        Available,
        /// The wanted revision is stable, and the Rollout is available. Of a ConfigRepo: its last
        /// commit is applied.
        Ready,
        /// An attempt is running, or a wanted revision waits for one. The reason is the phase.
        Reconciling,
        /// Manual action is required; nothing moves until then. The message says what to do.
        Stalled,
        /// Stable has fewer ready pods than it wants. A fix, a revert and a Promote Intervention do
        /// not wait for them; in an attempt that started with all of them, weights are not raised
        /// meanwhile. A breach still shifts traffic back as far as stable can carry it.
        StableDegraded,
        /// A field that Tidegate governs (a route's weights during an attempt, the template) was
        /// modified by the same field manager three times in five minutes, and was reverted each
        /// time. Stop that controller from managing the field.
        FieldConflict,
        /// Git takes the records that are written to it. The condition is there from the first
        /// time on that git did not. Traffic never waits for it, and nothing is lost: pending
        /// records stay in `status.pendingRecords`, of the Rollouts or, for those that are
        /// deleted, of the ConfigRepo.
        RecordsWritten,
        /// `spec.suspend` is true: no attempt begins, and a running one may only go back, never on. The
        /// condition is there from the first time on that it was.
        Suspended,
    }

    /// Phase of a Rollout, and reason of the condition `Reconciling`.
    pub enum Phase = Waiting {
        /// The Rollout waits for something that it needs: the workload, a first revision, or the
        /// preconditions of an attempt.
        Waiting,
        /// The first revision is being deployed.
        Initial,
        /// All traffic is on stable, and no attempt is running.
        Stable,
        /// `spec.mode` is `Observe`: the workload is left to itself. The message has the last finding, and what would be
        /// in the way of a release.
        Observing,
        /// An attempt is in its steps.
        Progressing,
        /// A step passed and waits for an approve Intervention.
        AwaitingApproval,
        /// The attempt is paused. A resume Intervention continues it.
        Paused,
        /// `spec.suspend` is true, and traffic stays where it is: nothing begins, goes on or is promoted.
        /// Set it to false to continue.
        Suspended,
        /// The canary has all traffic and stable is being updated to its revision.
        Promoting,
        /// Traffic is going back to stable.
        RollingBack,
        /// The canary is being removed.
        CleaningUp,
        /// Manual action is required. See the condition `Stalled`.
        Stalled,
    }

    /// Reason of the condition `Available`.
    pub enum AvailableReason {
        /// Every version that gets traffic has a ready endpoint.
        EndpointsReady,
        /// The workload has no Service, and pods of it are ready, or it is scaled to zero.
        PodsReady,
        /// A version that gets traffic has no ready endpoint. Check the pods of the workload.
        NoReadyEndpoints,
        /// The workload has no Service, and no pod of it is ready. Check the pods of the workload.
        NoReadyPods,
        /// The Service does not exist. Create it, or name another in `spec.service`.
        ServiceNotFound,
        /// A route does not exist. Create it, or name another in `spec.traffic`.
        RouteNotFound,
    }

    /// Reason of the condition `Ready` of a Rollout.
    pub enum ReadyReason {
        /// The wanted revision is stable and available.
        RevisionStable,
        /// `spec.mode` is `Observe`, and every pod that the workload wants runs its template and is available.
        RolledOut,
        /// `spec.mode` is `Observe`, and Kubernetes is rolling the workload's template out, or cannot.
        RollingOut,
        /// No revision is stable yet.
        NoStableRevision,
        /// The wanted revision is not stable yet, or the workload runs another one.
        RevisionPending,
        /// The wanted revision is stable, and callers are not served. See `Available`.
        NotAvailable,
        /// The wanted revision is not stable, and `spec.suspend` is true. Set it to false to have it
        /// released.
        Suspended,
        /// Git still asks for a revision that was not promoted, and `spec.suspend` is true, so that nothing is
        /// tried. Set it to false and commit another revision, commit it again, or create a retry Intervention.
        Rejected,
        /// Manual action is required. See `Stalled`.
        Stalled,
    }

    /// Reason of the condition `Stalled`. Each one but `NotStalled` is also a Warning event when it
    /// comes up.
    pub enum StallReason {
        /// The Rollout's spec cannot be used; a running attempt goes on under the plan that it
        /// started with. Fix the spec.
        InvalidSpec,
        /// The release cannot be made safely as things are; nothing has moved. The message says
        /// what to change.
        PreflightFailed,
        /// A gate's query is wrong, or selects nothing of a stable that has been there for two
        /// minutes (a misspelled name, a workload that is not scraped); nothing has moved, and
        /// Prometheus is asked again every 5s. Fix the query, or have the workload scraped; for a
        /// service without requests give its gates `minRequests: 0`, or create a promote Intervention.
        InvalidQuery,
        /// The API server denies the next write (a quota, a right, an admission policy), in its own
        /// words. It is retried, at last every 16s; a running attempt keeps to its deadlines, and
        /// shifting traffic back is retried each second. Grant the right or change the policy.
        WriteDenied,
        /// Git still asks for a revision that was not promoted. Commit another, commit it again, or
        /// create a retry Intervention.
        Rejected,
        /// Three attempts of the revision that git asks for ended `Inconclusive`. Have its gates read
        /// and create a retry Intervention, or release it without them by a promote Intervention.
        Inconclusive,
        /// The first revision did not become ready, and there is nothing to go back to. Commit
        /// another.
        InitialFailed,
        /// The ControllerRevision that keeps stable's template is lost, and no version of the workload
        /// has it, so a changed template cannot be reverted. Commit the template again.
        RevisionLost,
        /// The condition is `False`.
        NotStalled,
    }

    /// Reason of the condition `Suspended`.
    pub enum SuspendedReason {
        /// `spec.suspend` is true.
        SuspendRequested,
        /// The condition is `False`.
        NotSuspended,
    }

    /// Reason of the condition `StableDegraded`.
    pub enum StableDegradedReason {
        /// Stable has had no ready endpoint in a step of an attempt, and all traffic is on the canary.
        /// Stable gets its share back once it has been ready for 30s.
        FailedOver,
        /// Stable has fewer ready pods than it wants. The message says how many, and of what version.
        InsufficientReadyReplicas,
        /// The condition is `False`.
        SufficientReadyReplicas,
    }

    /// Reason of the condition `FieldConflict`.
    pub enum FieldConflictReason {
        /// One field manager keeps modifying a field that Tidegate governs.
        RepeatedlyReverted,
        /// The condition is `False`.
        NoConflict,
    }

    /// Reason of an attempt's end: in `status.lastOutcome`, in the record in git, and in the events
    /// that tell of it. Traffic that goes back is told of twice, when it is decided and when it is
    /// done.
    pub enum Reason {
        /// Every step passed.
        StepsPassed,
        /// The first revision of the workload became ready.
        Initial,
        /// The revision was promoted before, so holds and gates were left out.
        KnownGood,
        /// A promote Intervention was accepted.
        PromoteRequested,
        /// A gate was breached.
        GateBreached,
        /// A gate had no usable metrics, and its rule for that is to roll back.
        MetricsUnavailable,
        /// The canary did not become ready by a fault of the revision (a crash, an image that does
        /// not exist, a probe that fails), lost all its ready pods while it was promoted, or lost
        /// them three times within 10 minutes.
        CanaryNotReady,
        /// The workload did not become ready with the candidate's template, though the canary was;
        /// nothing is rejected, and the revision is tried again.
        StableNotReady,
        /// The first revision did not become ready in time.
        InitialNotReady,
        /// A gate had no usable metrics for too long; nothing is rejected, and the revision is
        /// tried again, until three attempts of it have ended so.
        Inconclusive,
        /// Stable had no ready endpoint three times in the attempt; nothing is rejected, and the
        /// revision is tried again.
        StableDown,
        /// An abort Intervention was accepted.
        AbortRequested,
        /// Nobody approved in time.
        ApprovalTimeout,
        /// The Rollout was deleted.
        Deleted,
        /// Something that the attempt needs was taken away, was modified by another writer, or did
        /// not come in time, and nothing says that it is the revision's fault: a quota, a policy, no
        /// room on any node, a registry or a gateway that is away. Nothing is rejected, and the
        /// revision is tried again.
        Blocked,
        /// Git asks for a newer revision.
        NewerRevision,
    }

    /// Finding of a release that is observed, with `spec.mode: Observe`, and reason of the event that tells of it.
    pub enum Finding {
        /// Every gate passed for as long as the steps hold, and the workload is rolled out.
        WouldHavePromoted,
        /// A gate was breached, or pods of the version did not become ready by its own fault. The version goes on running:
        /// roll it back yourself if you want to.
        WouldHaveRolledBack,
        /// There were no usable metrics, too few requests, or pods did not become ready by the fault of their surroundings.
        /// The message says which; a release would have been aborted and tried again.
        Inconclusive,
        /// Another version came before there was a finding, or the mode was changed.
        Superseded,
    }

    /// Reason of the condition `Ready` of a ConfigRepo. A change of it, and each commit, is an event
    /// of the same reason.
    pub enum SyncReason {
        /// The namespace is as the commit says.
        Applied,
        /// The commit is read. Nothing is applied, because the ConfigRepo has no `spec.sync`: another tool does, and what
        /// it applies is found in the commits.
        Read,
        /// The commit is read, and no commit was found that asks for a template that another tool has applied. Records say
        /// so, and nothing can be restored. The message names the workload and the files that were compared.
        CommitUnknown,
        /// The server cannot be reached, or denies the credentials; everything stays as it is, and
        /// it is retried after `interval`, at the latest after 1m. Check URL and credentials.
        FetchFailed,
        /// The commit that was applied last is not an ancestor of the branch; everything stays as
        /// it is until the spec of the ConfigRepo is changed (`interval`, for example), which
        /// accepts the branch as it is. Deleting the ConfigRepo instead would lose its inventory
        /// and its pending records.
        HistoryRewritten,
        /// The branch was there and is gone; everything stays as it is. Restore the branch.
        BranchNotFound,
        /// The content of the repository cannot be used. The message names file, line and cause.
        Invalid,
        /// The repository is larger than Tidegate reads: its clone, an object of its history, the
        /// files and the values of its folder. Everything stays as it is. The message names what is
        /// too large and the limit; make it smaller, or have the operator raise the limit.
        QuotaExceeded,
        /// Another ConfigRepo of the namespace brings an object of this one, so that it is not
        /// applied. Remove it from one of the two repositories.
        ObjectConflict,
        /// The ServiceAccount lacks a right. The message has the `RoleBinding` to apply.
        Forbidden,
        /// A Rollout of the namespace cannot be decoded (after a downgrade, for example), so that
        /// its governed fields are not known; nothing is applied.
        RolloutDecodeFailed,
        /// The API server could not take an object now; it is retried.
        ApplyFailed,
        /// The commit is applied, but objects have left the repository whose loss would hurt, and
        /// they are kept: put them back, or acknowledge their removal as the message says.
        RemovalHeld,
        /// The commit is applied but for the template of a workload whose Rollout is gone, or only
        /// observes: nobody let that revision in, and what runs goes on. Change the workload's manifest
        /// to have it applied, or have the Rollout back or enforce.
        Unreleased,
        /// The commit is applied, and an app that has left the repository is deleted after
        /// `sync.pruneDelay`, unless a commit puts it back.
        RemovalPending,
    }

    /// Reason of the condition `RecordsWritten`. A change of it is an event of the same reason.
    pub enum RecordsReason {
        /// All records are written again.
        Written,
        /// The server rejects the push (a protected branch, a missing right, a hook, a branch that is
        /// in the way of the name). Let the credentials push to the branch of `spec.records`, or name
        /// another there.
        PushRejected,
        /// The server cannot be reached, or is too slow; it is retried, at last every 30s.
        GitUnreachable,
        /// Anything else, as the message says: the credentials are denied, the Secret cannot be
        /// read, the config branch to restore is gone.
        WriteFailed,
    }

    /// Reason of an event of a ConfigRepo, beside those of its conditions. All but `Pruned` and
    /// `Restored` are of the type Warning.
    pub enum RepoEventReason {
        /// An object that had left the repository was deleted.
        Pruned,
        /// Tidegate put the last good template back on the config branch after a rollback. The
        /// event names the commit and the attempt.
        Restored,
        /// An object drifted from git and was corrected; the event says who wrote it.
        DriftCorrected,
        /// The last good template could not be restored on the config branch (the push is rejected,
        /// the file was moved, the good commit is gone), so that git still asks for the rejected
        /// revision. The event says what to do.
        RestoreFailed,
        /// Git has another record where one is to be written. It is left as it is, and the
        /// other is in Tidegate's log. Look in the branch's history for the author of the change.
        RecordConflict,
    }

    /// Reason of an event of a Rollout, beside those of stalls and of attempts' ends.
    pub enum EventReason {
        /// A workload that runs already was adopted as it runs.
        Adopted,
        /// An attempt has started.
        Started,
        /// The canary is to have this weight.
        StepEntered,
        /// A step passed and waits for an approve Intervention.
        AwaitingApproval,
        /// Every step passed; stable is updated to the revision.
        Promoting,
        /// An Intervention was accepted; the event says whose and why.
        InterventionAccepted,
        /// Something that does not stop a release and may surprise during it: an autoscaler by
        /// `Value` or by what the Service alone gets, a disruption budget that counts both versions, a
        /// policy that names the Service alone, pods that must not share a node, a gate over a ratio
        /// without the number of requests, a route to the Service that is not in `spec.traffic`, a value of
        /// `tidegate.io/pin` that says nothing.
        PreflightWarning,
        /// Another writer modified a field that Tidegate governs, and was reverted; the event names
        /// the field manager.
        DriftCorrected,
        /// The canary has no ready endpoint, so it gets no traffic until it has one.
        CanaryUnready,
        /// Stable has had no ready endpoint for 10s, so all traffic goes to the canary.
        FailedOver,
        /// Stable is ready again and has its share of the traffic back.
        FailoverEnded,
        /// The version of the workload that runs stable was deleted in an attempt; the workload is
        /// unpaused until it has made it again.
        StableRecreated,
        /// The workload was restarted at rest (`kubectl rollout restart`): its pods were replaced, and its
        /// revision is the same.
        StableRestarted,
        /// The ControllerRevision that kept stable's template was lost, and is made again from the
        /// version of the workload that runs it.
        RevisionRestored,
        /// Something of an attempt whose Rollout was deleted without its finalizer was left in the
        /// cluster, and is put right.
        LeftoversFound,
        /// A destination of `spec.notifications` cannot be told, or has not been told of something. The message
        /// has the cause. Releases never wait for it.
        NotificationFailed,
        /// A release is observed, with `spec.mode: Observe`. The event of its finding follows.
        ReleaseObserved,
        /// `spec.suspend` was set to true: no attempt begins, and a running one may only go back.
        Suspended,
        /// `spec.suspend` was set to false: releases go on, and deadlines begin again.
        Unsuspended,
    }

    /// Type of a notification.
    pub enum NotificationType {
        /// An attempt has started.
        Started,
        /// A step passed and waits for an approve Intervention.
        AwaitingApproval,
        /// Traffic is going back to stable, for the reason that is named. `Ended` follows once it is there and the
        /// canary is gone.
        RollingBack,
        /// An attempt has ended, with its outcome and the reason.
        Ended,
        /// Stable has had no ready endpoint for 10s, so all traffic goes to the canary.
        FailedOver,
        /// Stable is ready again and has its share of the traffic back.
        FailoverEnded,
        /// Stable has fewer ready pods than it wants while an attempt runs, having had them for five minutes.
        StableDegraded,
        /// Manual action is required; nothing moves until then. The reason is that of the condition. A rejection
        /// is not sent beside the `Ended` that says why.
        Stalled,
        /// A release was observed, with `spec.mode: Observe`. The reason is the finding; one that was superseded is not
        /// sent.
        Observed,
    }
}

// === impl Reason ===

impl Reason {
    /// Returns the outcome that the reason implies.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::StepsPassed | Self::Initial | Self::KnownGood | Self::PromoteRequested => {
                Outcome::Promoted
            }
            Self::GateBreached | Self::MetricsUnavailable | Self::CanaryNotReady => {
                Outcome::RolledBack
            }
            Self::Inconclusive
            | Self::StableNotReady
            | Self::StableDown
            | Self::AbortRequested
            | Self::ApprovalTimeout
            | Self::Deleted
            | Self::Blocked => Outcome::Aborted,
            Self::NewerRevision => Outcome::Superseded,
            Self::InitialNotReady => Outcome::Failed,
        }
    }
}

// === impl Finding ===

impl Finding {
    /// Returns true if the event is of the type Warning.
    pub fn is_warning(self) -> bool {
        match self {
            Self::WouldHaveRolledBack | Self::Inconclusive => true,
            Self::WouldHavePromoted | Self::Superseded => false,
        }
    }
}

// === impl EventReason ===

impl EventReason {
    /// Returns true if the event is of the type Warning.
    pub fn is_warning(self) -> bool {
        match self {
            Self::PreflightWarning
            | Self::DriftCorrected
            | Self::CanaryUnready
            | Self::FailedOver
            | Self::StableRecreated
            | Self::RevisionRestored
            | Self::LeftoversFound
            | Self::NotificationFailed => true,
            Self::Adopted
            | Self::Started
            | Self::StepEntered
            | Self::AwaitingApproval
            | Self::Promoting
            | Self::FailoverEnded
            | Self::StableRestarted
            | Self::ReleaseObserved
            | Self::Suspended
            | Self::Unsuspended
            | Self::InterventionAccepted => false,
        }
    }
}
