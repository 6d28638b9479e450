//! Bench for the tests of this module: an API server in memory and a git repository on disk.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use futures::{FutureExt as _, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{ResourceExt as _, runtime::controller::Action};
use serde_json::{Value, json};
use tidegate_api::{
    ConfigRepo, NamespacedName, Revision, Rollout, names,
    workload::{WorkloadKind, WorkloadRef},
};
use tidegate_engine::revision;
use tidegate_git::{Git, Limits, Protocol, Transport, TransportSettings};

use super::{
    failure::UnreadableRollout,
    look::LookSettings,
    provenance::{HeldWorkload, HeldWorkloads},
    reconcile::{Context, reconcile},
};
use crate::{
    kubernetes::{
        events::EventRecorder,
        testing::{Asked, Script},
        watched::ControllerRevision,
    },
    repository::{Repositories, SecretAccess},
    requeue::{self, RequeueReceiver},
    workload::WorkloadError,
};

/// A `ConfigRepo` with its repository, its cluster, and a clock that stands still.
pub(super) struct Bench {
    pub(super) api: Script,
    pub(super) context: Arc<Context>,
    now: Arc<Mutex<Timestamp>>,
    /// Names of the objects that an autoscaler scales.
    autoscaled: Arc<Mutex<BTreeSet<String>>>,
    repositories: Arc<Repositories>,
    folder: tempfile::TempDir,
    _requeued: RequeueReceiver,
}

// === impl Bench ===

impl Bench {
    /// A namespace with a `ConfigRepo` and an empty repository.
    pub(super) fn new() -> Self {
        Self::within(Limits::default())
    }

    /// The same, with limits for the repository.
    pub(super) fn within(limits: Limits) -> Self {
        Self::looking_after(None, limits)
    }

    /// The same, where a single namespace is looked after.
    pub(super) fn in_one_namespace() -> Self {
        Self::looking_after(Some("shop".to_owned()), Limits::default())
    }

    fn looking_after(namespace: Option<String>, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let api = Script::default();
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
            limits,
        ));
        let (cached, clock) = (api.clone(), Arc::clone(&now));
        let (siblings, watched) = (api.clone(), api.clone());
        let autoscaled = Arc::<Mutex<BTreeSet<String>>>::default();
        let scaled = Arc::clone(&autoscaled);
        let rollouts = Box::new(move |namespace: &str| rollouts(&cached, namespace));
        let repositories = Repositories::new(git, [], SecretAccess::Labeled);
        let repositories = Arc::new(repositories.rendered_by(crate::testing::rendering()));
        let (requeue_tx, requeue_rx) = requeue::channel();
        let looks = LookSettings {
            repositories: Arc::clone(&repositories),
            requeue_tx,
            namespace,
            nodes: 2_000_000,
        };
        let context = Context::new(api.client(), api.client(), looks, rollouts, move || {
            *clock.lock().unwrap()
        })
        .with_autoscalers(Box::new(move |_, _, _, name| {
            let scaled = scaled.lock().unwrap();
            let name = scaled.get(name)?;
            Some(format!("HorizontalPodAutoscaler/{name}"))
        }))
        .with_watched(Box::new(move |_, _, kind, name| {
            metadata(&watched, kind, name)
        }))
        .with_siblings(Box::new(move |_| config_repos(&siblings)))
        .with_held(Held(api.clone()))
        .with_events(EventRecorder::start(api.client(), "test"));
        let bench = Self {
            api,
            context: Arc::new(context),
            now,
            autoscaled,
            repositories,
            folder,
            _requeued: requeue_rx,
        };
        bench.git(&["init", "--quiet", "--initial-branch=main", "."]);
        let url = format!("file://{}", bench.repository().display());
        let repo = json!({
            "apiVersion": "tidegate.io/v1alpha1", "kind": "ConfigRepo",
            "metadata": {"name": "shop", "generation": 1},
            "spec": {
                "url": url, "ref": {"branch": "main"}, "path": "prod",
                "sync": {"serviceAccountName": "deployer"},
            },
        });
        bench.api.put("configrepos/shop", repo);
        bench
    }

    /// Writes the one file of the repository and commits it; answers the commit.
    pub(super) fn commit(&self, content: &str) -> String {
        self.commit_files(&[("prod/shop.yaml", content)])
    }

    /// Writes files of the repository and commits them; answers the commit.
    pub(super) fn commit_files(&self, files: &[(&str, &str)]) -> String {
        for (path, content) in files {
            let file = self.repository().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, content).unwrap();
        }
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

    /// Reconciles once, and waits for nothing.
    pub(super) async fn reconcile_once(&self) -> Action {
        let repo: ConfigRepo =
            serde_json::from_value(self.api.get("configrepos/shop").unwrap()).unwrap();
        reconcile(Arc::new(repo), Arc::clone(&self.context))
            .await
            .unwrap()
    }

    /// Folder of the clones.
    pub(super) fn cache(&self) -> std::path::PathBuf {
        self.folder.path().join("cache")
    }

    /// Reconciles now, and again after a look at the repository; answers what is waited for then.
    pub(super) async fn reconcile_and_wait(&self) -> Action {
        let mut action = self.reconcile_once().await;
        let name = NamespacedName::new("shop", "shop");
        while self.context.look_ended(&name).await {
            action = self.reconcile_once().await;
        }
        crate::testing::settle().await;
        let lenient = self.api.history().into_iter().find(is_lenient_apply);
        assert!(lenient.is_none(), "{lenient:?}");
        action
    }

    /// All requests since the last call, each with the account in whose name it was made; discovery,
    /// events and the ConfigRepo's own status aside.
    pub(super) fn requests(&self) -> Vec<String> {
        let lines = self.api.requests().into_iter().filter_map(|asked| {
            let line = asked.short();
            if [" /", " configrepos/", " events"]
                .iter()
                .any(|other| line.contains(other))
            {
                return None;
            }
            Some(match asked.header("impersonate-user") {
                "" => line,
                user => format!("{line} as {user}"),
            })
        });
        lines.collect()
    }

    /// The writes among the requests since the last call.
    pub(super) fn writes(&self) -> Vec<String> {
        let mut requests = self.requests();
        requests.retain(|line| !line.starts_with("GET"));
        requests
    }

    /// Returns the object that was applied last at a path.
    pub(super) fn applied(&self, path: &str) -> Option<Value> {
        let line = format!("PATCH {path}");
        let mut applied = self.api.history().into_iter().rev();
        let last = applied.find(|asked| asked.is_patch("apply-patch") && asked.short() == line);
        last.map(|asked| asked.body)
    }

    /// Every event, as `Reason: message`.
    pub(super) fn events(&self) -> Vec<String> {
        let events = self.api.list("events").into_iter();
        events
            .map(|event| format!("{}: {}", text(&event["reason"]), text(&event["message"])))
            .collect()
    }

    /// Has an autoscaler scale the object of this name.
    pub(super) fn autoscale(&self, name: &str) {
        self.autoscaled.lock().unwrap().insert(name.to_owned());
    }

    /// Number of overlays that were rendered.
    pub(super) fn renders(&self) -> usize {
        self.repositories.renderer().begun()
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
        format!("{}: {}", text(&ready["reason"]), text(&ready["message"]))
    }
}

