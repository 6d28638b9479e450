//! The last good template, restored or left unchanged.

use std::path::PathBuf;

use kube::core::DeserializeGuard;
use tempfile::TempDir;
use tidegate_api::{Revision, Rollout, record::RestoreResult};
use tidegate_engine::revision;

use super::*;

const FILE: &str = "shop/app.yaml";
const MOVED: &str = "shop/moved/app.yaml";

/// A config repository where a good commit came first and a bad one after it.
struct History {
    work: TempDir,
    server: PathBuf,
    good: String,
    bad: String,
}

fn app(image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: checkout }}\nspec:\n  template:\n    spec:\n      \
         containers:\n      - name: app\n        image: {image}\n"
    )
}

fn revision(image: &str) -> Revision {
    revision::of(&json!({ "spec": { "containers": [{ "name": "app", "image": image }] } }))
}

// === impl History ===

impl History {
    /// Asks for `app:1`, then for `app:2`.
    fn new(bench: &Bench) -> Self {
        create_repository(bench);
        let work = tempfile::tempdir().unwrap();
        git(
            work.path(),
            &["init", "--quiet", "--initial-branch", "main", "."],
        );
        let mut history = Self {
            work,
            server: bench.repository(),
            good: String::new(),
            bad: String::new(),
        };
        history.good = history.commit(&[(FILE, Some(&app("app:1")))]);
        history.bad = history.commit(&[(FILE, Some(&app("app:2")))]);
        history
    }

