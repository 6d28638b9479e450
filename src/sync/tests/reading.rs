//! A repository that others apply: it is read for the commits of what they have applied.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tidegate_api::names;
use tidegate_engine::revision;

use super::{Bench, shop, template};
use crate::sync::testing::defaulted;

/// Longer than nothing, and shorter than the interval.
const SOON: SignedDuration = SignedDuration::from_secs(1);

/// A namespace whose repository others apply.
pub(super) fn bench() -> Bench {
    let bench = Bench::new();
    bench.api.edit("configrepos/shop", |repo| {
        repo["spec"].as_object_mut().unwrap().remove("sync");
    });
    bench
}

/// Somebody applies the workload with this image, and its Rollout keeps what the API server has made of it.
pub(super) fn applied(bench: &Bench, image: &str, number: i64) -> String {
    let template = defaulted(template(image));
    let name = revision::of(&template).object_name("web");
    let kept = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": { "name": name, "labels": { names::ROLLOUT_LABEL: "web" } },
        "data": { "template": template }, "revision": number,
    });
    let path = format!("controllerrevisions/{name}");
    bench.api.put(&path, kept);
    path
}

pub(super) fn annotation(bench: &Bench, path: &str, key: &str) -> Value {
    bench.api.get(path).unwrap()["metadata"]["annotations"][key].take()
}

pub(super) fn commit_of(bench: &Bench, path: &str) -> Value {
    annotation(bench, path, names::CONFIG_COMMIT_ANNOTATION)
}

#[tokio::test]
async fn what_is_applied_is_found_by_what_the_api_server_makes_of_it() {
    let bench = bench();
    let first = bench.commit(&shop("web:1"));
    bench.commit(&shop("web:1").replace("blue", "green"));
    let kept = applied(&bench, "web:1", 1);
    bench.reconcile().await;
    assert_eq!(
        commit_of(&bench, &kept),
        first.as_str(),
        "{}",
        bench.ready()
    );
    let said = [
        (names::RECORDS_REPO_ANNOTATION, "shop".to_owned()),
        (
            names::CONFIG_AUTHOR_ANNOTATION,
            "Ada <ada@example.com>".to_owned(),
        ),
        (names::CONFIG_PATH_ANNOTATION, "prod/shop.yaml".to_owned()),
        (
            names::WRITTEN_AS_ANNOTATION,
            revision::of(&template("web:1")).to_string(),
        ),
    ];
    for (key, value) in said {
        assert_eq!(annotation(&bench, &kept, key), value.as_str());
    }
    assert!(
        bench.ready().starts_with("Read: read commit "),
        "{}",
        bench.ready()
    );
    assert_eq!(bench.writes(), Vec::<String>::new(), "nothing is applied");
}

#[tokio::test]
async fn a_template_is_looked_for_at_once_and_once() {
    let bench = bench();
    bench.commit(&shop("web:1"));
    bench.reconcile().await;
    let second = bench.commit(&shop("web:2"));
    bench.reconcile().await;
    assert!(
        !bench.ready().contains(&second[..7]),
        "the interval has not passed"
    );
    let kept = applied(&bench, "web:2", 1);
    bench.pass(SOON);
    bench.reconcile().await;
    assert_eq!(commit_of(&bench, &kept), second.as_str());
    let third = bench.commit(&shop("web:3"));
    bench.pass(SOON);
    bench.reconcile().await;
    assert!(!bench.ready().contains(&third[..7]), "nothing asks for it");
}

#[tokio::test]
async fn whoever_applies_may_be_behind_the_branch() {
    let bench = bench();
    bench.commit(&shop("web:1"));
    let second = bench.commit(&shop("web:2"));
    bench.commit(&shop("web:2").replace("blue", "green"));
    bench.commit(&shop("web:3"));
    bench.commit(&shop("untagged"));
    let kept = applied(&bench, "web:2", 1);
    bench.reconcile().await;
    assert_eq!(commit_of(&bench, &kept), second.as_str());
}

