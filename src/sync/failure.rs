//! Why an object could not be applied, in a sentence that says who has to do what.
//!
//! The API server's words are passed on, except about Secrets: some of them repeat values.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as StdError,
    fmt,
};

use kube::core::{ApiResource, Status};

use super::manifest::{Key, Place};

/// An object that could not be applied or pruned.
#[derive(Debug, thiserror::Error)]
#[error("{}{key}: {failure}", Prefix(.place.as_ref()))]
pub struct ApplyError {
    /// Where it stands; nowhere if it has left the repository.
    pub place: Option<Place>,
    /// The object.
    pub key: Key,
    /// Why.
    #[source]
    pub failure: Failure,
}

/// Why an object could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The account lacks a right.
    #[error("{0}")]
    Forbidden(MissingRight),
    /// Tidegate may not act in the account's name.
    #[error(
        "Tidegate may not act as the ServiceAccount `{account}`: give its own account the verb impersonate on \
         serviceaccounts (the chart does)"
    )]
    CannotImpersonate {
        /// The account.
        account: String,
    },
    /// Tidegate itself lacks a right.
    #[error("Tidegate's own account lacks a right ({said}): the chart's roles give it")]
    OwnRight {
        /// In the API server's words.
        said: String,
    },
    /// `serviceAccountName` cannot be a name.
    #[error(
        "`{account}` cannot be the name of a ServiceAccount: correct spec.sync.serviceAccountName"
    )]
    NoSuchAccount {
        /// As it is written.
        account: String,
    },
    /// The API server refuses the object as it is written.
    #[error("the API server refuses it: {said}")]
    Refused {
        /// In its own words.
        said: String,
    },
    /// The cluster has no such kind.
    #[error(
        "the cluster has no such kind in {api_version}: install its CRD first, or correct apiVersion and kind"
    )]
    UnknownKind {
        /// Where it was looked for.
        api_version: String,
    },
    /// The kind lives outside namespaces.
    #[error(
        "its kind lives outside namespaces, but a ConfigRepo applies only into its own: take it out and apply it \
         by other means"
    )]
    ClusterScoped,
    /// The template that has to be held is nowhere.
    #[error(
        "its template has to stay at revision {revision}, but neither the ControllerRevision nor the workload is \
         there: delete the Rollout's status by recreating it, and git's template goes in"
    )]
    TemplateLost {
        /// The revision, shortened.
        revision: String,
    },
    /// Somebody else wrote it between our reading and our writing, again and again.
    #[error(
        "it was changed by someone else each time before it could be written; it is tried again"
    )]
    Contended,
    /// The API server has trouble of its own; tried again.
    #[error("the API server answered {code}: {said}; it is tried again")]
    Unavailable {
        /// The HTTP status.
        code: u16,
        /// In its own words.
        said: String,
    },
    /// The API server could not be asked; tried again.
    #[error("the API server could not be asked ({0}); it is tried again")]
    Request(#[source] RequestError),
}

/// A request without an answer that can be used. Its `Debug` shows what its `Display` does.
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct RequestError(String);

/// A right that an account lacks, with what to paste to give it.
#[derive(Debug)]
pub struct MissingRight {
    /// The account's namespace.
    pub namespace: String,
    /// The account.
    pub account: String,
    /// In the API server's words.
    pub said: String,
    /// All that the repository has, by API group.
    pub resources: BTreeMap<String, BTreeSet<String>>,
}

/// Resources by API group, as [`MissingRight`] names them.
pub(super) fn by_group<'a>(
    resources: impl IntoIterator<Item = &'a ApiResource>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for resource in resources {
        groups
            .entry(resource.group.clone())
            .or_default()
            .insert(resource.plural.clone());
    }
    groups
}

struct Prefix<'a>(Option<&'a Place>);

/// Said of a Secret in the place of the API server's words.
const WITHHELD: &str = "the details are left out because they may hold the Secret's contents; every value of `data` \
     has to be base64 text, every value of `stringData` a text, and no other field may be misspelt";

// === impl ApplyError ===

impl ApplyError {
    pub(super) fn at(place: Option<&Place>, key: &Key, failure: Failure) -> Self {
        Self {
            place: place.cloned(),
            key: key.clone(),
            failure,
        }
    }
}

// === impl Failure ===

