//! Fields of Services and routes that are masked during an attempt, and survive a commit.

use serde_json::{Value, json};

use super::{Bench, ROLLOUT, begin_attempt, make_stable, settled_bench, shop};

#[tokio::test]
async fn pins_ports_and_weights_of_an_attempt_survive_a_commit() {
    let bench = settled_bench().await;
    bench.api.edit("rollouts/web", |rollout| {
        begin_attempt(rollout, "web:2", false);
    });
    bench.api.edit("services/web", |service| {
        service["spec"]["selector"]["pod-template-hash"] = json!("1");
    });
    bench.api.edit("httproutes/web", |route| {
        route["spec"]["rules"][0]["backendRefs"] =
            json!([{"name": "web", "port": 80, "weight": 90}, {"name": "web-canary", "port": 80, "weight": 10}]);
    });
    let content = shop("web:2").replace(
        "spec: {rules: [{",
        "spec: {hostnames: [a.example.com], rules: [{",
    );
    bench
        .release(&content.replace("ports: [{port: 80}]", "ports: [{port: 81}]"))
        .await;
    let service = bench.applied("services/web").unwrap();
    assert_eq!(
        service["spec"]["selector"],
        json!({"app": "web", "pod-template-hash": "1"})
    );
    assert_eq!(service["spec"]["ports"], json!([{"port": 80}]));
    let route = bench.applied("httproutes/web").unwrap();
    assert_eq!(route["spec"]["hostnames"], json!(["a.example.com"]));
    let weights: Vec<_> = route["spec"]["rules"][0]["backendRefs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["weight"])
        .collect();
    assert_eq!(weights, [90, 10]);
    bench.api.edit("rollouts/web", |rollout| {
        rollout["status"]["attempt"] = Value::Null;
    });
    make_stable(&bench, "web:2");
    bench.reconcile().await;
    assert_eq!(
        bench.applied("services/web").unwrap()["spec"]["ports"],
        json!([{"port": 81}])
    );
}

/// Returns the ports of the Service that was sent last, and its annotation about deferred fields.
fn ports_and_waiting(bench: &Bench) -> (Value, Value) {
    let mut service = bench.applied("services/web").unwrap();
    let ports = service["spec"]["ports"].take();
    let waiting = service["metadata"]["annotations"]["tidegate.io/waiting"].take();
    (ports, waiting)
}

fn moved(image: &str, port: u32) -> String {
    shop(image).replace(
        "[{port: 80}]",
        &format!("[{{port: 80, targetPort: {port}}}]"),
    )
}

#[tokio::test]
async fn ports_wait_with_a_template_of_the_same_commit_and_go_out_without_one() {
    let bench = settled_bench().await;
    bench.release(&moved("web:2", 9090)).await;
    assert_eq!(
        ports_and_waiting(&bench),
        (json!([{"port": 80}]), json!("ports"))
    );
    bench.release(&moved("web:1", 9090)).await;
    assert_eq!(
        ports_and_waiting(&bench),
        (json!([{"port": 80, "targetPort": 9090}]), Value::Null)
    );
    bench.release(&moved("web:2", 9090)).await;
    assert_eq!(
        ports_and_waiting(&bench),
        (json!([{"port": 80, "targetPort": 9090}]), Value::Null)
    );
}

/// The shop with a second Rollout on its route, whose rules are these.
fn two_apps(rules: &Value, hostname: &str) -> String {
    let spec = json!({ "hostnames": [hostname], "rules": rules });
    let second = ROLLOUT
        .replace("metadata: {name: web}", "metadata: {name: wine}")
        .replace("name: web}\n", "name: wine}\n");
    let shop = shop("web:1").replace(
        "spec: {rules: [{backendRefs: [{name: web, port: 80}]}]}",
        &format!("spec: {spec}"),
    );
    format!("{shop}---{second}")
}

fn backend(name: &str, weight: u32) -> Value {
    json!({ "name": name, "port": 80, "weight": weight })
}

/// An unrelated commit while both Rollouts have an attempt: the rules that are sent.
async fn rules_after_a_commit(rules: &Value, live: &Value) -> Value {
    let bench = Bench::new();
    bench.release(&two_apps(rules, "a.example.com")).await;
    for rollout in ["rollouts/web", "rollouts/wine"] {
        bench.api.edit(rollout, |rollout| {
            begin_attempt(rollout, "web:2", false);
        });
    }
    bench.api.edit("httproutes/web", |route| {
        route["spec"]["rules"] = live.clone();
    });
    bench.release(&two_apps(rules, "b.example.com")).await;
    let mut route = bench.applied("httproutes/web").unwrap();
    assert_eq!(route["spec"]["hostnames"], json!(["b.example.com"]));
    route["spec"]["rules"].take()
}

#[tokio::test]
async fn a_commit_changes_no_weight_of_two_rollouts_in_two_rules() {
    let rules = json!([
        { "backendRefs": [{ "name": "web", "port": 80 }] },
        { "backendRefs": [{ "name": "wine", "port": 80 }] },
    ]);
    let live = json!([
        { "backendRefs": [backend("web", 90), backend("web-canary", 10)] },
        { "backendRefs": [backend("wine", 90), backend("wine-canary", 10)] },
    ]);
    assert_eq!(rules_after_a_commit(&rules, &live).await, live);
}

#[tokio::test]
async fn a_commit_changes_no_weight_of_two_rollouts_in_one_rule() {
    let rules = json!([{ "backendRefs": [
        { "name": "web", "port": 80 }, { "name": "wine", "port": 80 },
    ] }]);
    let live = json!([{ "backendRefs": [
        backend("web", 9000), backend("web-canary", 1000),
        backend("wine", 9000), backend("wine-canary", 1000),
    ] }]);
    assert_eq!(rules_after_a_commit(&rules, &live).await, live);
}
