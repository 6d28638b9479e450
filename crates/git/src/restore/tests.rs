#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

use super::*;
use crate::{
    RecordFile,
    testing::{Client, Server, signature},
};

const FILE: &str = "prod/app.yaml";

/// A config repository whose second commit was rejected.
struct Scenario {
    server: Server,
    good: ObjectId,
    bad: ObjectId,
}

fn app(image: &str) -> String {
    format!(
        "# checkout\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: checkout }}\nspec:\n  \
         replicas: 2 # enough\n  template:\n    spec:\n      containers:\n      - name: app\n        \
         image: {image} # by CI\n---\nkind: Other\n"
    )
}

fn says(image: &'static str) -> impl Fn(&Value) -> bool + Send + Sync {
    move |template| template["spec"]["containers"][0]["image"] == image
}

fn rejected(template: &Value) -> bool {
    says("app:2")(template)
}

impl Scenario {
    fn new() -> Self {
        let server = Server::new();
        let good = server.commit("main", &[(FILE, &app("app:1"))]);
        let bad = server.commit("main", &[(FILE, &app("app:2"))]);
        Self { server, good, bad }
    }

    fn request(&self) -> RestoreRequest {
        RestoreRequest {
            branch: "main".into(),
            path: FILE.into(),
            target: ObjectKey {
                api_version: "apps/v1".into(),
                kind: "Deployment".into(),
                namespace: "shop".into(),
                name: "checkout".into(),
            },
            default_namespace: "shop".into(),
            good: Some(TemplateSource {
                commit: self.good,
                path: FILE.into(),
            }),
            since: self.bad,
            message: "Restore shop/checkout\n\nerrors were above 5 %".into(),
            trailers: Trailers {
                outcome: "RolledBack".into(),
                rollout: "shop/checkout".into(),
                revision: "4f1c".into(),
                config_commit: Some(self.bad.to_string()),
                id: "attempt-1".into(),
            },
            ci: Ci::Skip,
            by: signature("Tidegate", 1_900_000_000),
        }
    }

    async fn skipped(&self, request: RestoreRequest) -> SkipReason {
        let tip = self.server.tip("main");
        let restored = self
            .server
            .client()
            .repository
            .restore(request, rejected)
            .await;
        assert_eq!(self.server.tip("main"), tip);
        match restored.unwrap() {
            Restored::Skipped(reason) => reason,
            other => panic!("{other:?}"),
        }
    }
}

async fn restore(client: &Client, request: RestoreRequest) -> Result<Restored, RestoreError> {
    client.repository.restore(request, rejected).await
}

#[tokio::test]
async fn the_last_good_template_is_restored_with_its_trailers() {
    let scenario = Scenario::new();
    let tip = scenario.server.commit("main", &[("README.md", "later")]);
    let restored = restore(&scenario.server.client(), scenario.request())
        .await
        .unwrap();

    let head = scenario.server.show("main");
    assert_eq!(restored, Restored::Committed(head.id));
    assert_eq!(scenario.server.file("main", FILE), app("app:1"));
    assert_eq!(scenario.server.file("main", "README.md"), "later");
    assert_eq!(head.subject, "Restore shop/checkout");
    let parent = scenario.server.git(&["rev-parse", "main^"]);
    assert_eq!(parent.trim(), tip.to_string());
    let id = scenario.server.git(&[
        "log",
        "-1",
        "--format=%(trailers:key=Tidegate-Id,valueonly)",
        "main",
    ]);
    assert_eq!(id.trim(), "attempt-1");
}

#[tokio::test]
async fn a_commit_pushed_before_a_crash_is_found() {
    let scenario = Scenario::new();
    let Restored::Committed(commit) = restore(&scenario.server.client(), scenario.request())
        .await
        .unwrap()
    else {
        panic!("not committed")
    };
    // Even if the rejected template was requested again in the meantime.
    scenario.server.commit("main", &[(FILE, &app("app:2"))]);
    let tip = scenario.server.tip("main");
    let again = restore(&scenario.server.client(), scenario.request())
        .await
        .unwrap();
    assert_eq!(again, Restored::AlreadyRestored(commit));
    assert_eq!(scenario.server.tip("main"), tip);
    // Another attempt is another restore.
    let mut other = scenario.request();
    other.trailers.id = "attempt-2".into();
    other.since = tip.unwrap();
    let next = restore(&scenario.server.client(), other).await.unwrap();
    assert!(matches!(next, Restored::Committed(_)));
}

