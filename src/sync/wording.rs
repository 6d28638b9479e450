//! Sentences of sync: messages of a ConfigRepo's conditions and events.
//!
//! The rules answer with types; the words for them are here, in the shape *state or action: cause;
//! remedy*. The API server's words are passed on, except about Secrets: some of them repeat values.

pub(super) mod phrases;

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter, Write as _},
};

use tidegate_api::{CommitId, names};
use tidegate_git::{FetchError, QuotaError};

use super::{
    apply::{MAX_COPIES, UnappliedField},
    config::SharedConfig,
    drift::Drift,
    failure::{ApplyError, Failure, MissingRight, Stopped, UnreadableRollout},
    manifest::Key,
    provenance::Untraced,
    remarks::Remarks,
    removal::{Hold, RetainReason, Retained},
    replicas::Scaler,
    source::SourceError,
};

/// Message of the condition `RecordsWritten` while it holds.
pub(super) const ALL_RECORDS_WRITTEN: &str = "all records are written";

/// A write that was not retried before the reconcile ended.
const RETRYING: &str = "retrying";

/// Number of objects that a message names; of more it gives the number.
const NAMED: usize = 10;

/// Describes a sync that is complete.
pub(super) fn applied(commit: &CommitId, objects: usize, remarks: &Remarks<'_>) -> String {
    let own = remarks.namespace;
    let noun = if objects == 1 { "object" } else { "objects" };
    let mut message = format!("applied commit {} ({objects} {noun})", commit.short());
    for known in remarks.governed {
        if let Some(unreleased) = &known.unreleased {
            let _ = write!(
                message,
                "; the template of {} in git (revision {}) is not applied: Rollout {} is gone, or only observes, and nobody \
                 let it in; change the manifest of the workload to have it applied as it is, or put the Rollout back into \
                 the repository, in the mode Enforce, to have it released",
                Key::from(&known.object).shown(own),
                unreleased.revision.short(),
                known.rollout
            );
        }
    }
    let mut by_reason: BTreeMap<&RetainReason, Vec<&Key>> = BTreeMap::new();
    for Retained { key, reason } in remarks.retained {
        by_reason.entry(reason).or_default().push(key);
    }
    for (reason, keys) in by_reason {
        let (are, them) = match keys.as_slice() {
            [_] => ("is", "it"),
            _ => ("are", "them"),
        };
        let _ = write!(
            message,
            "; {} {are} no longer in the repository and {are} retained {}",
            list(keys.iter().map(|key| key.shown(own))),
            because(reason, them)
        );
    }
    for (key, field) in remarks.unapplied.iter().take(NAMED) {
        let _ = write!(message, "; {}: {field}", key.shown(own));
    }
    for SharedConfig { object, readers } in remarks.shared_config.iter().take(NAMED) {
        let _ = write!(
            message,
            "; {} is read by {}: a change of it reaches them at once, and not by the steps of a release, unless each has \
             one of its own",
            object.shown(own),
            list(readers.iter().map(|reader| reader.shown(own)))
        );
    }
    if !remarks.skipped.is_empty() {
        let _ = write!(
            message,
            "; passed over, without an object for Kubernetes: {}",
            list(remarks.skipped.iter())
        );
    }
    if let Some(digest) = remarks.digest {
        let _ = write!(
            message,
            "; to have what waits deleted now, write {digest} in spec.sync.acknowledge; to keep it, put it back into \
             the repository"
        );
    }
    message
}

/// Describes a commit that others apply.
pub(super) fn read(commit: &CommitId, untraced: &[&Untraced]) -> String {
    let mut message = format!(
        "read commit {}; nothing is applied by Tidegate, as spec.sync is not set",
        commit.short()
    );
    for one in untraced.iter().take(NAMED) {
        let (revision, workload) = (one.revision.short(), &one.workload);
        let _ = write!(
            message,
            "; no commit asks for revision {revision} of {workload}: "
        );
        let _ = if one.files.is_empty() {
            write!(
                message,
                "no YAML file below spec.path has the workload for this namespace"
            )
        } else {
            write!(
                message,
                "what {} has is another template, also after the API server's defaults",
                list(one.files.iter())
            )
        };
    }
    message
}

