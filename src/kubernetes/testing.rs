//! API server in memory, for the tests of everything that talks to one.
//!
//! It keeps objects by path, takes each kind of write as it is meant and only over the object that the
//! write was made for, and writes down what it was asked. What goes wrong is for the test to say: a
//! request gets another [`Answer`] then, or meets an object that somebody has just changed.
//!
//! A path like `deployments/web` is in the namespace `shop`; one that begins with `/` is taken as it is. Every account may
//! do everything, until the test takes a right away.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

mod apply;

use std::{
    collections::{BTreeMap, BTreeSet},
    future,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{StreamExt as _, stream};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body, runtime::watcher::Event};
use serde_json::{Value, json};
use tower::BoxError;

use super::cache::{CacheWriter, Watched};

/// The kinds that are served: group and version, plural, kind.
const KINDS: &[(&str, &str, &str)] = &[
    ("v1", "configmaps", "ConfigMap"),
    ("v1", "events", "Event"),
    ("v1", "pods", "Pod"),
    ("v1", "secrets", "Secret"),
    ("v1", "services", "Service"),
    ("apps/v1", "controllerrevisions", "ControllerRevision"),
    ("apps/v1", "deployments", "Deployment"),
    ("apps/v1", "replicasets", "ReplicaSet"),
    ("batch/v1", "jobs", "Job"),
    ("gateway.networking.k8s.io/v1", "grpcroutes", "GRPCRoute"),
    ("gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute"),
    ("tidegate.io/v1alpha1", "configrepos", "ConfigRepo"),
    ("tidegate.io/v1alpha1", "interventions", "Intervention"),
    ("tidegate.io/v1alpha1", "rollouts", "Rollout"),
];

/// The same, of kinds that are cluster-scoped.
const CLUSTER_KINDS: &[(&str, &str, &str)] = &[
    ("v1", "namespaces", "Namespace"),
    (
        "apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
    ),
    ("mesh.example.com/v1", "meshes", "Mesh"),
    (
        "rbac.authorization.k8s.io/v1",
        "clusterroles",
        "ClusterRole",
    ),
];

/// Path at which an account asks for its own rights.
const OWN_RIGHTS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// The API server.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    rules: Vec<Rule>,
    asked: Vec<Asked>,
    /// Rights that are denied: plurals with their namespaces, which are empty at the cluster scope.
    denied: BTreeSet<(String, String)>,
    /// Number of the requests that the test has looked at.
    seen: usize,
}

/// What a request meets, by [`Asked::short`].
struct Rule {
    at: String,
    effect: Effect,
}

enum Effect {
    /// Happens just before the request is answered, once.
    Before(Box<dyn FnOnce(&Script) + Send>),
    Once(Answer),
    Always(Answer),
}

/// Answer in place of the usual one.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Refusal with a code and a message.
    Refused(u16, String),
    Json(Value),
    /// The connection is lost.
    BreaksOff,
    /// None, however long one waits.
    Never,
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

/// Kinds whose generation counts the changes of their spec.
const WITH_GENERATION: [&str; 3] = ["deployments/", "httproutes/", "rollouts/"];

// === impl Script ===

