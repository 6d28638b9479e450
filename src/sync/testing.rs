//! Bench for the tests of this module: an API server that keeps objects in memory and logs the
//! requests, and a git repository on disk.

#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "tests")]

mod apply;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use kube::{Client, client::Body, runtime::controller::Action};
use serde_json::{Value, json};
use tidegate_api::{ConfigRepo, Rollout};
use tidegate_git::{Git, Protocol, Transport, TransportSettings};

use self::apply::is_json_patch;
use super::reconcile::{Context, UnreadableRollout, reconcile};
use crate::{
    kubernetes::events::EventRecorder,
    repository::{Repositories, SecretAccess},
};

/// An API server in memory. Its server-side apply takes away what only the same manager owned, but for
/// elements of lists: those are replaced whole.
#[derive(Clone, Default)]
pub(super) struct FakeApi(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    log: Vec<String>,
    sent: Vec<(String, Value)>,
    faults: VecDeque<Fault>,
    /// Names of the objects that an autoscaler scales.
    autoscaled: BTreeSet<String>,
}

/// Fault that is injected once, at the first request that begins like this.
struct Fault {
    at: String,
    before: Box<dyn FnOnce(&FakeApi) + Send>,
    answer: Option<(u16, &'static str, String)>,
}

/// A `ConfigRepo` with its repository, its cluster, and a clock that stands still.
pub(super) struct Bench {
    pub(super) api: FakeApi,
    pub(super) context: Arc<Context>,
    now: Arc<Mutex<Timestamp>>,
    folder: tempfile::TempDir,
}

/// Every kind that the tests use: group and version, plural, kind.
const KINDS: &[(&str, &str, &str)] = &[
    ("v1", "configmaps", "ConfigMap"),
    ("v1", "secrets", "Secret"),
    ("v1", "services", "Service"),
    ("apps/v1", "deployments", "Deployment"),
    ("apps/v1", "controllerrevisions", "ControllerRevision"),
    ("batch/v1", "jobs", "Job"),
    ("gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute"),
    ("tidegate.io/v1alpha1", "rollouts", "Rollout"),
    ("tidegate.io/v1alpha1", "configrepos", "ConfigRepo"),
];

// === impl FakeApi ===

impl FakeApi {
    pub(super) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                Ok::<_, kube::Error>(api.answer(&parts, &body))
            }
        });
        Client::new(service, "shop")
    }

    /// Puts an object there as somebody else would.
    pub(super) fn put(&self, object: Value) {
        let kind = KINDS
            .iter()
            .find(|(_, _, kind)| object["kind"] == *kind)
            .unwrap();
        let path = format!(
            "{}/{}",
            kind.1,
            object["metadata"]["name"].as_str().unwrap()
        );
        self.store(&path, object);
    }

    /// An object, by its path like `deployments/web`.
    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    /// Has an autoscaler scale the object of this name.
    pub(super) fn autoscale(&self, name: &str) {
        self.0.lock().unwrap().autoscaled.insert(name.to_owned());
    }

    /// Deletes an object as somebody else would.
    pub(super) fn delete(&self, path: &str) {
        self.0.lock().unwrap().objects.remove(path).unwrap();
    }

    /// Changes an object as somebody else would.
    pub(super) fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = self.get(path).unwrap();
        edit(&mut object);
        self.store(path, object);
    }

    /// All requests since the last call; discovery, events and the ConfigRepo's own status aside.
    pub(super) fn requests(&self) -> Vec<String> {
        let log = std::mem::take(&mut self.0.lock().unwrap().log);
        log.into_iter()
            .filter(|line| !line.contains("configrepos/") && !line.contains(" events"))
            .collect()
    }

    /// The writes among the requests since the last call.
    pub(super) fn writes(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .filter(|line| !line.starts_with("GET"))
            .collect()
    }

    /// Returns the object that was sent last to a path.
    pub(super) fn sent(&self, path: &str) -> Option<Value> {
        let state = self.0.lock().unwrap();
        state
            .sent
            .iter()
            .rev()
            .find(|(to, _)| to == path)
            .map(|(_, object)| object.clone())
    }

    /// Every event, as `Reason: message`.
    pub(super) fn events(&self) -> Vec<Value> {
        let state = self.0.lock().unwrap();
        let events = state.sent.iter().filter(|(to, _)| to == "events");
        events.map(|(_, event)| event.clone()).collect()
    }

    /// Answers a request that begins like `at` with an error, once.
    pub(super) fn fail(&self, at: &str, code: u16, reason: &'static str, message: &str) {
        let answer = Some((code, reason, message.to_owned()));
        self.fault(Fault {
            at: at.to_owned(),
            before: Box::new(|_| ()),
            answer,
        });
    }

    /// Does something just before a request that begins like `at` is answered, once.
    pub(super) fn before(&self, at: &str, act: impl FnOnce(&FakeApi) + Send + 'static) {
        self.fault(Fault {
            at: at.to_owned(),
            before: Box::new(act),
            answer: None,
        });
    }

    fn fault(&self, fault: Fault) {
        self.0.lock().unwrap().faults.push_back(fault);
    }

    fn store(&self, path: &str, mut object: Value) -> Value {
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        let version = state.version.to_string();
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata
            .entry("uid")
            .or_insert_with(|| json!(format!("uid-{version}")));
        metadata.entry("namespace").or_insert_with(|| json!("shop"));
        metadata
            .entry("creationTimestamp")
            .or_insert_with(|| json!("2026-01-01T00:00:00Z"));
        metadata.insert("resourceVersion".into(), json!(version));
        state.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn answer(&self, parts: &http::request::Parts, body: &[u8]) -> Response<Body> {
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        if let Some(resources) = discovery(path) {
            return respond(200, &resources);
        }
        let Some((_, path)) = path.split_once("/namespaces/shop/") else {
            // A group that the API server does not have is answered in plain text.
            let body = Body::from(b"404 page not found\n".to_vec());
            return Response::builder().status(404).body(body).unwrap();
        };
        let user = parts
            .headers
            .get("impersonate-user")
            .map(|user| user.to_str().unwrap().to_owned());
        let line = format!("{} {path}", parts.method);
        let how = user.map(|user| format!(" as {user}")).unwrap_or_default();
        self.0.lock().unwrap().log.push(format!("{line}{how}"));
        if let Some((code, reason, message)) = self.take_fault(&line) {
            return respond(
                code,
                &json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}),
            );
        }
        match parts.method.as_str() {
            "GET" if path.contains('/') => match self.get(path) {
                Some(object) => respond(200, &object),
                None => not_found(),
            },
            "GET" => respond(200, &self.list(path, query)),
            "PATCH" if path.starts_with("events/") => respond(200, &self.note("events", body)),
            "PATCH" if path.ends_with("/status") => {
                let path = path.trim_end_matches("/status");
                let merged: Value = serde_json::from_slice(body).unwrap();
                let mut object = self.get(path).unwrap();
                object["status"] = merged["status"].clone();
                respond(200, &self.store(path, object))
            }
            "PATCH" if is_json_patch(parts) => self.patch(path, body),
            "PATCH" => self.apply(path, query, body),
            "DELETE" => match self.0.lock().unwrap().objects.remove(path) {
                Some(object) => respond(200, &object),
                None => not_found(),
            },
            "POST" => respond(201, &self.note(path, body)),
            other => panic!("nobody should {other}"),
        }
    }

    fn take_fault(&self, line: &str) -> Option<(u16, &'static str, String)> {
        let fault = {
            let mut state = self.0.lock().unwrap();
            let at = state
                .faults
                .iter()
                .position(|fault| line.starts_with(&fault.at))?;
            state.faults.remove(at).unwrap()
        };
        (fault.before)(self);
        fault.answer
    }

    fn list(&self, plural: &str, query: &str) -> Value {
        let (api_version, _, kind) = KINDS.iter().find(|(_, own, _)| *own == plural).unwrap();
        let label = query
            .split('&')
            .find_map(|part| part.strip_prefix("labelSelector="));
        let label = label.map(|label| label.replace("%2F", "/").replace("%3D", "="));
        let state = self.0.lock().unwrap();
        let items: Vec<_> = state
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(&format!("{plural}/")))
            .map(|(_, object)| object)
            .filter(|object| {
                label
                    .as_ref()
                    .and_then(|label| label.split_once('='))
                    .is_none_or(|(key, value)| object["metadata"]["labels"][key] == value)
            })
            .collect();
        json!({"apiVersion": api_version, "kind": format!("{kind}List"), "metadata": {}, "items": items})
    }

    fn note(&self, path: &str, body: &[u8]) -> Value {
        let event: Value = serde_json::from_slice(body).unwrap();
        let note = format!(
            "{}: {}",
            event["reason"].as_str().unwrap(),
            event["message"].as_str().unwrap()
        );
        self.0
            .lock()
            .unwrap()
            .sent
            .push((path.to_owned(), json!(note)));
        event
    }
}

