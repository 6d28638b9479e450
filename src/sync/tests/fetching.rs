//! Repositories that cannot be fetched or parsed.

use std::time::Duration;

use jiff::SignedDuration;
use kube::runtime::controller::Action;
use serde_json::json;

use super::{Bench, ROLLOUT, settled_bench, shop};

#[tokio::test]
async fn a_repository_that_cannot_be_read_blocks_the_sync() {
    let bench = settled_bench().await;
    bench.release("a: [").await;
    assert!(
        bench
            .ready()
            .starts_with("Invalid: prod/shop.yaml:1: this is not YAML"),
        "{}",
        bench.ready()
    );
    std::fs::remove_file(bench.repository().join("prod/shop.yaml")).unwrap();
    bench.git(&["commit", "--quiet", "--all", "--message=nothing left"]);
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert!(
        bench
            .ready()
            .starts_with("Invalid: no folder `prod` in commit "),
        "{}",
        bench.ready()
    );
    std::fs::rename(
        bench.repository(),
        bench.repository().with_extension("away"),
    )
    .unwrap();
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert!(
        bench.ready().starts_with("FetchFailed: "),
        "{}",
        bench.ready()
    );
    assert_eq!(bench.writes(), Vec::<String>::new());
    assert!(bench.api.get("deployments/web").is_some());
}

#[tokio::test]
async fn a_rewritten_history_is_followed_only_once_it_is_confirmed() {
    let bench = settled_bench().await;
    bench.git(&["checkout", "--quiet", "--orphan", "other"]);
    bench.commit(ROLLOUT);
    bench.git(&["branch", "--quiet", "--force", "main", "other"]);
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert!(
        bench.ready().starts_with("HistoryRewritten: "),
        "{}",
        bench.ready()
    );
    assert_eq!(bench.writes(), Vec::<String>::new());
    assert!(bench.api.get("deployments/web").is_some());
    bench
        .context
        .forget(&tidegate_api::NamespacedName::new("shop", "shop"));
    bench.reconcile().await;
    assert!(
        bench.ready().starts_with("HistoryRewritten: "),
        "{}",
        bench.ready()
    );
    assert!(
        bench.ready().contains("for example spec.interval to 31s"),
        "{}",
        bench.ready()
    );
    bench.api.edit("configrepos/shop", |repo| {
        repo["metadata"]["generation"] = json!(2);
    });
    bench.reconcile().await;
    assert!(
        bench.ready().starts_with("RemovalHeld: applied commit "),
        "{}",
        bench.ready()
    );
    assert!(
        bench.api.get("deployments/web").is_some(),
        "the history is followed, and what the Rollout names stays"
    );
}

#[tokio::test]
async fn a_missing_secret_is_reported_and_read_again() {
    let bench = Bench::new();
    bench.api.edit("configrepos/shop", |repo| {
        repo["spec"]["secretRef"] = json!({"name": "git"});
    });
    bench.release(&shop("web:1")).await;
    assert_eq!(
        bench.ready(),
        "FetchFailed: the Secret `git` cannot be read: there is none in this namespace"
    );
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"}, "data": {"bearerToken": "aHVudGVyMg=="},
    });
    bench.api.put("secrets/git", object);
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    let ready = bench.ready();
    assert!(
        ready.contains("run kubectl label secret git --namespace shop tidegate.io/use=git"),
        "{ready}"
    );
    bench.api.edit("secrets/git", |secret| {
        secret["metadata"]["labels"] = json!({"tidegate.io/use": "git"});
    });
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert!(bench.ready().starts_with("Applied"), "{}", bench.ready());
}

#[tokio::test]
async fn a_server_that_was_not_reached_is_asked_again_within_a_minute_and_not_more_often() {
    let bench = Bench::new();
    bench.api.edit("configrepos/shop", |repo| {
        repo["spec"]["interval"] = json!("1h");
    });
    bench.release(&shop("web:1")).await;
    assert!(bench.ready().starts_with("Applied"), "{}", bench.ready());
    assert_eq!(
        bench.reconcile_and_wait().await,
        Action::requeue(Duration::from_hours(1))
    );

    let away = bench.repository().with_extension("away");
    std::fs::rename(bench.repository(), &away).unwrap();
    bench.pass(SignedDuration::from_mins(2));
    bench.reconcile().await;
    assert!(
        bench.ready().starts_with("Applied"),
        "nobody has looked: {}",
        bench.ready()
    );
    bench.pass(SignedDuration::from_mins(58));
    assert_eq!(
        bench.reconcile_and_wait().await,
        Action::requeue(Duration::from_mins(1))
    );
    assert!(
        bench.ready().starts_with("FetchFailed: "),
        "{}",
        bench.ready()
    );

    std::fs::rename(&away, bench.repository()).unwrap();
    bench.pass(SignedDuration::from_secs(20));
    assert_eq!(
        bench.reconcile_and_wait().await,
        Action::requeue(Duration::from_secs(40))
    );
    assert!(
        bench.ready().starts_with("FetchFailed: "),
        "{}",
        bench.ready()
    );
    bench.pass(SignedDuration::from_secs(40));
    assert_eq!(
        bench.reconcile_and_wait().await,
        Action::requeue(Duration::from_hours(1))
    );
    assert!(bench.ready().starts_with("Applied"), "{}", bench.ready());
}

#[tokio::test]
async fn a_server_that_was_not_reached_is_asked_again_after_a_shorter_interval() {
    let bench = settled_bench().await;
    std::fs::rename(
        bench.repository(),
        bench.repository().with_extension("away"),
    )
    .unwrap();
    bench.pass(SignedDuration::from_secs(30));
    assert_eq!(
        bench.reconcile_and_wait().await,
        Action::requeue(Duration::from_secs(30))
    );
}

#[tokio::test]
async fn a_look_holds_no_reconcile_up_and_what_changes_meanwhile_is_applied() {
    let bench = settled_bench().await;
    bench.pass(SignedDuration::from_secs(30));
    let soon = Action::requeue(Duration::from_secs(1));
    assert_eq!(bench.reconcile_once().await, soon, "it has begun");
    bench.api.delete("rollouts/web");
    assert_eq!(bench.reconcile_once().await, Action::await_change());
    assert!(
        bench.api.get("rollouts/web").is_some(),
        "the last head is in force"
    );
    bench.reconcile().await;
    assert!(bench.ready().starts_with("Applied"), "{}", bench.ready());
}