impl Script {
    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        let script = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let script = script.clone();
            async move { script.serve(request).await }
        });
        Client::new(service, "shop")
    }

    /// Puts an object there as somebody else would; returns it as it is kept.
    pub(crate) fn put(&self, path: &str, object: Value) -> Value {
        self.state().store(&full(path), object)
    }

    /// An object as it is now.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(&full(path)).cloned()
    }

    /// The objects of a kind, by its plural.
    pub(crate) fn list(&self, plural: &str) -> Vec<Value> {
        self.state().listed(&full(plural), "")
    }

    /// Changes an object as somebody else would; returns it as it is kept.
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) -> Value {
        let mut object = self.get(path).unwrap();
        edit(&mut object);
        self.put(path, object)
    }

    /// Deletes an object as somebody else would.
    pub(crate) fn delete(&self, path: &str) {
        self.state().objects.remove(&full(path)).unwrap();
    }

    /// Answers the next request like `PATCH deployments/web` otherwise.
    pub(crate) fn once(&self, at: &str, answer: Answer) {
        self.rule(at, Effect::Once(answer));
    }

    /// Answers every request like this otherwise, from now on.
    pub(crate) fn always(&self, at: &str, answer: Answer) {
        self.rule(at, Effect::Always(answer));
    }

    /// Refuses the next request like this.
    pub(crate) fn fail(&self, at: &str, code: u16, message: &str) {
        self.once(at, Answer::Refused(code, message.to_owned()));
    }

    /// Refuses every request like this, from now on.
    pub(crate) fn refuse(&self, at: &str, code: u16) {
        self.always(at, Answer::Refused(code, "the script says so".to_owned()));
    }

    /// Takes the right away to write the objects of a resource in a namespace, or at the cluster scope if it is empty.
    pub(crate) fn deny(&self, plural: &str, namespace: &str) {
        let right = (plural.to_owned(), namespace.to_owned());
        self.state().denied.insert(right);
    }

    /// Refuses nothing any more.
    pub(crate) fn refuse_nothing(&self) {
        self.state().rules.clear();
    }

    /// Does something just before the next request like this is answered.
    pub(crate) fn before(&self, at: &str, act: impl FnOnce(&Script) + Send + 'static) {
        self.rule(at, Effect::Before(Box::new(act)));
    }

    /// Every request since the last call, whether it was refused or not.
    pub(crate) fn requests(&self) -> Vec<Asked> {
        let mut state = self.state();
        let new = state.asked[state.seen..].to_vec();
        state.seen = state.asked.len();
        new
    }

    /// The writes among them.
    pub(crate) fn writes(&self) -> Vec<Asked> {
        let mut asked = self.requests();
        asked.retain(|asked| asked.method != Method::GET);
        asked
    }

    /// The writes since the last call as `METHOD kind/name`.
    pub(crate) fn short_writes(&self) -> Vec<String> {
        self.writes().iter().map(Asked::short).collect()
    }

    /// Every request from the beginning.
    pub(crate) fn history(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    fn rule(&self, at: &str, effect: Effect) {
        let at = at.to_owned();
        self.state().rules.push(Rule { at, effect });
    }

    async fn serve(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let asked = Asked {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        self.state().asked.push(asked.clone());
        let answer = match self.ruled(&asked.short()) {
            Some(answer) => answer,
            None => self.state().answer(&asked),
        };
        match answer {
            Answer::Refused(code, message) => Ok(refusal(code, &message)),
            Answer::Json(value) => Ok(response(200, &value)),
            Answer::BreaksOff => Err("connection refused".into()),
            Answer::Never => future::pending().await,
        }
    }

    /// The answer by the first rule about a request, once what is to come before it has happened.
    fn ruled(&self, short: &str) -> Option<Answer> {
        let effect = {
            let mut state = self.state();
            let at = state.rules.iter().position(|rule| rule.at == short)?;
            if let Effect::Always(answer) = &state.rules[at].effect {
                return Some(answer.clone());
            }
            state.rules.remove(at).effect
        };
        match effect {
            Effect::Once(answer) | Effect::Always(answer) => Some(answer),
            Effect::Before(act) => {
                act(self);
                None
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

// === impl State ===

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let answer = match asked.method {
            Method::GET if asked.query.contains("watch=true") => Ok(Answer::Never),
            Method::GET => self.read(asked),
            _ => self.write(asked).map(Answer::Json),
        };
        answer.unwrap_or_else(|code| Answer::Refused(code, "the script says so".to_owned()))
    }

    fn read(&self, asked: &Asked) -> Result<Answer, u16> {
        let path = asked.path.as_str();
        if let Some(object) = self.objects.get(path) {
            return Ok(Answer::Json(object.clone()));
        }
        if is_collection(path) {
            let items = self.listed(path, &asked.query);
            let list = json!({ "metadata": { "resourceVersion": self.version.to_string() }, "items": items });
            return Ok(Answer::Json(list));
        }
        let namespaced = KINDS.iter().map(|kind| (kind, true));
        let all = namespaced.chain(CLUSTER_KINDS.iter().map(|kind| (kind, false)));
        let resources: Vec<_> = all
            .filter(|((group_version, _, _), _)| group_path(group_version) == path)
            .map(|((_, plural, kind), namespaced)| {
                json!({ "name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get"] })
            })
            .collect();
        if resources.is_empty() {
            return Err(404);
        }
        let group_version = path
            .trim_start_matches("/apis/")
            .trim_start_matches("/api/");
        Ok(Answer::Json(json!({
            "kind": "APIResourceList", "groupVersion": group_version, "resources": resources,
        })))
    }

    /// The objects of a collection, or those with the label that the query selects.
    fn listed(&self, collection: &str, query: &str) -> Vec<Value> {
        let selector = query
            .split('&')
            .find_map(|part| part.strip_prefix("labelSelector="));
        let selector = selector.map(|text| text.replace("%2F", "/").replace("%3D", "="));
        let label = selector.as_ref().and_then(|text| text.split_once('='));
        let all = self.objects.iter();
        all.filter(|(path, _)| {
            path.rsplit_once('/')
                .is_some_and(|(above, _)| above == collection)
        })
        .filter(|(_, object)| {
            label.is_none_or(|(key, value)| object["metadata"]["labels"][key] == value)
        })
        .map(|(_, object)| object.clone())
        .collect()
    }

    /// Makes a change, or returns the code by which it is refused.
    fn write(&mut self, asked: &Asked) -> Result<Value, u16> {
        if asked.path == OWN_RIGHTS {
            let right = &asked.body["spec"]["resourceAttributes"];
            let text = |field: &str| right[field].as_str().unwrap_or_default().to_owned();
            let is_denied = self.denied.contains(&(text("resource"), text("namespace")));
            let mut review = asked.body.clone();
            review["status"] = json!({ "allowed": !is_denied });
            return Ok(review);
        }
        let (path, is_status) = match asked.path.strip_suffix("/status") {
            Some(path) => (path.to_owned(), true),
            None if asked.method == Method::POST => (self.created(asked)?, false),
            None => (asked.path.clone(), false),
        };
        let before = self.objects.get(&path).cloned();
        let mut after = after(asked, before.as_ref())?;
        let precondition = match asked.method {
            Method::DELETE => &asked.body["preconditions"],
            _ => &after["metadata"],
        };
        let metadata = before.as_ref().map(|object| &object["metadata"]);
        for field in ["uid", "resourceVersion"] {
            let named = &precondition[field];
            if !named.is_null() && metadata.is_none_or(|metadata| metadata[field] != *named) {
                return Err(409);
            }
        }
        if asked.method == Method::DELETE {
            self.objects.remove(&path);
            return Ok(after);
        }
        if let Some(before) = &before {
            // A status is written by its own path alone, and nothing else is by that.
            let (mut kept, status) = if is_status {
                (before.clone(), after["status"].take())
            } else {
                (after, before["status"].clone())
            };
            if !status.is_null() {
                kept["status"] = status;
            }
            after = kept;
        }
        if before.as_ref() == Some(&after) || asked.query.contains("dryRun=All") {
            return Ok(after);
        }
        Ok(self.store(&path, after))
    }

    /// Path of the object that a request creates.
    fn created(&self, asked: &Asked) -> Result<String, u16> {
        let metadata = &asked.body["metadata"];
        let name = match (metadata["name"].as_str(), metadata["generateName"].as_str()) {
            (Some(name), _) => name.to_owned(),
            (None, Some(start)) => format!("{start}{}", self.version),
            (None, None) => return Err(422),
        };
        let path = format!("{}/{name}", asked.path);
        if self.objects.contains_key(&path) {
            return Err(409);
        }
        Ok(path)
    }

    /// Generation of an object that is stored, which counts the changes of its spec, if its kind has one.
    fn generation(&self, path: &str, object: &Value) -> Option<i64> {
        let own = object["metadata"]["generation"].as_i64();
        let last = self.objects.get(path);
        let known = last.and_then(|last| last["metadata"]["generation"].as_i64());
        let counts = WITH_GENERATION.iter().any(|plural| path.contains(plural));
        if !counts || own != known {
            return own;
        }
        let same = last.is_some_and(|last| last["spec"] == object["spec"]);
        Some(known.unwrap_or_default() + i64::from(!same))
    }

    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let name = path.rsplit('/').next().unwrap();
        let metadata = &mut object["metadata"];
        for (field, value) in [
            ("name", name.to_owned()),
            ("uid", format!("uid-{}", self.version)),
            ("creationTimestamp", "2026-01-01T00:00:00Z".to_owned()),
        ] {
            if metadata[field].is_null() {
                metadata[field] = json!(value);
            }
        }
        if metadata["namespace"].is_null()
            && let Some((namespace, _)) = in_namespace(path)
        {
            metadata["namespace"] = json!(namespace);
        }
        metadata["resourceVersion"] = json!(self.version.to_string());
        if let Some(generation) = self.generation(path, &object) {
            object["metadata"]["generation"] = json!(generation);
        }
        self.objects.insert(path.to_owned(), object.clone());
        object
    }
}

/// The object after a request, or the code by which that is refused.
fn after(asked: &Asked, before: Option<&Value>) -> Result<Value, u16> {
    match (&asked.method, before) {
        (&Method::POST, _) | (&Method::PUT, Some(_)) => Ok(asked.body.clone()),
        (&Method::PATCH, before) if asked.is_patch("apply-patch") => {
            Ok(apply::applied(before, &asked.body, asked.field_manager()))
        }
        (_, None) => Err(404),
        (&Method::PATCH, Some(before)) => {
            let mut object = before.clone();
            if asked.is_patch("json-patch") {
                let patch = serde_json::from_value::<json_patch::Patch>(asked.body.clone());
                let patch = patch.map_err(|_| 400_u16)?;
                json_patch::patch(&mut object, &patch).map_err(|_| 422_u16)?;
            } else {
                json_patch::merge(&mut object, &asked.body);
            }
            Ok(object)
        }
        (_, Some(before)) => Ok(before.clone()),
    }
}

// === impl Asked ===

impl Asked {
    /// `METHOD kind/name`, or `METHOD /path` for what is in no namespace.
    pub(crate) fn short(&self) -> String {
        format!("{} {}", self.method, short(&self.path))
    }

    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Returns true for a patch of this media type.
    pub(crate) fn is_patch(&self, media_type: &str) -> bool {
        self.header("content-type").contains(media_type)
    }

    fn field_manager(&self) -> &str {
        let mut parts = self.query.split('&');
        parts
            .find_map(|part| part.strip_prefix("fieldManager="))
            .unwrap()
    }
}

fn group_path(group_version: &str) -> String {
    match group_version {
        "v1" => "/api/v1".to_owned(),
        group_version => format!("/apis/{group_version}"),
    }
}

/// The path that a path like `deployments/web` is short for.
fn full(path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let plural = path.split('/').next().unwrap();
    let kind = KINDS.iter().find(|(_, own, _)| *own == plural);
    let (group_version, _, _) = kind.unwrap_or_else(|| panic!("{plural} are not served"));
    format!("{}/namespaces/shop/{path}", group_path(group_version))
}

/// Returns true for the path of all objects of a kind in a namespace.
fn is_collection(path: &str) -> bool {
    let Some((_, short)) = in_namespace(path) else {
        return false;
    };
    KINDS.iter().any(|(_, plural, _)| *plural == short)
}

/// What a path is called in short: with its namespace, where that is another one.
fn short(path: &str) -> &str {
    match in_namespace(path) {
        Some(("shop", short)) => short,
        Some((namespace, short)) => &path[path.len() - namespace.len() - short.len() - 1..],
        None => path,
    }
}

/// Namespace of a path, and the path within it.
fn in_namespace(path: &str) -> Option<(&str, &str)> {
    path.split_once("/namespaces/")?.1.split_once('/')
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

fn refusal(code: u16, message: &str) -> Response<Body> {
    let reason = match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": message,
    });
    response(code, &status)
}

/// A line, as a watch is answered.
fn response(code: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(code)
        .body(Body::from(format!("{body}\n").into_bytes()))
        .unwrap()
}
