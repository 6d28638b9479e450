//! The names under which Tidegate is known in a cluster and in git.

/// The API group of all our kinds.
pub const GROUP: &str = "tidegate.io";

/// Field manager of every write that Tidegate makes in its own name.
pub const FIELD_MANAGER: &str = "tidegate";

/// Field manager of what a `ConfigRepo` applies, template writes of a promotion included.
pub const SYNC_FIELD_MANAGER: &str = "tidegate-sync";

/// Finalizer of a Rollout: there while an attempt runs, so that deletion waits for traffic.
pub const FINALIZER: &str = "tidegate.io/traffic";

/// Label of everything that belongs to a Rollout: its name.
pub const ROLLOUT_LABEL: &str = "tidegate.io/rollout";

/// Label of the canary's pods, in its selectors and, during a promotion, in the pins.
pub const TRACK_LABEL: &str = "tidegate.io/track";

/// Value of `{{track}}` in a query for stable; its pods have no such label.
pub const TRACK_STABLE: &str = "stable";

/// The value of [`TRACK_LABEL`] on the canary's pods.
pub const TRACK_CANARY: &str = "canary";

/// The value of [`TRACK_LABEL`] on a pod of a failed canary that is retained for inspection.
pub const TRACK_RETAINED: &str = "retained";

/// Annotation of a retained pod: the time at which it is deleted.
pub const RETAINED_UNTIL_ANNOTATION: &str = "tidegate.io/retained-until";

/// Annotation of a `ConfigRepo` that people set: another value has the repository looked at, and its objects compared,
/// at once.
pub const REQUESTED_AT_ANNOTATION: &str = "tidegate.io/requested-at";

/// Annotation of a `ControllerRevision`: the commit that asked for the template.
pub const CONFIG_COMMIT_ANNOTATION: &str = "tidegate.io/config-commit";

/// Annotation of a `ControllerRevision`: who wrote that commit, `Name <address>`.
pub const CONFIG_AUTHOR_ANNOTATION: &str = "tidegate.io/config-author";

/// Annotation of a `ControllerRevision`: the file of the repository that holds the workload.
pub const CONFIG_PATH_ANNOTATION: &str = "tidegate.io/config-path";

/// Annotation of a `ControllerRevision`, and of an object that is applied without a field of its own: the `ConfigRepo`
/// that brought it.
pub const CONFIG_REPO_ANNOTATION: &str = "tidegate.io/config-repo";

/// Annotation of a `ControllerRevision` that another tool has applied: the `ConfigRepo` in whose repository its commit
/// was looked for, and which takes its records.
pub const RECORDS_REPO_ANNOTATION: &str = "tidegate.io/records-repo";

/// Annotation of a `ControllerRevision` that another tool has applied: the revision as the commit has it.
pub const WRITTEN_AS_ANNOTATION: &str = "tidegate.io/written-as";

/// Annotation of a `ControllerRevision`: `true` where its template went straight in, because no
/// revision of the workload had been ready before.
pub const FIRST_DEPLOY_ANNOTATION: &str = "tidegate.io/first-deploy";

/// Annotation of the canary workload: the revision that it runs, by its full name.
pub const REVISION_ANNOTATION: &str = "tidegate.io/revision";

/// Annotation of a workload that is paused for as long as its Rollout is there, since no ConfigRepo applies it: the
/// digest of the template that it had when Tidegate looked last.
pub const HELD_ANNOTATION: &str = "tidegate.io/held";

/// Annotation of an object whose applier is told to pass it by: the annotation that tells it, and after `=` the value
/// that it had before.
pub const PASSED_BY_ANNOTATION: &str = "tidegate.io/passed-by";

/// Annotation of config whose applier is told never to prune it, in the same way.
pub const KEPT_ANNOTATION: &str = "tidegate.io/kept";

/// Annotation of a pod template: digest of the config that was released with it.
pub const CONFIG_ANNOTATION: &str = "tidegate.io/config";

/// Annotation of a canary's pod template: the copies of config that it names, each with the name of the original.
pub const CONFIG_COPIES_ANNOTATION: &str = "tidegate.io/config-copies";

/// Annotation of a copy of config: keys of it that differ from the original's.
pub const CONFIG_KEYS_ANNOTATION: &str = "tidegate.io/config-keys";

/// Annotation of what carries traffic during an attempt: the epoch of the leader that wrote it.
pub const EPOCH_ANNOTATION: &str = "tidegate.io/epoch";

/// Annotation of a Service: which of its fields git changes together with a template that waits.
pub const WAITING_ANNOTATION: &str = "tidegate.io/waiting";

/// Annotation of a Service that is not to be pinned during an attempt.
pub const PIN_ANNOTATION: &str = "tidegate.io/pin";

/// The value of [`PIN_ANNOTATION`] that says so. With any other the Service is pinned.
pub const PIN_DISABLED: &str = "Disabled";

/// Annotation by which an object of a repository is kept when it leaves the repository.
pub const PRUNE_ANNOTATION: &str = "tidegate.io/prune";

/// The value of [`PRUNE_ANNOTATION`] with which the object is deleted as soon as it has left the
/// repository. Any other value, such as `Disabled`, keeps it.
pub const PRUNE_CONFIRMED: &str = "Confirmed";

/// Annotation of a Rollout that `tidegate off` has suspended: the reason, and who gave it.
pub const SUSPEND_REASON_ANNOTATION: &str = "tidegate.io/suspend-reason";

/// Annotation of an object whose count of replicas somebody has set by its scale subresource: git's
/// count, which is not in force.
pub const REPLICAS_ANNOTATION: &str = "tidegate.io/replicas";

/// Annotation of a Job that may be deleted and made again when it changes.
pub const REPLACE_ANNOTATION: &str = "tidegate.io/replace";

/// The value of [`REPLACE_ANNOTATION`] that allows it. Any other does not.
pub const REPLACE_ALLOWED: &str = "Allowed";

/// Label of a Secret by which its owner says where Tidegate may send it.
pub const USE_LABEL: &str = "tidegate.io/use";

/// Suffix that makes a Rollout's name that of its canary workload and canary Service.
pub(crate) const CANARY_SUFFIX: &str = "-canary";

/// The longest name that a Rollout may have: the canary's pods must not have theirs cut
/// (63 bytes, less `-canary`, a hash of up to 10, a suffix of 5, and two dashes).
pub const MAX_ROLLOUT_NAME: usize = 40;

/// Pattern of the name of most objects: a DNS subdomain (RFC 1123).
pub(crate) const SUBDOMAIN: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Pattern of the name of a Service: a DNS label (RFC 1123).
pub(crate) const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
