//! Requests that a release costs: what is unchanged in git is asked about only where a Rollout held
//! something of it back.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Bench, begin_attempt, make_stable, settled_bench, shop};

/// Requests of a reconcile, without the accounts.
async fn asked(bench: &Bench) -> Vec<String> {
    bench.requests();
    bench.reconcile().await;
    let requests = bench.requests().into_iter();
    requests
        .map(|request| request.split(" as ").next().unwrap_or_default().to_owned())
        .collect()
}

fn end_attempt(bench: &Bench) {
    bench.api.edit("rollouts/web", |rollout| {
        rollout["status"]["attempt"] = Value::Null;
    });
}

#[tokio::test]
async fn a_template_that_waits_asks_about_its_workload_alone() {
    let bench = settled_bench().await;
    bench.commit(&shop("web:2"));
    bench.pass(SignedDuration::from_secs(30));
    let asked = asked(&bench).await;
    let about: Vec<_> = asked
        .iter()
        .filter(|request| !request.contains("controllerrevisions"))
        .collect();
    let wanted = [
        "GET deployments/web",
        "GET rollouts/web",
        "PATCH deployments/web",
    ];
    assert_eq!(about, wanted);
}

#[tokio::test]
async fn an_attempt_that_begins_and_ends_costs_sync_nothing() {
    let bench = settled_bench().await;
    bench.release(&shop("web:2")).await;
    bench.api.edit("rollouts/web", |rollout| {
        begin_attempt(rollout, "web:2", false);
    });
    assert_eq!(asked(&bench).await, Vec::<String>::new());
    bench.api.edit("rollouts/web", |rollout| {
        rollout["status"]["attempt"]["stableTemplateUpdated"] = json!(true);
        rollout["status"]["attempt"]["stage"] = json!("UpdatingStable");
    });
    assert_eq!(asked(&bench).await, Vec::<String>::new());
    end_attempt(&bench);
    assert_eq!(asked(&bench).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_promotion_is_applied_once_it_has_ended() {
    let bench = settled_bench().await;
    bench.release(&shop("web:2")).await;
    end_attempt(&bench);
    make_stable(&bench, "web:2");
    let asked = asked(&bench).await;
    assert!(
        asked.contains(&"PATCH deployments/web".to_owned()),
        "{asked:?}"
    );
    assert!(
        !asked.iter().any(|request| request.contains("services")),
        "{asked:?}"
    );
}