fn list(names: impl ExactSizeIterator<Item: ToString>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named: Vec<_> = names.take(NAMED).map(|name| name.to_string()).collect();
    let named = named.join(", ");
    if more == 0 {
        named
    } else {
        format!("{named} and {more} more")
    }
}

fn because(reason: &RetainReason, them: &str) -> String {
    match reason {
        RetainReason::Referenced => format!("because a template in use refers to {them}"),
        RetainReason::InAttempt => format!("until the attempt that needs {them} has ended"),
        RetainReason::Named(rollout) => {
            format!("for as long as Rollout {rollout}, which names {them}, is in force")
        }
        RetainReason::Delayed(until) => format!("until {until:.0}, when the app is deleted"),
        RetainReason::RolloutFirst(rollout) => format!("until Rollout {rollout} is gone"),
        RetainReason::Held(hold) => {
            format!("until the removal is acknowledged, because {hold}")
        }
        RetainReason::Holds => format!(
            "because deleting {them} deletes all that is in {them}: delete {them} by hand, or annotate {them} with \
             {}: {}",
            names::PRUNE_ANNOTATION,
            names::PRUNE_CONFIRMED
        ),
    }
}

/// Describes an object that was deleted.
pub(super) fn pruned(key: &Key, own: &str) -> String {
    let key = key.shown(own);
    format!("{key} was deleted: it is no longer in the repository")
}

/// Describes an object that somebody had changed.
pub(super) fn drifted(drift: &Drift, own: &str) -> String {
    let Drift {
        key,
        fields,
        manager,
    } = drift;
    let (key, fields) = (key.shown(own), fields.join(", "));
    let mut message = format!("{key} drifted from git and was corrected: {fields}");
    if let Some(manager) = manager {
        let _ = write!(message, "; last modified by `{manager}`");
    }
    message
}

/// Describes a sync that could not apply everything. A missing permission comes last and once: what
/// there is to paste is the same for all.
pub(super) fn stopped(commit: &CommitId, stopped: &Stopped, own: &str) -> String {
    let errors = stopped.errors.iter();
    let (rights, others): (Vec<_>, Vec<_>) =
        errors.partition(|error| matches!(error.failure, Failure::Forbidden(_)));
    let mut failures: Vec<_> = others
        .iter()
        .take(NAMED)
        .map(|error| failed(error, own))
        .collect();
    if others.len() > NAMED {
        failures.push(format!("and {} more", others.len() - NAMED));
    }
    if !stopped.waiting.is_empty() {
        let waiting = stopped
            .waiting
            .iter()
            .map(|(key, needed)| format!("{} (which needs {})", key.shown(own), needed.shown(own)));
        let waiting: Vec<_> = waiting.collect();
        failures.push(format!("not applied meanwhile: {}", list(waiting.iter())));
    }
    if let Some((first, more)) = rights.split_first() {
        if !more.is_empty() {
            let more: Vec<_> = more.iter().map(|error| error.key.shown(own)).collect();
            failures.push(format!("no permission either for {}", list(more.iter())));
        }
        failures.push(failed(first, own));
    }
    format!(
        "cannot apply commit {}: {}",
        commit.short(),
        failures.join("; ")
    )
}

/// Describes an object that could not be applied or pruned.
fn failed(error: &ApplyError, own: &str) -> String {
    let place = error.place.as_ref();
    let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
    format!("{place}{}: {}", error.key.shown(own), error.failure)
}

/// Describes a sync that has nothing to apply.
pub(super) fn blocked(error: &SourceError) -> String {
    format!("{error}{}", remedy(error))
}

