//! What of Services and routes waits, and what survives a commit.

use serde_json::{Value, json};

use super::{Caches, begin_attempt, make_stable, settled_world, shop};

#[tokio::test]
async fn pins_ports_and_weights_of_an_attempt_survive_a_commit() {
    let caches = settled_world().await;
    caches.api.edit("rollouts/web", |rollout| {
        begin_attempt(rollout, "web:2", false);
    });
    caches.api.edit("services/web", |service| {
        service["spec"]["selector"]["pod-template-hash"] = json!("1");
    });
    caches.api.edit("httproutes/web", |route| {
        route["spec"]["rules"][0]["backendRefs"] =
            json!([{"name": "web", "port": 80, "weight": 90}, {"name": "web-canary", "port": 80, "weight": 10}]);
    });
    let content = shop("web:2").replace(
        "spec: {rules: [{",
        "spec: {hostnames: [a.example.com], rules: [{",
    );
    caches
        .release(&content.replace("ports: [{port: 80}]", "ports: [{port: 81}]"))
        .await;
    let service = caches.api.sent("services/web").unwrap();
    assert_eq!(
        service["spec"]["selector"],
        json!({"app": "web", "pod-template-hash": "1"})
    );
    assert_eq!(service["spec"]["ports"], json!([{"port": 80}]));
    let route = caches.api.sent("httproutes/web").unwrap();
    assert_eq!(route["spec"]["hostnames"], json!(["a.example.com"]));
    let weights: Vec<_> = route["spec"]["rules"][0]["backendRefs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["weight"])
        .collect();
    assert_eq!(weights, [90, 10]);
    caches.api.edit("rollouts/web", |rollout| {
        rollout["status"]["attempt"] = Value::Null;
    });
    make_stable(&caches, "web:2");
    caches.reconcile().await;
    assert_eq!(
        caches.api.sent("services/web").unwrap()["spec"]["ports"],
        json!([{"port": 81}])
    );
}

#[tokio::test]
async fn ports_wait_with_a_template_of_the_same_commit_and_go_out_without_one() {
    let caches = settled_world().await;
    let ports = |caches: &Caches| caches.api.sent("services/web").unwrap()["spec"]["ports"].take();
    let waiting = |caches: &Caches| {
        caches.api.sent("services/web").unwrap()["metadata"]["annotations"]["tidegate.io/waiting"]
            .take()
    };
    let moved = |image: &str, port: u32| {
        shop(image).replace(
            "[{port: 80}]",
            &format!("[{{port: 80, targetPort: {port}}}]"),
        )
    };
    caches.release(&moved("web:2", 9090)).await;
    assert_eq!(
        (ports(&caches), waiting(&caches)),
        (json!([{"port": 80}]), json!("ports"))
    );
    caches.release(&moved("web:1", 9090)).await;
    assert_eq!(
        (ports(&caches), waiting(&caches)),
        (json!([{"port": 80, "targetPort": 9090}]), Value::Null)
    );
    caches.release(&moved("web:2", 9090)).await;
    assert_eq!(
        (ports(&caches), waiting(&caches)),
        (json!([{"port": 80, "targetPort": 9090}]), Value::Null)
    );
}