    /// Writes these files, or removes them, and pushes; answers the commit.
    fn commit(&self, files: &[(&str, Option<&str>)]) -> String {
        let work = self.work.path();
        for (path, text) in files {
            let path = work.join(path);
            match text {
                Some(text) => {
                    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                    std::fs::write(path, text).unwrap();
                }
                None => std::fs::remove_file(path).unwrap(),
            }
        }
        git(work, &["add", "--all"]);
        git(
            work,
            &[
                "-c",
                "user.name=Ada",
                "-c",
                "user.email=ada@example.com",
                "commit",
                "--quiet",
                "--message=change",
            ],
        );
        git(
            work,
            &["push", "--quiet", self.server.to_str().unwrap(), "main"],
        );
        git(work, &["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// The record of the bad commit's rollback.
    fn owed(&self) -> PendingRecord {
        self.owed_with(&json!({}))
    }

    /// The same with other fields in its order.
    fn owed_with(&self, fields: &Value) -> PendingRecord {
        let mut order = json!({
            "path": FILE, "workload": { "kind": "Deployment", "name": "checkout" },
            "rejected": revision("app:2").as_str(), "goodCommit": self.good,
        });
        json_patch::merge(&mut order, fields);
        serde_json::from_value(rolled_back(&self.bad, &order)).unwrap()
    }

    /// Returns a file's content at the server.
    fn file(&self, path: &str) -> String {
        git(&self.server, &["show", &format!("main:{path}")])
    }
}

/// Has a record written; answers what it says of the restore.
async fn written(bench: &mut Bench, owed: PendingRecord) -> RestoreResult {
    let path = owed.record.path();
    bench.ctx.records.write("shop", "checkout", &[owed]);
    woken(bench).await;
    restored(bench, &path)
}

fn restored(bench: &Bench, path: &str) -> RestoreResult {
    let record = git(
        &bench.repository(),
        &["show", &format!("tidegate/records:{path}")],
    );
    serde_json::from_value(serde_json::from_str::<Value>(&record).unwrap()["restore"].take())
        .unwrap()
}

/// Gives the Rollout a status, as a reconcile would.
fn reconciled(bench: &Bench, status: &Value) {
    let rollout = bench.script.edit("rollouts/checkout", |rollout| {
        rollout["status"] = status.clone();
    });
    let rollout: Rollout = serde_json::from_value(rollout).unwrap();
    bench
        .ctx
        .caches
        .rollouts
        .keep_answer(DeserializeGuard(Ok(rollout)));
}

fn attempt(id: &str, ending: Option<&str>) -> Value {
    let ending = ending.map(
        |outcome| json!({ "outcome": outcome, "reason": "GateBreached", "message": "", "at": "2026-11-25T10:01:00Z" }),
    );
    let mut attempt = json!({
        "number": 2, "id": id, "revision": revision("app:2").as_str(), "sequence": 2, "stage": "Stepping",
        "startedAt": "2026-11-25T10:02:00Z", "stageSince": "2026-11-25T10:02:00Z",
        "plan": pending_json(1)["record"]["plan"],
    });
    attempt["ending"] = json!(ending);
    json!({ "attempt": attempt })
}

#[tokio::test]
async fn a_rejected_template_is_replaced_by_the_good_one() {
    // Its own attempt is in the status still; another one of the revision was taken back, too.
    for status in [
        attempt("id-1", Some("RolledBack")),
        attempt("id-2", Some("RolledBack")),
    ] {
        let mut bench = Bench::new().await;
        let history = History::new(&bench);
        reconciled(&bench, &status);
        let result = written(&mut bench, history.owed()).await;
        assert!(
            matches!(result, RestoreResult::Restored { .. }),
            "{result:?}"
        );
        assert_eq!(history.file(FILE), app("app:1"));
    }
}

#[tokio::test]
async fn a_revision_that_was_promoted_while_git_was_away_is_left_alone() {
    let mut bench = Bench::new().await;
    let history = History::new(&bench);
    let (there, away) = (
        bench.repository(),
        bench.repository().with_extension("away"),
    );
    std::fs::rename(&there, &away).unwrap();
    let owed = history.owed();
    let path = owed.record.path();
    bench.ctx.records.write("shop", "checkout", &[owed]);
    until_failed(&bench).await;
    let stable = json!({
        "revision": revision("app:2").as_str(), "podTemplateHash": "1", "since": "2026-11-25T10:03:00Z",
    });
    reconciled(&bench, &json!({ "stable": stable }));
    std::fs::rename(&away, &there).unwrap();
    woken(&mut bench).await;
    let RestoreResult::Skipped { why } = restored(&bench, &path) else {
        panic!("it was not left alone")
    };
    assert!(why.ends_with("was promoted since"), "{why}");
    assert_eq!(history.file(FILE), app("app:2"));
}

#[tokio::test]
async fn a_revision_that_is_tried_again_is_left_alone() {
    for status in [attempt("id-2", None), attempt("id-2", Some("Promoted"))] {
        let mut bench = Bench::new().await;
        let history = History::new(&bench);
        reconciled(&bench, &status);
        let result = written(&mut bench, history.owed()).await;
        assert!(
            matches!(&result, RestoreResult::Skipped { why } if why.ends_with("as attempt 2")),
            "{result:?}"
        );
        assert_eq!(history.file(FILE), app("app:2"));
    }
}

#[tokio::test]
async fn a_good_template_comes_back_from_the_file_that_held_it_before_it_was_moved() {
    let mut bench = Bench::new().await;
    let mut history = History::new(&bench);
    let good = history.commit(&[(FILE, Some(&app("app:1")))]);
    history.commit(&[(FILE, None), (MOVED, Some(&app("app:1")))]);
    history.bad = history.commit(&[(MOVED, Some(&app("app:2")))]);
    let owed = history.owed_with(&json!({ "path": MOVED, "goodPath": FILE, "goodCommit": good }));
    let result = written(&mut bench, owed).await;
    assert!(
        matches!(result, RestoreResult::Restored { .. }),
        "{result:?}"
    );
    assert_eq!(history.file(MOVED), app("app:1"));
}

#[tokio::test]
async fn manual_action_is_named_while_git_asks_for_the_rejected_template() {
    for (fields, says) in [
        (
            json!({ "goodPath": MOVED }),
            "write a good template to `shop/app.yaml` manually",
        ),
        (
            json!({ "path": MOVED }),
            "if the workload is in another file now",
        ),
        (
            json!({ "workload": { "name": "other" } }),
            "if the workload is in another file now",
        ),
        (
            json!({ "goodCommit": "?" }),
            "restore the last good template manually",
        ),
    ] {
        let mut bench = Bench::new().await;
        let history = History::new(&bench);
        let result = written(&mut bench, history.owed_with(&fields)).await;
        assert!(
            matches!(&result, RestoreResult::Refused { why } if why.contains(says)),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn a_template_that_was_changed_concurrently_needs_no_action() {
    let mut bench = Bench::new().await;
    let history = History::new(&bench);
    history.commit(&[(FILE, Some(&app("app:3")))]);
    let result = written(&mut bench, history.owed()).await;
    assert!(
        matches!(result, RestoreResult::Skipped { .. }),
        "{result:?}"
    );
    assert_eq!(history.file(FILE), app("app:3"));
}

/// An overlay that sets the image, and what it is made of.
fn overlay(tag: &str) -> String {
    format!("resources: [../base]\nimages:\n- name: app\n  newTag: \"{tag}\"  # by CI\n")
}

#[tokio::test]
async fn in_an_overlay_the_place_that_set_the_image_is_edited() {
    let mut bench = Bench::new().await;
    let mut history = History::new(&bench);
    let base = [
        (FILE, None),
        ("base/app.yaml", Some(app("app:0"))),
        (
            "base/kustomization.yaml",
            Some("resources: [app.yaml]\n".to_owned()),
        ),
    ];
    let base: Vec<_> = base
        .iter()
        .map(|(path, text)| (*path, text.as_deref()))
        .collect();
    history.commit(&base);
    let place = "shop/kustomization.yaml";
    history.good = history.commit(&[(place, Some(&overlay("1")))]);
    history.bad = history.commit(&[(place, Some(&overlay("2")))]);
    let result = written(&mut bench, history.owed()).await;
    assert!(
        matches!(result, RestoreResult::Restored { .. }),
        "{result:?}"
    );
    assert_eq!(history.file(place), overlay("1"));
    assert_eq!(history.file("base/app.yaml"), app("app:0"));
}

#[tokio::test]
async fn a_base_that_another_overlay_needs_is_left_alone_and_said() {
    let mut bench = Bench::new().await;
    let mut history = History::new(&bench);
    let good = app("app:1");
    let files = [
        (FILE, None),
        ("base/kustomization.yaml", Some("resources: [app.yaml]\n")),
        ("shop/kustomization.yaml", Some("resources: [../base]\n")),
        ("other/kustomization.yaml", Some("resources: [../base]\n")),
        ("base/app.yaml", Some(good.as_str())),
    ];
    history.good = history.commit(&files);
    history.bad = history.commit(&[("base/app.yaml", Some(&app("app:2")))]);
    let result = written(&mut bench, history.owed()).await;
    let RestoreResult::Refused { why } = result else {
        panic!("{result:?}")
    };
    assert!(
        why.contains("`base/app.yaml`") && why.contains("other"),
        "{why}"
    );
    assert_eq!(history.file("base/app.yaml"), app("app:2"));
}