fn discovery(path: &str) -> Option<Value> {
    let group_version = path
        .strip_prefix("/apis/")
        .or_else(|| path.strip_prefix("/api/"))?;
    if group_version.contains("namespaces") {
        return None;
    }
    let resources: Vec<_> = KINDS
        .iter()
        .filter(|(own, _, _)| *own == group_version)
        .map(|(_, plural, kind)| json!({"name": plural, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get"]}))
        .collect();
    Some(json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": resources}))
}

fn not_found() -> Response<Body> {
    respond(
        404,
        &json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "not found"}),
    )
}

fn respond(code: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(code)
        .body(Body::from(serde_json::to_vec(body).unwrap()))
        .unwrap()
}

// === impl Bench ===

impl Bench {
    /// A namespace with a `ConfigRepo` and an empty repository.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let api = FakeApi::default();
        let now = Arc::new(Mutex::new(
            "2026-01-02T00:00:00Z".parse::<Timestamp>().unwrap(),
        ));
        let settings = TransportSettings {
            protocols: vec![Protocol::File],
            ..TransportSettings::default()
        };
        let git = Arc::new(Git::new(
            Transport::new(settings).unwrap(),
            folder.path().join("cache"),
        ));
        let (cached, clock) = (api.clone(), Arc::clone(&now));
        let (scaled, siblings) = (api.clone(), api.clone());
        let rollouts = Box::new(move |_: &str| cached.rollouts());
        let repositories = Arc::new(Repositories::new(git, [], SecretAccess::Labeled));
        let context = Context::new(
            api.client(),
            api.client(),
            repositories,
            rollouts,
            move || *clock.lock().unwrap(),
        )
        .with_autoscalers(Box::new(move |_, _, _, name| {
            let state = scaled.0.lock().unwrap();
            let name = state.autoscaled.get(name)?;
            Some(format!("HorizontalPodAutoscaler/{name}"))
        }))
        .with_siblings(Box::new(move |_| siblings.config_repos()))
        .with_events(EventRecorder::start(api.client(), "test"));
        let bench = Self {
            api,
            context: Arc::new(context),
            now,
            folder,
        };
        bench.git(&["init", "--quiet", "--initial-branch=main", "."]);
        let url = format!("file://{}", bench.repository().display());
        bench.api.put(json!({
            "apiVersion": "tidegate.io/v1alpha1", "kind": "ConfigRepo",
            "metadata": {"name": "shop", "generation": 1},
            "spec": {
                "url": url, "ref": {"branch": "main"}, "path": "prod",
                "sync": {"serviceAccountName": "deployer"},
            },
        }));
        bench
    }

    /// Writes the one file of the repository and commits it; answers the commit.
    pub(super) fn commit(&self, content: &str) -> String {
        let file = self.repository().join("prod/shop.yaml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// The folder that stands for the git server.
    pub(super) fn repository(&self) -> std::path::PathBuf {
        let path = self.folder.path().join("repo");
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub(super) fn git(&self, args: &[&str]) -> String {
        run_git(&self.repository(), args)
    }

    /// Reconciles now.
    pub(super) async fn reconcile(&self) {
        self.reconcile_and_wait().await;
    }

    /// Reconciles now; answers what is waited for then.
    pub(super) async fn reconcile_and_wait(&self) -> Action {
        let repo: ConfigRepo =
            serde_json::from_value(self.api.get("configrepos/shop").unwrap()).unwrap();
        let action = reconcile(Arc::new(repo), Arc::clone(&self.context))
            .await
            .unwrap();
        crate::testing::settle().await;
        action
    }

    /// Lets time pass.
    pub(super) fn pass(&self, time: SignedDuration) {
        *self.now.lock().unwrap() += time;
    }

    /// Commits and reconciles when it is time to.
    pub(super) async fn release(&self, content: &str) -> String {
        let commit = self.commit(content);
        self.pass(SignedDuration::from_secs(30));
        self.reconcile().await;
        commit
    }

    /// `Reason: message` of the condition `Ready`.
    pub(super) fn ready(&self) -> String {
        let status = self.api.get("configrepos/shop").unwrap()["status"].take();
        let ready = &status["conditions"][0];
        format!(
            "{}: {}",
            ready["reason"].as_str().unwrap(),
            ready["message"].as_str().unwrap()
        )
    }
}

impl FakeApi {
    fn config_repos(&self) -> Vec<ConfigRepo> {
        let state = self.0.lock().unwrap();
        let repos = state
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with("configrepos/"));
        repos
            .map(|(_, object)| serde_json::from_value(object.clone()).unwrap())
            .collect()
    }

    fn rollouts(&self) -> Result<Vec<Arc<Rollout>>, UnreadableRollout> {
        let state = self.0.lock().unwrap();
        let rollouts = state
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with("rollouts/"));
        let decoded = rollouts.map(
            |(path, object)| match serde_json::from_value(object.clone()) {
                Ok(rollout) => Ok(Arc::new(rollout)),
                Err(error) => Err(UnreadableRollout {
                    name: path.replace("rollouts/", ""),
                    why: error.to_string(),
                }),
            },
        );
        decoded.collect()
    }
}

fn run_git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.com")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.com")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
