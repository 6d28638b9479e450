//! Rights of a `ConfigRepo`'s account beyond its own namespace.
//!
//! In the own namespace a missing right is found by the write that it denies. Elsewhere it has to be known before:
//! whatever stands in the inventory counts as applied, so an object without a right would keep its owners from it, and
//! a Rollout there would take its template for a candidate.

use std::collections::HashSet;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams, core::ApiResource};

use super::{failure::Failure, manifest::Key};

/// Rights that were granted when they were asked for last. One that is taken away later is missed by the write.
#[derive(Debug, Default)]
pub(super) struct Rights {
    account: String,
    granted: HashSet<Right>,
}

/// Right to write the objects of a resource in a namespace, or one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Right {
    group: String,
    plural: String,
    namespace: Option<String>,
    name: Option<String>,
}

// === impl Rights ===

impl Rights {
    /// Forgets everything where another ServiceAccount applies from now on.
    pub(super) fn begin(&mut self, account: &str) {
        if self.account != account {
            *self = Self {
                account: account.to_owned(),
                granted: HashSet::new(),
            };
        }
    }

    /// Asks the API server if the account may write an object: any of its kind there, or this one. Returns the missing
    /// right in words.
    pub(super) async fn missing(
        &mut self,
        as_account: &Client,
        key: &Key,
        resource: &ApiResource,
    ) -> Result<Option<String>, Failure> {
        let any = Right {
            group: resource.group.clone(),
            plural: resource.plural.clone(),
            namespace: key.namespace.clone(),
            name: None,
        };
        let this = Right {
            name: Some(key.name.clone()),
            ..any.clone()
        };
        for right in [&any, &this] {
            if self.granted.contains(right) {
                return Ok(None);
            }
        }
        for right in [any, this] {
            let granted = right.is_granted(as_account).await;
            if granted.map_err(|error| Failure::of(error, key))? {
                self.granted.insert(right);
                return Ok(None);
            }
        }
        let (ApiResource { plural, group, .. }, name) = (resource, &key.name);
        let place = match &key.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        Ok(Some(format!(
            "it cannot patch {plural} \"{name}\" in API group \"{group}\" {place}"
        )))
    }
}

// === impl Right ===

impl Right {
    async fn is_granted(&self, as_account: &Client) -> Result<bool, kube::Error> {
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
                    verb: Some("patch".to_owned()),
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
