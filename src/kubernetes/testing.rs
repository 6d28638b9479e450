//! An API server that answers from a script, for the tests of everything that writes to one.
//!
//! It keeps objects by path, takes merge patches and JSON patches as they are meant and applies by
//! merging, and writes down what it was asked. What it refuses is for the test to say.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{StreamExt as _, stream};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body, runtime::watcher::Event};
use serde_json::{Value, json};

use super::cache::{CacheWriter, Watched};

/// The API server.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    refusals: Vec<Refusal>,
    asked: Vec<Asked>,
    version: u64,
}

/// What is refused, from then on.
struct Refusal {
    method: Method,
    path: String,
    code: u16,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

// === impl Script ===

impl Script {
    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        let script = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let script = script.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let asked = Asked {
                    method: head.method,
                    path: head.uri.path().to_owned(),
                    query: head.uri.query().unwrap_or_default().to_owned(),
                    headers: head.headers,
                    body,
                };
                Ok::<_, kube::Error>(script.answer(&asked))
            }
        });
        Client::new(service, "shop")
    }

    /// Puts an object there as somebody else would.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.state().store(path, object);
    }

    /// An object as it is now.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// Refuses a method at a path from now on.
    pub(crate) fn refuse(&self, method: Method, path: &str, code: u16) {
        self.state().refusals.push(Refusal {
            method,
            path: path.to_owned(),
            code,
        });
    }

    /// Refuses nothing any more.
    pub(crate) fn refuse_nothing(&self) {
        self.state().refusals.clear();
    }

    /// Every request since the last call, whether it was refused or not.
    pub(crate) fn requests(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state().asked)
    }

    /// The writes among them.
    pub(crate) fn writes(&self) -> Vec<Asked> {
        let mut asked = self.requests();
        asked.retain(|asked| asked.method != Method::GET);
        asked
    }

    /// The writes since the last call as `METHOD last/two`.
    pub(crate) fn short_writes(&self) -> Vec<String> {
        self.writes().iter().map(Asked::short).collect()
    }

    fn answer(&self, asked: &Asked) -> Response<Body> {
        let mut state = self.state();
        state.asked.push(asked.clone());
        let refusal = state
            .refusals
            .iter()
            .find(|refusal| refusal.method == asked.method && refusal.path == asked.path);
        if let Some(refusal) = refusal {
            return failure(refusal.code);
        }
        let path = asked.path.trim_end_matches("/status").to_owned();
        if asked.method == Method::PUT && state.is_outdated(asked, &path) {
            return failure(409);
        }
        let object = match state.after(asked, &path) {
            Some(Ok(object)) => object,
            Some(Err(_)) => return failure(422),
            None => return failure(404),
        };
        let dry = asked.query.contains("dryRun=All");
        let answer = match asked.method {
            Method::GET => object,
            Method::DELETE => {
                state.objects.remove(&path);
                object
            }
            _ if dry => object,
            _ => state.store(&path, object),
        };
        Response::builder()
            .status(200)
            .body(Body::from(serde_json::to_vec(&answer).unwrap()))
            .unwrap()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

// === impl State ===

impl State {
    /// Returns true if a request names another resourceVersion than the object has.
    fn is_outdated(&self, asked: &Asked, path: &str) -> bool {
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let (known, named) = (self.objects.get(path).map(version), version(&asked.body));
        !named.is_null() && known.is_some_and(|known| known != named)
    }

    /// The object after a request, which is not stored yet; or the patch does not apply to it.
    fn after(&self, asked: &Asked, path: &str) -> Option<Result<Value, json_patch::PatchError>> {
        let before = self.objects.get(path).cloned();
        let media_type = asked
            .headers
            .get("content-type")
            .map_or("", |value| value.to_str().unwrap());
        match asked.method {
            Method::POST | Method::PUT => Some(Ok(asked.body.clone())),
            Method::PATCH if media_type.contains("json-patch") => {
                let mut object = before?;
                let patch: json_patch::Patch = serde_json::from_value(asked.body.clone()).unwrap();
                Some(json_patch::patch(&mut object, &patch).map(|()| object))
            }
            Method::PATCH => {
                let mut object = if media_type.contains("apply-patch") {
                    before.unwrap_or_default()
                } else {
                    before?
                };
                json_patch::merge(&mut object, &asked.body);
                Some(Ok(object))
            }
            _ => before.map(Ok),
        }
    }

    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        object
    }
}

// === impl Asked ===

impl Asked {
    /// `METHOD last/two`.
    pub(crate) fn short(&self) -> String {
        let parts: Vec<_> = self.path.rsplitn(4, '/').collect();
        let place = match parts.as_slice() {
            ["status", name, kind, ..] => format!("{kind}/{name}/status"),
            [name, kind, ..] => format!("{kind}/{name}"),
            _ => self.path.clone(),
        };
        format!("{} {place}", self.method)
    }

    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// Has a watch show these and end.
pub(crate) async fn show<K: Watched>(writer: CacheWriter<K>, objects: Vec<K>) {
    let shown = objects.into_iter().map(Event::InitApply);
    let events = [Event::Init]
        .into_iter()
        .chain(shown)
        .chain([Event::InitDone]);
    writer
        .fill(stream::iter(events.map(Ok)))
        .for_each(|_| async {})
        .await;
}

fn failure(code: u16) -> Response<Body> {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": "the script says so",
    });
    Response::builder()
        .status(code)
        .body(Body::from(serde_json::to_vec(&status).unwrap()))
        .unwrap()
}
