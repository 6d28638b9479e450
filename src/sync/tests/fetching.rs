//! What becomes of a repository that cannot be read.

use std::time::Duration;

use jiff::SignedDuration;
use kube::runtime::controller::Action;
use serde_json::json;

use super::{Caches, ROLLOUT, settled_world, shop};

#[tokio::test]
async fn a_repository_that_cannot_be_read_holds_everything() {
    let caches = settled_world().await;
    caches.release("a: [").await;
    assert!(
        caches
            .ready()
            .starts_with("Invalid: prod/shop.yaml:1: this is not YAML"),
        "{}",
        caches.ready()
    );
    std::fs::remove_file(caches.repository().join("prod/shop.yaml")).unwrap();
    caches.git(&["commit", "--quiet", "--all", "--message=nothing left"]);
    caches.pass(SignedDuration::from_secs(30));
    caches.reconcile().await;
    assert!(
        caches
            .ready()
            .starts_with("Invalid: no folder `prod` in commit "),
        "{}",
        caches.ready()
    );
    std::fs::rename(
        caches.repository(),
        caches.repository().with_extension("away"),
    )
    .unwrap();
    caches.pass(SignedDuration::from_secs(30));
    caches.reconcile().await;
    assert!(
        caches.ready().starts_with("FetchFailed: "),
        "{}",
        caches.ready()
    );
    assert_eq!(caches.api.writes(), Vec::<String>::new());
    assert!(caches.api.get("deployments/web").is_some());
}

#[tokio::test]
async fn a_history_that_was_rewritten_is_followed_only_when_somebody_says_so() {
    let caches = settled_world().await;
    caches.git(&["checkout", "--quiet", "--orphan", "other"]);
    caches.commit(ROLLOUT);
    caches.git(&["branch", "--quiet", "--force", "main", "other"]);
    caches.pass(SignedDuration::from_secs(30));
    caches.reconcile().await;
    assert!(
        caches.ready().starts_with("HistoryRewritten: "),
        "{}",
        caches.ready()
    );
    assert_eq!(caches.api.writes(), Vec::<String>::new());
    assert!(caches.api.get("deployments/web").is_some());
    caches
        .context
        .forget(&tidegate_api::NamespacedName::new("shop", "shop"));
    caches.reconcile().await;
    assert!(
        caches.ready().starts_with("HistoryRewritten: "),
        "{}",
        caches.ready()
    );
    assert!(
        caches.ready().contains("for example spec.interval to 31s"),
        "{}",
        caches.ready()
    );
    caches.api.edit("configrepos/shop", |repo| {
        repo["metadata"]["generation"] = json!(2);
    });
    caches.reconcile().await;
    assert!(
        caches.ready().starts_with("Applied: "),
        "{}",
        caches.ready()
    );
    assert_eq!(caches.api.get("deployments/web"), None);
}

#[tokio::test]
async fn a_missing_secret_is_said_and_read_again() {
    let caches = Caches::new();
    caches.api.edit("configrepos/shop", |repo| {
        repo["spec"]["secretRef"] = json!({"name": "git"});
    });
    caches.release(&shop("web:1")).await;
    assert_eq!(
        caches.ready(),
        "FetchFailed: the Secret `git` cannot be read: there is none in this namespace"
    );
    caches.api.put(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"}, "data": {"bearerToken": "aHVudGVyMg=="},
    }));
    caches.pass(SignedDuration::from_secs(30));
    caches.reconcile().await;
    assert!(caches.ready().starts_with("Applied"), "{}", caches.ready());
}

#[tokio::test]
async fn a_server_that_was_not_reached_is_asked_again_within_a_minute_and_not_more_often() {
    let caches = Caches::new();
    caches.api.edit("configrepos/shop", |repo| {
        repo["spec"]["interval"] = json!("1h");
    });
    caches.release(&shop("web:1")).await;
    assert!(caches.ready().starts_with("Applied"), "{}", caches.ready());
    assert_eq!(
        caches.reconcile_and_wait().await,
        Action::requeue(Duration::from_hours(1))
    );

    let away = caches.repository().with_extension("away");
    std::fs::rename(caches.repository(), &away).unwrap();
    caches.pass(SignedDuration::from_mins(2));
    caches.reconcile().await;
    assert!(
        caches.ready().starts_with("Applied"),
        "nobody has looked: {}",
        caches.ready()
    );
    caches.pass(SignedDuration::from_mins(58));
    assert_eq!(
        caches.reconcile_and_wait().await,
        Action::requeue(Duration::from_mins(1))
    );
    assert!(
        caches.ready().starts_with("FetchFailed: "),
        "{}",
        caches.ready()
    );

    std::fs::rename(&away, caches.repository()).unwrap();
    caches.pass(SignedDuration::from_secs(20));
    assert_eq!(
        caches.reconcile_and_wait().await,
        Action::requeue(Duration::from_secs(40))
    );
    assert!(
        caches.ready().starts_with("FetchFailed: "),
        "{}",
        caches.ready()
    );
    caches.pass(SignedDuration::from_secs(40));
    assert_eq!(
        caches.reconcile_and_wait().await,
        Action::requeue(Duration::from_hours(1))
    );
    assert!(caches.ready().starts_with("Applied"), "{}", caches.ready());
}

#[tokio::test]
async fn a_server_that_was_not_reached_is_asked_again_after_a_shorter_interval() {
    let caches = settled_world().await;
    std::fs::rename(
        caches.repository(),
        caches.repository().with_extension("away"),
    )
    .unwrap();
    caches.pass(SignedDuration::from_secs(30));
    assert_eq!(
        caches.reconcile_and_wait().await,
        Action::requeue(Duration::from_secs(30))
    );
}
