#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

use super::*;
use crate::git::{
    Fact,
    testing::{Client, Server, signature},
};

const FILE: &str = "prod/app.yaml";

/// A config repository whose second commit is to be taken back.
struct Caches {
    server: Server,
    good: CommitId,
    bad: CommitId,
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

impl Caches {
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
            good: Some(Source {
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
            author: signature("Tidegate", 1_900_000_000),
            committer: signature("Tidegate", 1_900_000_000),
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
async fn the_last_good_template_comes_back_with_its_trailers() {
    let caches = Caches::new();
    let tip = caches.server.commit("main", &[("README.md", "later")]);
    let restored = restore(&caches.server.client(), caches.request())
        .await
        .unwrap();

    let head = caches.server.show("main");
    assert_eq!(restored, Restored::Committed(head.id));
    assert_eq!(caches.server.file("main", FILE), app("app:1"));
    assert_eq!(caches.server.file("main", "README.md"), "later");
    assert_eq!(head.subject, "Restore shop/checkout");
    let parent = caches.server.git(&["rev-parse", "main^"]);
    assert_eq!(parent.trim(), tip.to_string());
    let id = caches.server.git(&[
        "log",
        "-1",
        "--format=%(trailers:key=Tidegate-Id,valueonly)",
        "main",
    ]);
    assert_eq!(id.trim(), "attempt-1");
}

#[tokio::test]
async fn after_a_crash_between_push_and_answer_the_commit_is_found() {
    let caches = Caches::new();
    let Restored::Committed(commit) = restore(&caches.server.client(), caches.request())
        .await
        .unwrap()
    else {
        panic!("not committed")
    };
    // Even when somebody has asked for the rejected template again meanwhile.
    caches.server.commit("main", &[(FILE, &app("app:2"))]);
    let tip = caches.server.tip("main");
    let again = restore(&caches.server.client(), caches.request())
        .await
        .unwrap();
    assert_eq!(again, Restored::AlreadyRestored(commit));
    assert_eq!(caches.server.tip("main"), tip);
    // Another attempt is another restore.
    let mut other = caches.request();
    other.trailers.id = "attempt-2".into();
    other.since = tip.unwrap();
    let next = restore(&caches.server.client(), other).await.unwrap();
    assert!(matches!(next, Restored::Committed(_)));
}

#[tokio::test]
async fn a_person_who_was_faster_is_left_alone() {
    let caches = Caches::new();
    caches.server.commit("main", &[(FILE, &app("app:3"))]);
    assert_eq!(
        caches.skipped(caches.request()).await,
        SkipReason::TemplateAlreadyDifferent
    );
}

#[tokio::test]
async fn what_is_gone_is_not_brought_back() {
    let caches = Caches::new();
    let nobody = RestoreRequest {
        good: None,
        ..caches.request()
    };
    assert_eq!(caches.skipped(nobody).await, SkipReason::NoGoodCommit);
    let lost = RestoreRequest {
        good: Some(Source {
            commit: caches.good,
            path: "elsewhere.yaml".into(),
        }),
        ..caches.request()
    };
    assert_eq!(caches.skipped(lost).await, SkipReason::NoGoodCommit);
    let same = RestoreRequest {
        good: Some(Source {
            commit: caches.bad,
            path: FILE.into(),
        }),
        ..caches.request()
    };
    assert_eq!(caches.skipped(same).await, SkipReason::NothingToChange);

    caches.server.commit("main", &[(FILE, "kind: Other\n")]);
    assert_eq!(
        caches.skipped(caches.request()).await,
        SkipReason::ObjectGone
    );
    caches.server.commit("main", &[("x", "")]);
    caches.server.delete_file("main", FILE);
    assert_eq!(caches.skipped(caches.request()).await, SkipReason::FileGone);
}

#[tokio::test]
async fn a_lost_race_begins_again_from_the_new_tip() {
    let caches = Arc::new(Caches::new());
    let client = caches.server.client();
    let (again, judged) = (Arc::clone(&caches), std::sync::Mutex::new(0));
    // Somebody pushes between our fetch and our push, once.
    let judge = move |template: &Value| {
        let mut judged = judged.lock().unwrap();
        *judged += 1;
        if *judged == 1 {
            again.server.commit("main", &[("README.md", "meanwhile")]);
        }
        rejected(template)
    };
    let restored = client
        .repository
        .restore(caches.request(), judge)
        .await
        .unwrap();
    assert!(matches!(restored, Restored::Committed(_)));
    assert_eq!(caches.server.file("main", "README.md"), "meanwhile");
    assert_eq!(caches.server.file("main", FILE), app("app:1"));
}

#[tokio::test]
async fn a_protected_branch_refuses_by_name() {
    let caches = Caches::new();
    caches.server.protect();
    let error = restore(&caches.server.client(), caches.request())
        .await
        .unwrap_err();
    assert!(matches!(error, RestoreError::PushRefused(_)), "{error:?}");
    assert_eq!(caches.server.tip("main"), Some(caches.bad));
}

#[tokio::test]
async fn a_file_that_cannot_be_parsed_is_an_error_that_names_it() {
    let caches = Caches::new();
    caches.server.commit("main", &[(FILE, "a: [\n")]);
    let error = restore(&caches.server.client(), caches.request())
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
async fn the_template_is_read_as_sync_reads_it() {
    let server = Server::new();
    let good = server.commit("main", &[(FILE, &odd("app:1"))]);
    let bad = server.commit("main", &[(FILE, &odd("app:2"))]);
    let caches = Caches { server, good, bad };
    let by_sync = crate::sync::manifest::stable_template_updated(
        odd("app:2").as_bytes(),
        "Deployment",
        "checkout",
    )
    .unwrap();
    assert_eq!(by_sync["spec"]["volumes"][0]["secret"]["defaultMode"], 420);
    assert_eq!(by_sync["spec"]["terminationGracePeriodSeconds"], 1000);
    assert_eq!(by_sync["spec"]["priority"], 1);

    let judge = move |template: &Value| *template == by_sync;
    let restored = caches
        .server
        .client()
        .repository
        .restore(caches.request(), judge)
        .await
        .unwrap();
    assert!(matches!(restored, Restored::Committed(_)), "{restored:?}");
    assert_eq!(caches.server.file("main", FILE), odd("app:1"));
}

#[test]
fn a_template_that_is_written_anew_reads_as_the_good_one() {
    // The anchor stands outside of the template, so the text cannot be taken as it is.
    let anchored = odd("app:1").replace(
        "name: checkout",
        "name: checkout, annotations: &note { on: \"yes\", mode: \"0644\", big: \"1e3\" }",
    );
    let good = anchored.replace(
        "    spec:\n      term",
        "    metadata: { annotations: *note }\n    spec:\n      term",
    );
    let request = Caches::new().request();
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
async fn a_damaged_clone_heals_at_the_next_try() {
    let caches = Caches::new();
    let client = caches.server.client();
    client.repository.fetch("main", None).await.unwrap();
    let good = client
        .repository
        .file_at(caches.good, FILE)
        .await
        .unwrap()
        .unwrap();
    caches.server.damage(&client, good.blob);

    let error = restore(&client, caches.request()).await.unwrap_err();
    assert!(
        matches!(
            error,
            RestoreError::Read(TreeError::Store(StoreError::Read { .. }))
        ),
        "{error:?}"
    );
    assert!(error.may_pass());
    let restored = restore(&client, caches.request()).await.unwrap();
    assert!(matches!(restored, Restored::Committed(_)));
    assert_eq!(caches.server.file("main", FILE), app("app:1"));
}

#[test]
fn only_what_a_person_has_to_mend_does_not_pass() {
    let full = || StoreError::Write {
        kind: "file",
        source: "no space left".into(),
    };
    assert!(RestoreError::Commit(full()).may_pass());
    assert!(RestoreError::Read(TreeError::Store(full())).may_pass());
    assert!(!RestoreError::Read(TreeError::Symlink { path: FILE.into() }).may_pass());
    assert!(
        !RestoreError::Splice {
            path: FILE.into(),
            source: SpliceError::NotFaithful
        }
        .may_pass()
    );
}

#[tokio::test]
async fn facts_of_the_attempt_on_the_same_branch_are_not_its_restore() {
    let caches = Caches::new();
    let client = caches.server.client();
    for outcome in ["Started", "RolledBack"] {
        let trailers = Trailers {
            outcome: outcome.into(),
            ..caches.request().trailers
        };
        let fact = Fact {
            path: format!("records/attempt-1/{outcome}.json"),
            bytes: b"{}".into(),
            trailers,
        };
        client
            .repository
            .write_facts("main", vec![fact], signature("Tidegate", 1_900_000_000))
            .await
            .unwrap();
    }

    let restored = restore(&client, caches.request()).await.unwrap();
    assert_eq!(
        restored,
        Restored::Committed(caches.server.tip("main").unwrap())
    );
    assert_eq!(caches.server.file("main", FILE), app("app:1"));
    assert_eq!(
        restore(&client, caches.request()).await.unwrap(),
        Restored::AlreadyRestored(caches.server.tip("main").unwrap())
    );
}