#[tokio::test]
async fn a_template_changed_concurrently_is_kept() {
    let scenario = Scenario::new();
    scenario.server.commit("main", &[(FILE, &app("app:3"))]);
    assert_eq!(
        scenario.skipped(scenario.request()).await,
        SkipReason::TemplateChanged
    );
}

#[tokio::test]
async fn a_missing_template_is_not_restored() {
    let scenario = Scenario::new();
    let nobody = RestoreRequest {
        good: None,
        ..scenario.request()
    };
    assert_eq!(scenario.skipped(nobody).await, SkipReason::NoGoodTemplate);
    let lost = RestoreRequest {
        good: Some(TemplateSource {
            commit: scenario.good,
            path: "elsewhere.yaml".into(),
        }),
        ..scenario.request()
    };
    assert_eq!(scenario.skipped(lost).await, SkipReason::NoGoodTemplate);
    let same = RestoreRequest {
        good: Some(TemplateSource {
            commit: scenario.bad,
            path: FILE.into(),
        }),
        ..scenario.request()
    };
    assert_eq!(scenario.skipped(same).await, SkipReason::SameTemplate);

    scenario.server.commit("main", &[(FILE, "kind: Other\n")]);
    assert_eq!(
        scenario.skipped(scenario.request()).await,
        SkipReason::ObjectNotFound
    );
    scenario.server.commit("main", &[("x", "")]);
    scenario.server.delete_file("main", FILE);
    assert_eq!(
        scenario.skipped(scenario.request()).await,
        SkipReason::FileNotFound
    );
}

#[tokio::test]
async fn a_concurrent_push_leads_to_a_retry_on_the_new_tip() {
    let scenario = Arc::new(Scenario::new());
    let client = scenario.server.client();
    let (again, calls) = (Arc::clone(&scenario), std::sync::Mutex::new(0));
    // Another push comes between our fetch and our push, once.
    let is_rejected = move |template: &Value| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        if *calls == 1 {
            again.server.commit("main", &[("README.md", "meanwhile")]);
        }
        rejected(template)
    };
    let restored = client
        .repository
        .restore(scenario.request(), is_rejected)
        .await
        .unwrap();
    assert!(matches!(restored, Restored::Committed(_)));
    assert_eq!(scenario.server.file("main", "README.md"), "meanwhile");
    assert_eq!(scenario.server.file("main", FILE), app("app:1"));
}

#[tokio::test]
async fn a_protected_branch_rejects_the_push() {
    let scenario = Scenario::new();
    scenario.server.protect();
    let error = restore(&scenario.server.client(), scenario.request())
        .await
        .unwrap_err();
    assert!(matches!(error, RestoreError::PushRejected(_)), "{error:?}");
    assert_eq!(scenario.server.tip("main"), Some(scenario.bad));
}

#[tokio::test]
async fn a_file_that_cannot_be_parsed_is_an_error_that_names_it() {
    let scenario = Scenario::new();
    scenario.server.commit("main", &[(FILE, "a: [\n")]);
    let error = restore(&scenario.server.client(), scenario.request())
        .await
        .unwrap_err();
    assert!(error.to_string().contains(FILE), "{error}");
}

