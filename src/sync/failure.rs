//! Failures to apply or prune an object. Their sentences are in `wording`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use kube::core::{ApiResource, Status};

use super::{
    manifest::{Key, Place},
    wording::phrases::WITHHELD,
};
use crate::causes::innermost;

/// An object that could not be applied or pruned.
#[derive(Debug, thiserror::Error)]
pub(crate) struct ApplyError {
    /// Location in the repository; `None` if the object is no longer there.
    pub(crate) place: Option<Place>,
    /// The object.
    pub(crate) key: Key,
    /// Cause.
    #[source]
    pub(crate) failure: Failure,
}

/// A Rollout that cannot be decoded: what it governs, and how far its attempt is, is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) struct UnreadableRollout {
    /// Its name, with its namespace where that is not the `ConfigRepo`'s.
    pub(crate) name: String,
    /// Position and cause of the decoding error.
    pub(crate) why: String,
}

/// Objects that could not be applied, and those that wait for them.
#[derive(Debug, Default)]
pub(super) struct Stopped {
    /// Failures, in the order of the objects; at least one.
    pub(super) errors: Vec<ApplyError>,
    /// Objects that were left as they are, each with the one that it needs.
    pub(super) waiting: Vec<(Key, Key)>,
}

/// Cause of a failed apply or prune.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The account lacks a permission.
    Forbidden(MissingRight),
    /// Tidegate may not impersonate the account.
    CannotImpersonate {
        /// The account.
        account: String,
    },
    /// Tidegate itself lacks a permission.
    OwnRight {
        /// In the API server's words.
        said: String,
    },
    /// `serviceAccountName` is no valid name.
    NoSuchAccount {
        /// As it is written.
        account: String,
    },
    /// The API server rejects the object as it is written.
    Invalid {
        /// In its own words.
        said: String,
    },
    /// The cluster has no such kind.
    UnknownKind {
        /// API version in which the kind was looked up.
        api_version: String,
    },
    /// The object is cluster-scoped, and a single namespace is looked after.
    OneNamespace {
        /// The namespace.
        namespace: String,
    },
    /// The kind is cluster-scoped, and was taken for a namespaced one until now.
    ClusterScoped,
    /// The kind is namespaced, and was taken for a cluster-scoped one until now.
    Namespaced,
    /// The API server does not serve the kind of a `CustomResourceDefinition` yet.
    NotEstablished,
    /// The template in force no longer exists.
    TemplateLost {
        /// The revision, shortened.
        revision: String,
    },
    /// Another `ConfigRepo` brings it.
    BroughtBy {
        /// Reference to it.
        config_repo: String,
    },
    /// More config changes with a template than is released at once.
    TooMuchConfig {
        /// Number of the objects.
        config: usize,
    },
    /// A Job whose template is another one than when it was made.
    JobChanged,
    /// `serviceAccountName` is the account of every pod that names none.
    DefaultAccount,
    /// Another writer changed it between each read and the write.
    Conflict,
    /// The API server has failed; retried.
    Unavailable {
        /// The HTTP status.
        code: u16,
        /// In its own words.
        said: String,
    },
    /// The API server could not be reached; retried.
    Request(#[source] RequestError),
}

/// A request without an answer that can be used. Its `Debug` shows what its `Display` does.
#[derive(thiserror::Error)]
#[error("{0}")]
pub(crate) struct RequestError(String);

/// Permission that an account lacks, with the objects to paste to grant it.
#[derive(Debug, Default)]
pub(crate) struct MissingRight {
    /// The account's namespace.
    pub(crate) namespace: String,
    /// The account.
    pub(crate) account: String,
    /// In the API server's words.
    pub(crate) said: String,
    /// Namespace in which it is missing; none at the cluster scope.
    pub(crate) scope: Option<String>,
    /// All that the repository has in that scope, by API group.
    pub(crate) resources: ByGroup,
}

/// ServiceAccount in whose name a `ConfigRepo` applies.
pub(super) struct Account<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

/// Resources by API group.
type ByGroup = BTreeMap<String, BTreeSet<String>>;

/// Resources that a repository has, by namespace; those that are cluster-scoped have none. A Role to paste names all of
/// its namespace's, because the next one has the same name, and must not take away what this one gives.
#[derive(Debug, Default)]
pub(super) struct Resources(BTreeMap<Option<String>, ByGroup>);