/// Returns the remedy, if the error does not name one yet.
fn remedy(error: &SourceError) -> &'static str {
    match error {
        SourceError::Fetch(FetchError::HistoryRewritten { .. }) => {
            ". Nothing is applied or pruned until the new history is confirmed: change this ConfigRepo's spec, for \
             example spec.interval to 31s; after any change of it the branch is accepted as it is. Do not delete the \
             ConfigRepo: its status holds the inventory for pruning and the pending records"
        }
        SourceError::Fetch(FetchError::BranchNotFound { .. }) => {
            ". Nothing is applied or pruned: restore the branch, or name another in spec.ref.branch"
        }
        SourceError::Fetch(FetchError::Quota(exceeded)) => of_quota(exceeded),
        SourceError::Budget(_) => {
            ". Nothing of this commit is applied, and what is applied stays: make the folder smaller, or have the \
             operator of Tidegate give it more memory and raise --max-nodes (chart: limits.nodes)"
        }
        _ => "",
    }
}

/// Returns the remedy for a repository that exceeds a limit.
fn of_quota(exceeded: &QuotaError) -> &'static str {
    match exceeded {
        QuotaError::Repository { .. } => {
            ". Nothing new is applied, and what is applied stays: move the manifests into a repository of their own, \
             or have the operator of Tidegate raise --git-max-repository (chart: gitCache.maxRepository)"
        }
        QuotaError::Cache { .. } => {
            ". Nothing new is applied, and what is applied stays: have the operator of Tidegate raise \
             --git-cache-size (chart: gitCache.sizeLimit)"
        }
        QuotaError::Object { .. } => {
            ". Nothing new is applied, and what is applied stays: git log --all --find-object=OBJECT names the file; \
             remove it from the history, move the manifests into a repository of their own, or have the operator of \
             Tidegate raise --git-max-object (chart: gitCache.maxObject)"
        }
        QuotaError::Memory { .. } => {
            ". Nothing new is applied, and what is applied stays: move the manifests into a repository of their own"
        }
    }
}

// === impl Hold ===

impl Display for Hold {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingLeft => f.write_str("nothing is left in the repository"),
            Self::RolloutMissing => f.write_str("the workload is still in the repository"),
            Self::Kind => f.write_str("the loss cannot be undone, or ends traffic"),
            Self::Workloads => f.write_str("more than one workload left"),
            Self::TooMany { max } => write!(f, "more than {max} objects left"),
        }
    }
}

// === impl UnappliedField ===

impl Display for UnappliedField {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicas(Scaler::Autoscaler(autoscaler)) => write!(
                f,
                "spec.replicas is left to {autoscaler}; remove it from git"
            ),
            Self::Replicas(Scaler::Hand {
                manager,
                replicas,
                wanted,
            }) => write!(
                f,
                "spec.replicas stays {replicas}, as `{manager}` has scaled it, until a commit changes git's {wanted}"
            ),
            Self::Template { said } => write!(
                f,
                "the template that runs cannot be applied and is left as it is ({said}); correct it in git"
            ),
        }
    }
}

// === impl UnreadableRollout ===

impl Display for UnreadableRollout {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, why } = self;
        write!(
            f,
            "cannot decode Rollout {name} ({why}): nothing is applied, because it is unknown which objects it governs; \
             upgrade Tidegate and its CRDs to the version that wrote it, or fix it with kubectl (git's copy of it is \
             not applied either)"
        )
    }
}

// === impl ApplyError ===

impl Display for ApplyError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // To those who know where it is.
        let own = self.key.namespace.as_deref().unwrap_or_default();
        f.write_str(&failed(self, own))
    }
}

