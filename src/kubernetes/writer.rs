//! Writes of watched objects.
//!
//! Each bears Tidegate's field manager, holds for the object that the decision was made from and
//! for no later one, and leaves the answer in the cache, which would be behind otherwise. The
//! client refuses it while this process does not lead ([`Clients::writing`]).
//!
//! [`Clients::writing`]: super::clients::Clients::writing

use kube::{
    Client, Resource, ResourceExt,
    api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions},
    core::{PartialObjectMeta, Request, Status},
};
use serde::Serialize;
use serde_json::{Value, json};
use tidegate_api::names;

use super::{
    applier,
    cache::{Cache, Watched},
    managed_fields::{Disowned, disowning},
};

/// Writer of the objects of a namespace.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub(crate) client: &'a Client,
    pub(crate) namespace: &'a str,
}

/// Condition under which an object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// It is the same object.
    Uid,
    /// Nobody has written it since.
    ResourceVersion,
}

/// Object that the API server would deny.
pub(crate) struct Denied {
    /// The object, in words.
    pub(crate) object: String,
    /// Words of the API server.
    pub(crate) why: String,
}

// === impl Writer ===

impl Writer<'_> {
    /// Merges a patch into an object. Answered with 409 if somebody else wrote it since.
    pub(crate) async fn patch<K: Watched>(
        self,
        cache: &Cache<K>,
        known: &K,
        mut patch: Value,
    ) -> Result<(), kube::Error> {
        patch["metadata"]["resourceVersion"] = json!(known.resource_version());
        let params = PatchParams::apply(names::FIELD_MANAGER);
        let request = self
            .request(cache)
            .patch(&known.name_any(), &params, &Patch::Merge(patch));
        self.send(cache, request).await
    }

    /// Patches an object by a JSON patch whose own tests say over what it is written. A test that
    /// fails is answered like a write that came too late, with 409.
    pub(crate) async fn patch_tested<K: Watched>(
        self,
        cache: &Cache<K>,
        known: &K,
        patch: json_patch::Patch,
    ) -> Result<(), kube::Error> {
        let params = PatchParams {
            field_manager: Some(names::FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let request =
            self.request(cache)
                .patch(&known.name_any(), &params, &Patch::<()>::Json(patch));
        match self.send(cache, request).await {
            Err(kube::Error::Api(mut status)) if is_failed_test(&status) => {
                status.code = 409;
                Err(kube::Error::Api(status))
            }
            sent => sent,
        }
    }

    /// Gives up the fields of an object that Tidegate owns as its last writer. Which they are is read from the API
    /// server, since the cache keeps few of them.
    pub(crate) async fn disown<K: Watched>(
        self,
        cache: &Cache<K>,
        known: &K,
        disowned: Disowned<'_>,
    ) -> Result<(), kube::Error> {
        let request = self.request(cache);
        let request = request.get_metadata(&known.name_any(), &GetParams::default());
        let request = request.map_err(kube::Error::BuildRequest)?;
        let live: PartialObjectMeta = self.client.request(request).await?;
        match disowning(live.managed_fields(), disowned) {
            Some(patch) => self.patch_tested(cache, known, patch).await,
            None => Ok(()),
        }
    }

    /// Merges a patch into the status of an object. Answered with 409 if somebody else wrote the
    /// object since.
    pub(crate) async fn patch_status<K: Watched>(
        self,
        cache: &Cache<K>,
        known: &K,
        status: Value,
    ) -> Result<(), kube::Error> {
        let version = known.resource_version();
        let patch = json!({ "metadata": { "resourceVersion": version }, "status": status });
        let params = PatchParams::apply(names::FIELD_MANAGER);
        let request = self.request(cache).patch_subresource(
            "status",
            &known.name_any(),
            &params,
            &Patch::Merge(patch),
        );
        self.send(cache, request).await
    }

    /// Replaces the status of an object by the one of `object`, whose resourceVersion is the
    /// precondition.
    pub(crate) async fn replace_status<K: Watched>(
        self,
        cache: &Cache<K>,
        object: &(impl ResourceExt + Serialize),
    ) -> Result<(), kube::Error> {
        let params = PostParams {
            field_manager: Some(names::FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let content = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let name = object.name_any();
        let request = self
            .request(cache)
            .replace_subresource("status", &name, &params, content);
        self.send(cache, request).await
    }

    /// Applies an object by force, over the one that is cached and no other.
    pub(crate) async fn apply<K: Watched>(
        self,
        cache: &Cache<K>,
        name: &str,
        mut object: Value,
    ) -> Result<(), kube::Error> {
        if let Some(known) = cache.get(self.namespace, name) {
            object["metadata"]["resourceVersion"] = json!(known.resource_version());
        }
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        let request = self
            .request(cache)
            .patch(name, &params, &Patch::Apply(object));
        self.send(cache, request).await
    }

    /// Asks by a dry run if an apply would be admitted.
    pub(crate) async fn dry_run_apply<K: Watched>(
        self,
        cache: &Cache<K>,
        name: &str,
        object: Value,
    ) -> Result<(), kube::Error> {
        let params = PatchParams {
            dry_run: true,
            ..PatchParams::apply(names::FIELD_MANAGER).force()
        };
        let request = self
            .request(cache)
            .patch(name, &params, &Patch::Apply(object));
        let request = request.map_err(kube::Error::BuildRequest)?;
        self.client.request_text(request).await.map(|_| ())
    }

    /// Deletes an object. One that is gone is no error.
    pub(crate) async fn delete<K: Watched>(
        self,
        cache: &Cache<K>,
        known: &K,
        precondition: Precondition,
        params: DeleteParams,
    ) -> Result<(), kube::Error> {
        let params = params.preconditions(Preconditions {
            uid: known.uid(),
            resource_version: match precondition {
                Precondition::Uid => None,
                Precondition::ResourceVersion => known.resource_version(),
            },
        });
        let request = self.request(cache).delete(&known.name_any(), &params);
        let request = request.map_err(kube::Error::BuildRequest)?;
        match self.client.request_text(request).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn request<K: Watched>(self, cache: &Cache<K>) -> Request {
        Request::new(K::url_path(cache.kind(), Some(self.namespace)))
    }

    async fn send<K: Watched>(
        self,
        cache: &Cache<K>,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<(), kube::Error> {
        let request = request.map_err(kube::Error::BuildRequest)?;
        cache.keep_answer(self.client.request(request).await?);
        Ok(())
    }
}

// === impl Denied ===

impl Denied {
    /// Returns the denial of an object by a dry run, if it was one.
    pub(crate) fn of<T>(
        object: String,
        asked: Result<T, kube::Error>,
    ) -> Result<Option<Self>, kube::Error> {
        let Err(error) = asked else { return Ok(None) };
        match denial(&error) {
            Some(why) => Ok(Some(Self {
                object,
                why: why.to_owned(),
            })),
            None => Err(error),
        }
    }
}

/// Returns true if a JSON patch was refused by a test of its own: the API server answers that with
/// 422, like an object that is not valid, but names no object.
fn is_failed_test(status: &Status) -> bool {
    let names_object = status
        .details
        .as_ref()
        .is_some_and(|details| !details.kind.is_empty());
    status.code == 422 && !names_object
}

/// Returns the API server's words if it denies a write until somebody changes something: a right, a quota,
/// a policy, a webhook, or the object. A webhook that fails is a 500.
pub(crate) fn denial(error: &kube::Error) -> Option<&str> {
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422 | 500) => {
            Some(&status.message)
        }
        _ => None,
    }
}

/// Annotations with which an object is governed: the epoch of the leader that writes it, and whether its applier is
/// told to pass it by. Without, they are taken off.
pub(crate) fn marks(object: &impl Resource, epoch: Option<u64>, passed_by: bool) -> Value {
    let mut marks = applier::pass_by(object, passed_by);
    let epoch = json!(epoch.map(|epoch| epoch.to_string()));
    marks.insert(names::EPOCH_ANNOTATION.to_owned(), epoch);
    Value::Object(marks)
}
