//! Rights of a `ConfigRepo`'s account beyond its own namespace.
//!
//! In the own namespace a missing right is found by the write that it denies. Elsewhere it has to be known before:
//! whatever stands in the inventory counts as applied, so an object without a right would keep its owners from it, and
//! a Rollout there would take its template for a candidate.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams, core::ApiResource};

use super::{failure::Failure, manifest::Key};

/// Rights that were granted when they were asked for last, and when that was.
#[derive(Debug, Default)]
pub(super) struct Rights {
    account: String,
    granted: HashMap<Right, Timestamp>,
    /// Rights that were denied in this pass.
    denied: HashSet<Right>,
}

/// Right to patch the objects of a resource in a namespace, or one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Right {
    group: String,
    plural: String,
    namespace: Option<String>,
    name: Option<String>,
}

/// Time after which a right is asked for again: one that was taken away ends what it was given for.
const FRESH: SignedDuration = SignedDuration::from_mins(5);

/// Number of rights to single objects of a resource that are asked for at a time. Each is a request, and a Role that
/// names more objects is rather one for the resource.
const NAMES: usize = 50;

// === impl Rights ===

impl Rights {
    /// Begins a pass. Forgets what is old, and everything where another ServiceAccount applies from now on.
    pub(super) fn begin(&mut self, account: &str, now: Timestamp) {
        if self.account != account {
            account.clone_into(&mut self.account);
            self.granted.clear();
        }
        self.granted
            .retain(|_, asked| now.duration_since(*asked) < FRESH);
        self.denied.clear();
    }

    /// Asks the API server if the account may patch an object: any of its kind there, or this one. Returns the missing
    /// right in words.
    pub(super) async fn missing(
        &mut self,
        as_account: &Client,
        key: &Key,
        resource: &ApiResource,
        now: Timestamp,
    ) -> Result<Option<String>, Failure> {
        for right in Right::of(key, resource) {
            if self.granted.contains_key(&right) {
                return Ok(None);
            }
            if self.denied.contains(&right) || self.has_asked_for_many(&right) {
                continue;
            }
            let granted = right.is_granted(as_account, "patch").await;
            if granted.map_err(|error| Failure::of(error, key))? {
                self.granted.insert(right, now);
                return Ok(None);
            }
            self.denied.insert(right);
        }
        Ok(Some(in_words("patch", key, resource)))
    }

    /// Returns true for the right to a single object where so many of its kind were denied already.
    fn has_asked_for_many(&self, right: &Right) -> bool {
        let same = |denied: &&Right| {
            denied.name.is_some()
                && denied.plural == right.plural
                && denied.group == right.group
                && denied.namespace == right.namespace
        };
        right.name.is_some() && self.denied.iter().filter(same).count() >= NAMES
    }
}

/// Asks the API server now if the account may make an object and change it. Returns the missing right in words.
pub(super) async fn missing_now(
    as_account: &Client,
    key: &Key,
    resource: &ApiResource,
) -> Result<Option<String>, Failure> {
    for verb in ["create", "patch"] {
        let mut is_granted = false;
        for right in Right::of(key, resource) {
            let granted = right.is_granted(as_account, verb).await;
            is_granted |= granted.map_err(|error| Failure::of(error, key))?;
        }
        if !is_granted {
            return Ok(Some(in_words(verb, key, resource)));
        }
    }
    Ok(None)
}

fn in_words(verb: &str, key: &Key, resource: &ApiResource) -> String {
    let ApiResource { plural, group, .. } = resource;
    let place = match &key.namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let name = &key.name;
    format!("it cannot {verb} {plural} \"{name}\" in API group \"{group}\" {place}")
}

// === impl Right ===

impl Right {
    /// Rights that allow to write an object: to any of its kind, and to this one.
    fn of(key: &Key, resource: &ApiResource) -> [Self; 2] {
        let any = Self {
            group: resource.group.clone(),
            plural: resource.plural.clone(),
            namespace: key.namespace.clone(),
            name: None,
        };
        let this = Self {
            name: Some(key.name.clone()),
            ..any.clone()
        };
        [any, this]
    }

    async fn is_granted(&self, as_account: &Client, verb: &str) -> Result<bool, kube::Error> {
        let Self {
            group,
            plural,
            namespace,
            name,
        } = self.clone();
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(group),
                    resource: Some(plural),
                    namespace,
                    name,
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(as_account.clone());
        let answered = api.create(&PostParams::default(), &review).await?;
        Ok(answered.status.is_some_and(|status| status.allowed))
    }
}