#[tokio::test]
async fn what_no_commit_asks_for_is_said_and_its_records_have_a_place() {
    let bench = bench();
    bench.commit(&shop("web:1"));
    let kept = applied(&bench, "web:by-hand", 1);
    bench.reconcile().await;
    assert_eq!(commit_of(&bench, &kept), Value::Null);
    assert_eq!(
        annotation(&bench, &kept, names::RECORDS_REPO_ANNOTATION),
        "shop"
    );
    let ready = bench.ready();
    assert!(
        ready.starts_with("CommitUnknown: ")
            && ready.contains("what prod/shop.yaml has is another template"),
        "{ready}"
    );
    let found = bench.release(&shop("web:by-hand")).await;
    assert_eq!(
        commit_of(&bench, &kept),
        found.as_str(),
        "it was committed since"
    );
    assert!(bench.ready().starts_with("Read: "), "{}", bench.ready());
}

#[tokio::test]
async fn files_of_other_tools_and_other_namespaces_are_passed_over() {
    let bench = bench();
    let other = shop("web:other").replace(
        "metadata: {name: web}",
        "metadata: {name: web, namespace: other}",
    );
    let text = format!(
        "{other}---{}---\nkind: Kustomization\nresources: [shop.yaml]\n",
        shop("web:1")
    );
    std::fs::create_dir_all(bench.repository().join("prod/chart")).unwrap();
    std::fs::write(
        bench.repository().join("prod/chart/deployment.yaml"),
        "name: {{ .Values.name }}\n",
    )
    .unwrap();
    std::os::unix::fs::symlink("/etc/passwd", bench.repository().join("prod/link.yaml")).unwrap();
    let commit = bench.commit(&text);
    let (kept, foreign) = (applied(&bench, "web:1", 1), applied(&bench, "web:other", 2));
    bench.reconcile().await;
    assert_eq!(
        commit_of(&bench, &kept),
        commit.as_str(),
        "{}",
        bench.ready()
    );
    assert_eq!(commit_of(&bench, &foreign), Value::Null);
}

#[tokio::test]
async fn a_branch_that_was_rewritten_is_read_as_it_is() {
    let bench = bench();
    bench.commit(&shop("web:1"));
    bench.reconcile().await;
    bench.git(&["checkout", "--quiet", "--orphan", "other"]);
    let commit = bench.commit(&shop("web:2"));
    bench.git(&["branch", "--quiet", "--force", "main", "other"]);
    let kept = applied(&bench, "web:2", 1);
    bench.pass(SOON);
    bench.reconcile().await;
    assert_eq!(
        commit_of(&bench, &kept),
        commit.as_str(),
        "{}",
        bench.ready()
    );
}

#[tokio::test]
async fn a_path_that_is_not_there_is_said() {
    let bench = bench();
    bench.commit(&shop("web:1"));
    bench.api.edit("configrepos/shop", |repo| {
        repo["spec"]["path"] = json!("staging");
    });
    bench.reconcile().await;
    assert!(
        bench.ready().starts_with("Invalid: no folder `staging`"),
        "{}",
        bench.ready()
    );
}

#[tokio::test]
async fn a_repository_without_sync_applies_and_prunes_nothing_that_it_had_applied() {
    let bench = super::settled_bench().await;
    bench.api.edit("configrepos/shop", |repo| {
        repo["spec"].as_object_mut().unwrap().remove("sync");
        repo["metadata"]["generation"] = json!(2);
    });
    bench.release("# nothing\n").await;
    assert!(bench.ready().starts_with("Read: "), "{}", bench.ready());
    assert_eq!(bench.writes(), Vec::<String>::new());
    assert!(bench.api.get("services/web").is_some());
}

#[tokio::test]
async fn a_request_has_the_repository_looked_at_before_the_interval_has_passed() {
    for is_read in [false, true] {
        let bench = if is_read {
            bench()
        } else {
            super::settled_bench().await
        };
        bench.commit(&shop("web:1"));
        bench.reconcile().await;
        let commit = bench.commit(&shop("web:1").replace("blue", "green"));
        bench.reconcile().await;
        assert!(!bench.ready().contains(&commit[..7]));
        bench.api.edit("configrepos/shop", |repo| {
            repo["metadata"]["annotations"][names::REQUESTED_AT_ANNOTATION] = json!("now");
        });
        bench.pass(SOON);
        bench.reconcile().await;
        let status = bench.api.get("configrepos/shop").unwrap()["status"].take();
        assert!(bench.ready().contains(&commit[..7]), "{}", bench.ready());
        assert_eq!(status["handledRequest"], "now");
        let next = bench.commit(&shop("web:1"));
        bench.pass(SOON);
        bench.reconcile().await;
        assert!(
            !bench.ready().contains(&next[..7]),
            "one request is one look"
        );
    }
}
