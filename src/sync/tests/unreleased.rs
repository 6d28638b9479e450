//! A Rollout that is deleted does not let in what it has held back.

use super::{Bench, ROLLOUT, image_sent, settled_bench, shop};

/// The shop without its Rollout.
fn without_rollout(image: &str) -> String {
    shop(image).replace(&format!("---{ROLLOUT}"), "")
}

fn image(bench: &Bench) -> serde_json::Value {
    bench.api.get("deployments/web").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"]
        .take()
}

#[tokio::test]
async fn a_rollout_that_is_gone_from_git_and_deleted_by_hand_lets_nothing_in() {
    let bench = settled_bench().await;
    bench.release(&without_rollout("web:2")).await;
    assert!(
        bench.ready().starts_with("RemovalHeld: "),
        "{}",
        bench.ready()
    );
    bench.api.delete("rollouts/web");
    bench.reconcile().await;
    assert_eq!(image(&bench), "web:1");
    let ready = bench.ready();
    assert!(ready.starts_with("Unreleased: "), "{ready}");
    assert!(
        ready.contains("the template of Deployment/web in git (revision "),
        "{ready}"
    );

    bench.context.forget_all();
    bench
        .release(&format!("{}# unrelated", without_rollout("web:2")))
        .await;
    assert_eq!(
        image(&bench),
        "web:1",
        "after a restart, and another commit"
    );
    bench.release(&without_rollout("web:3")).await;
    assert_eq!(image(&bench), "web:3");
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
}

#[tokio::test]
async fn a_workload_that_cannot_be_applied_meanwhile_makes_no_difference() {
    let bench = settled_bench().await;
    for _ in 0..2 {
        bench.api.fail("PATCH deployments/web", 422, "not as it is");
    }
    bench.release(&without_rollout("web:2")).await;
    assert!(bench.ready().starts_with("Invalid: "), "{}", bench.ready());
    bench.api.delete("rollouts/web");
    bench.reconcile().await;
    assert_eq!(image(&bench), "web:1");
    assert!(
        bench.ready().starts_with("Unreleased: "),
        "{}",
        bench.ready()
    );
}

#[tokio::test]
async fn a_rollout_that_is_deleted_just_now_is_held_in_the_same_sync() {
    let bench = settled_bench().await;
    bench.commit(&without_rollout("web:2"));
    bench.pass(jiff::SignedDuration::from_secs(30));
    bench.api.delete("rollouts/web");
    bench.reconcile().await;
    assert_eq!(image(&bench), "web:1");
    assert_eq!(image_sent(&bench), "web:1");
}

#[tokio::test]
async fn an_acknowledged_removal_lets_gits_template_in() {
    let bench = settled_bench().await;
    bench.release(&without_rollout("web:2")).await;
    let ready = bench.ready();
    let (_, rest) = ready.split_once("deleted now, write ").unwrap();
    let digest = rest.split(' ').next().unwrap().to_owned();
    bench.api.edit("configrepos/shop", |repo| {
        repo["spec"]["sync"]["acknowledge"] = serde_json::json!(digest);
        repo["metadata"]["generation"] = serde_json::json!(2);
    });
    bench.reconcile().await;
    assert_eq!(bench.api.get("rollouts/web"), None);
    bench.reconcile().await;
    assert_eq!(image(&bench), "web:2");
}