/// Workloads that others apply: those that have ControllerRevisions which no `ConfigRepo` has brought.
struct Held(Script);

impl HeldWorkloads for Held {
    fn list(&self, _: &str) -> Vec<HeldWorkload> {
        let kept = self.0.list("controllerrevisions").into_iter();
        let kept = kept.map(|kept| serde_json::from_value::<ControllerRevision>(kept).unwrap());
        let revisions: Vec<_> = kept
            .filter(|kept| {
                !kept
                    .annotations()
                    .contains_key(names::CONFIG_REPO_ANNOTATION)
            })
            .map(Arc::new)
            .collect();
        if revisions.is_empty() {
            return Vec::new();
        }
        vec![HeldWorkload {
            workload: WorkloadRef::new(WorkloadKind::Deployment, "web"),
            revisions,
        }]
    }

    /// The API server adds a default, and denies an image without a tag.
    fn as_admitted<'a>(
        &'a self,
        _: &'a str,
        _: &'a WorkloadRef,
        template: Value,
    ) -> BoxFuture<'a, Result<Option<Revision>, WorkloadError>> {
        let image = text(&template["spec"]["containers"][0]["image"]);
        let admitted = image
            .contains(':')
            .then(|| revision::of(&defaulted(template.clone())));
        async { Ok(admitted) }.boxed()
    }

    fn annotate<'a>(
        &'a self,
        _: &'a str,
        revision: &'a ControllerRevision,
        annotations: Value,
    ) -> BoxFuture<'a, Result<(), kube::Error>> {
        let path = format!("controllerrevisions/{}", revision.name_any());
        self.0.edit(&path, |kept| {
            json_patch::merge(kept, &json!({ "metadata": { "annotations": annotations } }));
        });
        async { Ok(()) }.boxed()
    }
}

/// A template as the API server has it.
pub(super) fn defaulted(mut template: Value) -> Value {
    template["spec"]["restartPolicy"] = json!("Always");
    template
}

/// Metadata of an object of a kind that is watched.
fn metadata(api: &Script, kind: &str, name: &str) -> Option<ObjectMeta> {
    let plural = match kind {
        "Deployment" => "deployments",
        "HTTPRoute" => "httproutes",
        "Rollout" => "rollouts",
        "Service" => "services",
        _ => return None,
    };
    let mut object = api.get(&format!("{plural}/{name}"))?;
    serde_json::from_value(object["metadata"].take()).ok()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Returns true for an apply that is not forced, or that lets fields pass which are not known.
fn is_lenient_apply(asked: &Asked) -> bool {
    let is_strict =
        asked.query.contains("force=true") && asked.query.contains("fieldValidation=Strict");
    asked.is_patch("apply-patch") && !is_strict
}

/// Those of the namespace, and of one other.
fn config_repos(api: &Script) -> Vec<ConfigRepo> {
    let other = "/apis/tidegate.io/v1alpha1/namespaces/platform/configrepos";
    let repos = api.list("configrepos").into_iter().chain(api.list(other));
    repos
        .map(|repo| serde_json::from_value(repo).unwrap())
        .collect()
}

fn rollouts(api: &Script, namespace: &str) -> Result<Vec<Arc<Rollout>>, UnreadableRollout> {
    let path = format!("/apis/tidegate.io/v1alpha1/namespaces/{namespace}/rollouts");
    let decoded = api.list(&path).into_iter().map(|rollout| {
        let name = rollout["metadata"]["name"].as_str().unwrap().to_owned();
        match serde_json::from_value(rollout) {
            Ok(rollout) => Ok(Arc::new(rollout)),
            Err(error) => Err(UnreadableRollout {
                name,
                why: error.to_string(),
            }),
        }
    });
    decoded.collect()
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