/// A template whose scalars only YAML 1.1 and JSON's idea of an integer explain.
fn odd(image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: checkout }}\nspec:\n  template:\n    spec:\n      \
         terminationGracePeriodSeconds: 1e3\n      priority: 1.0\n      hostNetwork: no\n      containers:\n      \
         - name: app\n        image: {image}\n        env: [{{ name: MODE, value: \"0644\" }}]\n      volumes:\n      \
         - secret: {{ secretName: key, defaultMode: 0644 }}\n"
    )
}

#[tokio::test]
async fn the_template_is_read_as_kubectl_reads_it() {
    let server = Server::new();
    let good = server.commit("main", &[(FILE, &odd("app:1"))]);
    let bad = server.commit("main", &[(FILE, &odd("app:2"))]);
    let scenario = Scenario { server, good, bad };
    let template = crate::yaml::from_str(&odd("app:2")).unwrap()["spec"]["template"].take();
    assert_eq!(template["spec"]["volumes"][0]["secret"]["defaultMode"], 420);
    assert_eq!(template["spec"]["terminationGracePeriodSeconds"], 1000);
    assert_eq!(template["spec"]["priority"], 1);

    let is_rejected = move |at_tip: &Value| *at_tip == template;
    let restored = scenario
        .server
        .client()
        .repository
        .restore(scenario.request(), is_rejected)
        .await
        .unwrap();
    assert!(matches!(restored, Restored::Committed(_)), "{restored:?}");
    assert_eq!(scenario.server.file("main", FILE), odd("app:1"));
}

#[test]
fn a_rendered_template_equals_the_good_one() {
    // The anchor is outside of the template, so its text cannot be used as it is.
    let anchored = odd("app:1").replace(
        "name: checkout",
        "name: checkout, annotations: &note { on: \"yes\", mode: \"0644\", big: \"1e3\" }",
    );
    let good = anchored.replace(
        "    spec:\n      term",
        "    metadata: { annotations: *note }\n    spec:\n      term",
    );
    let request = Scenario::new().request();
    let (now, before) = (odd("app:2"), good);
    let rejected = find(&now, request.since, FILE, &request).unwrap().unwrap();
    let good = find(&before, request.since, FILE, &request)
        .unwrap()
        .unwrap();
    let text = splice::splice(&rejected, &good).unwrap();
    let new = find(&text, request.since, FILE, &request).unwrap().unwrap();
    assert_eq!(new.value(), good.value());
    assert_eq!(new.value()["metadata"]["annotations"]["mode"], "0644");
}

#[tokio::test]
async fn a_damaged_clone_is_repaired_by_the_next_try() {
    let scenario = Scenario::new();
    let client = scenario.server.client();
    client.repository.fetch("main", None).await.unwrap();
    let good = client
        .repository
        .file_at(scenario.good, FILE)
        .await
        .unwrap()
        .unwrap();
    scenario.server.damage(&client, good.blob);

    let error = restore(&client, scenario.request()).await.unwrap_err();
    assert!(
        matches!(
            error,
            RestoreError::Read(TreeError::Store(StoreError::Read { .. }))
        ),
        "{error:?}"
    );
    assert!(error.is_transient());
    let restored = restore(&client, scenario.request()).await.unwrap();
    assert!(matches!(restored, Restored::Committed(_)));
    assert_eq!(scenario.server.file("main", FILE), app("app:1"));
}

#[test]
fn errors_that_need_manual_action_are_not_transient() {
    fn disk_full() -> StoreError {
        StoreError::Write {
            kind: "file",
            source: Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(
                "no space left",
            )),
        }
    }
    assert!(RestoreError::Commit(disk_full()).is_transient());
    assert!(RestoreError::Read(TreeError::Store(disk_full())).is_transient());
    assert!(!RestoreError::Read(TreeError::Symlink { path: FILE.into() }).is_transient());
    assert!(
        !RestoreError::Splice {
            path: FILE.into(),
            source: SpliceError::NotFaithful
        }
        .is_transient()
    );
}

#[tokio::test]
async fn records_of_the_attempt_on_the_same_branch_are_not_its_restore() {
    let scenario = Scenario::new();
    let client = scenario.server.client();
    for outcome in ["Started", "RolledBack"] {
        let trailers = Trailers {
            outcome: outcome.into(),
            ..scenario.request().trailers
        };
        let record = RecordFile {
            path: format!("records/attempt-1/{outcome}.json"),
            bytes: b"{}".into(),
            trailers,
        };
        client
            .repository
            .write_records(
                "main",
                vec![record],
                Ci::Skip,
                signature("Tidegate", 1_900_000_000),
            )
            .await
            .unwrap();
    }

    let restored = restore(&client, scenario.request()).await.unwrap();
    assert_eq!(
        restored,
        Restored::Committed(scenario.server.tip("main").unwrap())
    );
    assert_eq!(scenario.server.file("main", FILE), app("app:1"));
    assert_eq!(
        restore(&client, scenario.request()).await.unwrap(),
        Restored::AlreadyRestored(scenario.server.tip("main").unwrap())
    );
}
