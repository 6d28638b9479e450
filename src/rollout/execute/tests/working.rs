//! Effects on the canary of a workload that nobody calls.

use tidegate_engine::plan::Plan;

use super::*;

async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    let mut spec = serde_json::to_value(&bench.rollout.spec).unwrap();
    spec["traffic"] = json!({ "replicas": { "service": "None" } });
    spec["steps"] = json!([{ "weight": 50, "hold": "1m" }]);
    spec.as_object_mut().unwrap().remove("service");
    spec["gates"] = json!([]);
    bench.rollout.spec = serde_json::from_value(spec).unwrap();
    bench.plan = Plan::parse("checkout", &bench.rollout.spec).unwrap();
    bench
}

#[tokio::test]
async fn it_has_no_service_and_is_scaled_down_without_the_template_that_it_runs() {
    let bench = bench().await;
    let apply = Action::ApplyCanary {
        revision: revision(),
        replicas: 3,
    };
    run_one(&bench, apply).await.unwrap();
    let writes = bench.script.writes();
    let places: Vec<_> = writes.iter().map(Asked::short).collect();
    assert_eq!(places, ["PATCH deployments/checkout-canary"]);
    bench.script.requests();

    run_one(&bench, Action::ScaleDownCanary { replicas: 0 })
        .await
        .unwrap();
    let requests = bench.script.requests();
    let places: Vec<_> = requests.iter().map(Asked::short).collect();
    assert_eq!(places, ["PATCH deployments/checkout-canary"]);
    assert_eq!(requests[0].body["spec"], json!({ "replicas": 0 }));
}

#[tokio::test]
async fn one_that_is_not_there_is_not_scaled() {
    let bench = bench().await;
    run_one(&bench, Action::ScaleDownCanary { replicas: 0 })
        .await
        .unwrap();
    assert!(bench.script.writes().is_empty());
}