// === impl Failure ===

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(right) => right.fmt(f),
            Self::CannotImpersonate { account } => write!(
                f,
                "Tidegate cannot impersonate the ServiceAccount `{account}`: grant Tidegate's own account the verb \
                 impersonate on serviceaccounts (the chart does, unless rbac.serviceAccounts names others)"
            ),
            Self::OwnRight { said } => write!(
                f,
                "Tidegate's own account lacks a permission ({said}): the chart's roles grant it"
            ),
            Self::NoSuchAccount { account } => write!(
                f,
                "`{account}` is not a valid name of a ServiceAccount: correct spec.sync.serviceAccountName"
            ),
            Self::Invalid { said } => write!(f, "the API server rejected it: {said}"),
            Self::UnknownKind { api_version } => write!(
                f,
                "the cluster has no such kind in {api_version}: install its CRD first, or correct apiVersion and kind"
            ),
            Self::OneNamespace { namespace } => write!(
                f,
                "it is cluster-scoped, and this Tidegate looks after the namespace `{namespace}` alone: apply it by \
                 other means, or have Tidegate run for all namespaces"
            ),
            Self::ClusterScoped => f.write_str(
                "the kind is cluster-scoped, which is known only now that its CRD is there; retrying",
            ),
            Self::Namespaced => f.write_str(
                "the kind is namespaced, which is known only now that its CRD has changed; retrying",
            ),
            Self::NotEstablished => {
                f.write_str("the API server does not serve its kind yet; retrying")
            }
            Self::TemplateLost { revision } => write!(
                f,
                "cannot keep the template at revision {revision}: neither the ControllerRevision nor the workload \
                 exists; recreate the Rollout to discard its status, and git's template is applied"
            ),
            Self::BroughtBy { config_repo } => write!(
                f,
                "ConfigRepo {config_repo} brings it already: remove it from one of the two repositories"
            ),
            Self::TooMuchConfig { config } => write!(
                f,
                "its template names {config} ConfigMaps and Secrets that change, and {MAX_COPIES} are released with it at \
                 most: change them in several commits, or write config: Ignore in its Rollout to have them applied at once"
            ),
            Self::JobChanged => write!(
                f,
                "the template of a Job cannot be changed: give the changed Job another name, or annotate it with {}: {} \
                 to have the old one deleted and the new one made",
                names::REPLACE_ANNOTATION,
                names::REPLACE_ALLOWED
            ),
            Self::DefaultAccount => f.write_str(
                "the ServiceAccount `default` is that of every pod that names none, and its rights would be theirs: \
                 create another, give it the rights, and name it in spec.sync.serviceAccountName",
            ),
            Self::Conflict => write!(
                f,
                "the object was changed concurrently at each attempt to write it; {RETRYING}"
            ),
            Self::Unavailable { code, said } => {
                write!(f, "the API server answered {code}: {said}; {RETRYING}")
            }
            Self::Request(error) => {
                write!(f, "cannot reach the API server ({error}); {RETRYING}")
            }
        }
    }
}

// === impl MissingRight ===

impl Display for MissingRight {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            account,
            said,
            scope,
            resources,
        } = self;
        writeln!(
            f,
            "the ServiceAccount `{account}` lacks a permission ({said}). To grant what this repository needs, apply:"
        )?;
        let is_own = scope.as_ref() == Some(namespace);
        let name = if is_own {
            format!("tidegate-sync-{account}")
        } else {
            // Accounts of several namespaces may have the same name.
            format!("tidegate-sync-{namespace}-{account}")
        };
        let (kind, metadata) = match scope {
            Some(scope) => ("Role", format!("{{name: {name}, namespace: {scope}}}")),
            None => ("ClusterRole", format!("{{name: {name}}}")),
        };
        writeln!(
            f,
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {metadata}\nrules:"
        )?;
        for (group, resources) in resources {
            let resources: Vec<_> = resources.iter().map(String::as_str).collect();
            writeln!(
                f,
                "- apiGroups: [\"{group}\"]\n  resources: [{}]",
                resources.join(", ")
            )?;
            writeln!(f, "  verbs: [get, create, patch, delete]")?;
        }
        write!(
            f,
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\nmetadata: {metadata}\nroleRef: \
             {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {name}}}\nsubjects:\n- {{kind: \
             ServiceAccount, name: {account}, namespace: {namespace}}}"
        )
    }
}
