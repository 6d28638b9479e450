//! What becomes of a repository that cannot be read.

use std::time::Duration;

use jiff::SignedDuration;
use kube::runtime::controller::Action;
use serde_json::json;

use super::{ROLLOUT, World, settled_world, shop};

#[tokio::test]
async fn a_repository_that_cannot_be_read_holds_everything() {
    let world = settled_world().await;
    world.release("a: [").await;
    assert!(
        world
            .ready()
            .starts_with("Invalid: prod/shop.yaml:1: this is not YAML"),
        "{}",
        world.ready()
    );
    std::fs::remove_file(world.repository().join("prod/shop.yaml")).unwrap();
    world.git(&["commit", "--quiet", "--all", "--message=nothing left"]);
    world.pass(SignedDuration::from_secs(30));
    world.reconcile().await;
    assert!(
        world.ready().starts_with("Invalid: the commit "),
        "{}",
        world.ready()
    );
    std::fs::rename(
        world.repository(),
        world.repository().with_extension("away"),
    )
    .unwrap();
    world.pass(SignedDuration::from_secs(30));
    world.reconcile().await;
    assert!(
        world.ready().starts_with("FetchFailed: "),
        "{}",
        world.ready()
    );
    assert_eq!(world.api.writes(), Vec::<String>::new());
    assert!(world.api.get("deployments/web").is_some());
}

#[tokio::test]
async fn a_history_that_was_rewritten_is_followed_only_when_somebody_says_so() {
    let world = settled_world().await;
    world.git(&["checkout", "--quiet", "--orphan", "other"]);
    world.commit(ROLLOUT);
    world.git(&["branch", "--quiet", "--force", "main", "other"]);
    world.pass(SignedDuration::from_secs(30));
    world.reconcile().await;
    assert!(
        world.ready().starts_with("HistoryRewritten: "),
        "{}",
        world.ready()
    );
    assert_eq!(world.api.writes(), Vec::<String>::new());
    assert!(world.api.get("deployments/web").is_some());
    world.context.forget("shop", "shop");
    world.reconcile().await;
    assert!(
        world.ready().starts_with("HistoryRewritten: "),
        "{}",
        world.ready()
    );
    assert!(
        world.ready().contains("for example spec.interval to 31s"),
        "{}",
        world.ready()
    );
    world.api.edit("configrepos/shop", |repo| {
        repo["metadata"]["generation"] = json!(2)
    });
    world.reconcile().await;
    assert!(world.ready().starts_with("Applied: "), "{}", world.ready());
    assert_eq!(world.api.get("deployments/web"), None);
}

#[tokio::test]
async fn a_missing_secret_is_said_and_read_again() {
    let world = World::new();
    world.api.edit("configrepos/shop", |repo| {
        repo["spec"]["secretRef"] = json!({"name": "git"})
    });
    world.release(&shop("web:1")).await;
    assert_eq!(
        world.ready(),
        "FetchFailed: the Secret `git` cannot be read: there is none in this namespace"
    );
    world.api.put(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"}, "data": {"bearerToken": "aHVudGVyMg=="},
    }));
    world.pass(SignedDuration::from_secs(30));
    world.reconcile().await;
    assert!(world.ready().starts_with("Applied"), "{}", world.ready());
}

#[tokio::test]
async fn a_server_that_was_not_reached_is_asked_again_within_a_minute_and_not_more_often() {
    let world = World::new();
    world.api.edit("configrepos/shop", |repo| {
        repo["spec"]["interval"] = json!("1h")
    });
    world.release(&shop("web:1")).await;
    assert!(world.ready().starts_with("Applied"), "{}", world.ready());
    assert_eq!(
        world.reconcile_and_wait().await,
        Action::requeue(Duration::from_hours(1))
    );

    let away = world.repository().with_extension("away");
    std::fs::rename(world.repository(), &away).unwrap();
    world.pass(SignedDuration::from_mins(2));
    world.reconcile().await;
    assert!(
        world.ready().starts_with("Applied"),
        "nobody has looked: {}",
        world.ready()
    );
    world.pass(SignedDuration::from_mins(58));
    assert_eq!(
        world.reconcile_and_wait().await,
        Action::requeue(Duration::from_mins(1))
    );
    assert!(
        world.ready().starts_with("FetchFailed: "),
        "{}",
        world.ready()
    );

    std::fs::rename(&away, world.repository()).unwrap();
    world.pass(SignedDuration::from_secs(20));
    assert_eq!(
        world.reconcile_and_wait().await,
        Action::requeue(Duration::from_secs(40))
    );
    assert!(
        world.ready().starts_with("FetchFailed: "),
        "{}",
        world.ready()
    );
    world.pass(SignedDuration::from_secs(40));
    assert_eq!(
        world.reconcile_and_wait().await,
        Action::requeue(Duration::from_hours(1))
    );
    assert!(world.ready().starts_with("Applied"), "{}", world.ready());
}

#[tokio::test]
async fn a_server_that_was_not_reached_is_asked_again_after_a_shorter_interval() {
    let world = settled_world().await;
    std::fs::rename(
        world.repository(),
        world.repository().with_extension("away"),
    )
    .unwrap();
    world.pass(SignedDuration::from_secs(30));
    assert_eq!(
        world.reconcile_and_wait().await,
        Action::requeue(Duration::from_secs(30))
    );
}