impl Failure {
    /// What a failed request about an object means.
    pub(super) fn of(error: kube::Error, key: &Key) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(&status, key),
            other => Self::Request(RequestError::of(&other)),
        }
    }

    /// The same for a request that was made in Tidegate's own name.
    pub(super) fn of_own(error: kube::Error, key: &Key) -> Self {
        match Self::of(error, key) {
            Self::Forbidden(right) => Self::OwnRight { said: right.said },
            other => other,
        }
    }

    fn of_status(status: &Status, key: &Key) -> Self {
        let said = if key.is("", "Secret") {
            WITHHELD.to_owned()
        } else {
            status.message.clone()
        };
        if status.is_conflict() {
            return Self::Contended;
        }
        if is_missing_right(status) {
            return Self::Forbidden(MissingRight {
                namespace: String::new(),
                account: String::new(),
                said: status.message.clone(),
                resources: BTreeMap::new(),
            });
        }
        // Server-side apply says of a value of the wrong type that it is the server's own fault.
        let is_typed = status
            .message
            .contains("failed to create typed patch object");
        match status.code {
            429 | 500.. if !is_typed => Self::Unavailable {
                code: status.code,
                said,
            },
            _ => Self::Refused { said },
        }
    }

    /// Says whose right is missing, and what to paste.
    pub(super) fn with_account(
        self,
        namespace: &str,
        account: &str,
        resources: &BTreeMap<String, BTreeSet<String>>,
    ) -> Self {
        match self {
            Self::Forbidden(right) if right.said.contains("cannot impersonate") => {
                Self::CannotImpersonate {
                    account: account.to_owned(),
                }
            }
            Self::Forbidden(right) => Self::Forbidden(MissingRight {
                namespace: namespace.to_owned(),
                account: account.to_owned(),
                resources: resources.clone(),
                ..right
            }),
            other => other,
        }
    }

    /// Whether it may go away by itself soon.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Contended | Self::Unavailable { .. } | Self::Request(_)
        )
    }
}

/// Whether RBAC said no; admission and quotas answer 403 as well, in words of their own.
fn is_missing_right(status: &Status) -> bool {
    let denied = status
        .message
        .split_once("User \"")
        .is_some_and(|(_, user)| user.contains("\" cannot "));
    status.is_forbidden() && denied
}

// === impl RequestError ===

impl RequestError {
    /// The innermost cause: the outer ones repeat it. An answer that cannot be read is not shown.
    fn of(error: &kube::Error) -> Self {
        if matches!(error, kube::Error::SerdeError(_)) {
            return Self("its answer could not be read".to_owned());
        }
        let mut cause: &dyn StdError = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self(cause.to_string())
    }
}

impl fmt::Debug for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl MissingRight ===

impl fmt::Display for MissingRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            account,
            said,
            resources,
        } = self;
        writeln!(
            f,
            "the ServiceAccount `{account}` lacks a right ({said}). To give it what this repository needs, apply:"
        )?;
        writeln!(
            f,
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: tidegate-sync-{account}, \
             namespace: {namespace}}}\nrules:"
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
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: tidegate-sync-{account}, \
             namespace: {namespace}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: \
             tidegate-sync-{account}}}\nsubjects:\n- {{kind: ServiceAccount, name: {account}, namespace: {namespace}}}"
        )
    }
}

// === impl Prefix ===

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |place| write!(f, "{place}: "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str) -> Key {
        Key {
            api_version: "v1".into(),
            kind: kind.into(),
            name: "a".into(),
        }
    }

    fn failure(code: u16, reason: &str, message: &str, kind: &str) -> Failure {
        let status = Status::failure(message, reason).with_code(code);
        Failure::of(kube::Error::Api(status.boxed()), &key(kind))
    }

    #[test]
    fn answers_become_what_someone_can_do_about_them() {
        let cannot = "User \"x\" cannot patch resource \"configmaps\" in API group \"\"";
        assert!(matches!(
            failure(403, "Forbidden", cannot, "ConfigMap"),
            Failure::Forbidden(_)
        ));
        assert!(matches!(
            failure(403, "Forbidden", "exceeded quota", "ConfigMap"),
            Failure::Refused { .. }
        ));
        let webhook =
            "admission webhook \"policy.test\" denied the request: containers cannot run as root";
        assert!(matches!(
            failure(403, "Forbidden", webhook, "Pod"),
            Failure::Refused { .. }
        ));
        assert!(matches!(
            failure(400, "BadRequest", "strict decoding error", "ConfigMap"),
            Failure::Refused { .. }
        ));
        assert!(matches!(
            failure(409, "Conflict", "modified", "ConfigMap"),
            Failure::Contended
        ));
        assert!(failure(503, "ServiceUnavailable", "later", "ConfigMap").is_transient());
        let typed = "failed to create typed patch object (shop/a; /v1, Kind=ConfigMap): .data.x: expected string";
        assert!(matches!(
            failure(500, "InternalError", typed, "ConfigMap"),
            Failure::Refused { .. }
        ));
    }

    #[test]
    fn what_the_server_says_of_a_secret_is_left_out() {
        for (code, reason) in [
            (400, "BadRequest"),
            (422, "Invalid"),
            (500, "InternalError"),
        ] {
            let failure = failure(code, reason, "expected string, got hunter2", "Secret");
            let error = ApplyError::at(None, &key("Secret"), failure);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_missing_right_comes_with_what_to_paste() {
        let forbidden = failure(
            403,
            "Forbidden",
            "User \"x\" cannot patch resource \"configmaps\"",
            "ConfigMap",
        );
        let resources = BTreeMap::from([
            (
                String::new(),
                BTreeSet::from(["configmaps".to_owned(), "services".to_owned()]),
            ),
            (
                "apps".to_owned(),
                BTreeSet::from(["deployments".to_owned()]),
            ),
        ]);
        let place = Place {
            file: "prod/a.yaml".into(),
            document: 1,
            line: 3,
        };
        let failure = forbidden.with_account("shop", "deployer", &resources);
        insta::assert_snapshot!(ApplyError::at(Some(&place), &key("ConfigMap"), failure));
    }
}