// === impl Resources ===

impl Resources {
    /// Adds the resource of an object.
    pub(super) fn add(&mut self, key: &Key, resource: &ApiResource) {
        let groups = self.0.entry(key.namespace.clone()).or_default();
        let plurals = groups.entry(resource.group.clone()).or_default();
        plurals.insert(resource.plural.clone());
    }
}

// === impl Stopped ===

impl Stopped {
    /// Every object that is not as git says.
    pub(super) fn missing(&self) -> Vec<Key> {
        let failed = self.errors.iter().map(|error| &error.key);
        failed
            .chain(self.waiting.iter().map(|(key, _)| key))
            .cloned()
            .collect()
    }
}

impl From<ApplyError> for Stopped {
    fn from(error: ApplyError) -> Self {
        Self {
            errors: vec![error],
            waiting: Vec::new(),
        }
    }
}

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
    /// Translates the error of a request about an object.
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
            return Self::Conflict;
        }
        if is_missing_right(status) {
            return Self::Forbidden(MissingRight {
                said: status.message.clone(),
                ..MissingRight::default()
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
            _ => Self::Invalid { said },
        }
    }

    /// Adds the account that lacks the permission for an object, and the resources to grant.
    pub(super) fn with_account(
        self,
        account: &Account<'_>,
        key: &Key,
        resources: &Resources,
    ) -> Self {
        match self {
            Self::Forbidden(right) if right.said.contains("cannot impersonate") => {
                Self::CannotImpersonate {
                    account: account.name.to_owned(),
                }
            }
            Self::Forbidden(right) => Self::Forbidden(MissingRight {
                namespace: account.namespace.to_owned(),
                account: account.name.to_owned(),
                scope: key.namespace.clone(),
                resources: resources.0.get(&key.namespace).cloned().unwrap_or_default(),
                ..right
            }),
            other => other,
        }
    }

    /// Returns true if the next request would fail, too.
    pub(super) fn is_about_the_server(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. } | Self::Request(_) | Self::CannotImpersonate { .. }
        )
    }

    /// Returns true if it may go away soon without a change.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Conflict
                | Self::Unavailable { .. }
                | Self::Request(_)
                | Self::BroughtBy { .. }
                | Self::ClusterScoped
                | Self::Namespaced
                | Self::NotEstablished
        )
    }
}

/// Returns true if RBAC denied the request. Admission and quotas answer 403 as well, in other
/// words.
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
            return Self("its answer cannot be decoded".to_owned());
        }
        Self(innermost(error))
    }
}

impl fmt::Debug for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use kube::api::GroupVersionKind;

    use super::*;

    fn key(kind: &str) -> Key {
        Key::namespaced("v1", kind, "shop", "a")
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
            Failure::Invalid { .. }
        ));
        let webhook =
            "admission webhook \"policy.test\" denied the request: containers cannot run as root";
        assert!(matches!(
            failure(403, "Forbidden", webhook, "Pod"),
            Failure::Invalid { .. }
        ));
        assert!(matches!(
            failure(400, "BadRequest", "strict decoding error", "ConfigMap"),
            Failure::Invalid { .. }
        ));
        assert!(matches!(
            failure(409, "Conflict", "modified", "ConfigMap"),
            Failure::Conflict
        ));
        assert!(failure(503, "ServiceUnavailable", "later", "ConfigMap").is_transient());
        let typed = "failed to create typed patch object (shop/a; /v1, Kind=ConfigMap): .data.x: expected string";
        assert!(matches!(
            failure(500, "InternalError", typed, "ConfigMap"),
            Failure::Invalid { .. }
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
        let mut resources = Resources::default();
        for (api_version, kind) in [
            ("v1", "ConfigMap"),
            ("v1", "Service"),
            ("apps/v1", "Deployment"),
        ] {
            let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
            let kind = GroupVersionKind::gvk(group, version, kind);
            resources.add(&key("ConfigMap"), &ApiResource::from_gvk(&kind));
        }
        let place = Place {
            file: "prod/a.yaml".into(),
            document: 1,
            line: 3,
        };
        let account = Account {
            namespace: "shop",
            name: "deployer",
        };
        let failure = forbidden.with_account(&account, &key("ConfigMap"), &resources);
        insta::assert_snapshot!(ApplyError::at(Some(&place), &key("ConfigMap"), failure));
    }
}
