//! Routes in caches and an API server that answers from a script.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::LazyLock;

use tidegate_api::route::RouteKind;
use tidegate_engine::weight::Weight;

use super::*;
use crate::kubernetes::testing::{Script, show};

const PATH: &str = "httproutes/web";

static WEB: LazyLock<RouteRef> = LazyLock::new(|| RouteRef::new(RouteKind::HttpRoute, "web"));

fn route(parents: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": "web", "namespace": "shop", "uid": "u", "generation": 3 },
        "spec": { "parentRefs": [{ "name": "one" }, { "name": "two", "namespace": "gateways" }], "rules": [{
            "matches": [{ "path": { "value": "/" } }],
            "backendRefs": [{ "name": "checkout", "port": 80, "filters": ["kept"] }],
        }] },
        "status": { "parents": parents },
    })
}

fn accepted(generation: i64) -> Value {
    accepted_by(
        &json!({ "name": "one", "namespace": "shop", "kind": "Gateway" }),
        generation,
    )
}

fn accepted_by(parent: &Value, generation: i64) -> Value {
    json!({ "parentRef": parent, "conditions": [
        { "type": "ResolvedRefs", "status": "True", "observedGeneration": generation },
        { "type": "Accepted", "status": "True", "observedGeneration": generation },
    ] })
}

fn plan() -> Plan {
    Plan::parse("checkout", &spec(RouteKind::HttpRoute)).unwrap()
}

fn spec(kind: RouteKind) -> RolloutSpec {
    let spec = serde_json::from_value(json!({
        "workload": { "kind": "Deployment", "name": "checkout" },
        "traffic": { "routes": [{ "kind": kind, "name": "web" }] },
        "steps": [{ "weight": 10, "hold": "1m" }],
        "gates": [],
    }));
    spec.unwrap()
}

/// Routers whose watch has shown this route.
async fn routers(route: &Value) -> Routers {
    let (routers, writers) = Routers::new();
    let route = serde_json::from_value(route.clone()).unwrap();
    show(writers.of(RouteKind::HttpRoute), vec![route]).await;
    routers
}

async fn observed(parents: Value) -> RouteState {
    let routers = routers(&route(&parents)).await;
    let mut routes = routers.observe("shop", &plan());
    routes.remove(0).state.unwrap()
}

fn change(weight: Option<u32>, epoch: Option<u64>) -> RouteChange<'static> {
    let weight = weight.map(|percent| Weight::from_hundredths(percent * 100));
    RouteChange {
        namespace: "shop",
        route: &WEB,
        weight,
        epoch,
    }
}

#[tokio::test]
async fn a_route_is_accepted_once_every_gateway_has_accepted_this_generation() {
    assert!(observed(json!([accepted(3)])).await.accepted);
    assert!(observed(json!([accepted(3), accepted(4)])).await.accepted);
    assert!(
        !observed(json!([accepted(3), accepted(2)])).await.accepted,
        "one has not seen it yet"
    );
    assert!(!observed(json!([])).await.accepted, "nobody has");
    let two = || json!({ "name": "two", "namespace": "gateways" });
    assert!(
        !observed(json!([accepted(3), accepted_by(&two(), 2)]))
            .await
            .accepted
    );
    let former = accepted_by(&json!({ "name": "two" }), 1);
    assert!(
        observed(json!([accepted(3), former.clone()]))
            .await
            .accepted,
        "it is not attached to that one any more"
    );
    assert!(!observed(json!([former])).await.accepted);
    let refused = json!({ "parentRef": two(), "conditions": [{ "type": "Accepted", "status": "False", "observedGeneration": 3 }] });
    assert!(!observed(json!([accepted(3), refused])).await.accepted);
}

/// Status at the second gateway of the route, with one condition that is not `True`.
fn refused_by_two(condition: &str, message: &str, generation: i64) -> Value {
    let two = json!({ "name": "two", "namespace": "gateways" });
    let mut status = accepted_by(&two, generation);
    for one in status["conditions"].as_array_mut().unwrap() {
        if one["type"] == condition {
            one["status"] = json!("False");
            one["reason"] = json!("No");
            one["message"] = json!(message);
        }
    }
    status
}

#[tokio::test]
async fn a_second_gateway_that_refuses_or_is_silent_is_named_and_holds_back_no_rollback() {
    let refused = observed(json!([
        accepted(3),
        refused_by_two("Accepted", "no listener", 3)
    ]))
    .await;
    assert!(!refused.accepted && refused.followed);
    let said: Vec<_> = refused
        .pending_parents
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        ["Gateway gateways/two says Accepted is False, No (no listener)"]
    );

    let two = json!({ "name": "two", "namespace": "gateways" });
    let silent = observed(json!([accepted(3), accepted_by(&two, 2)])).await;
    assert!(!silent.followed, "it serves what the route was");
    let said: Vec<_> = silent
        .pending_parents
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(said, ["Gateway gateways/two has not answered"]);
    let nobody = observed(json!([])).await;
    assert!(!nobody.followed, "nobody has said anything");
    assert_eq!(nobody.pending_parents.len(), 2);
}

/// Routers that have seen the route before the canary came, with this status, and then with it and that
/// status: the state then.
async fn split_after(before: Value, after: Value) -> RouteState {
    let mut live = route(&json!([before]));
    let routers = routers(&live).await;
    routers.observe("shop", &plan());
    live["metadata"]["resourceVersion"] = json!("8");
    live["spec"]["rules"][0]["backendRefs"] = json!([
        { "name": "checkout", "port": 80, "weight": 90 }, { "name": "checkout-canary", "port": 80, "weight": 10 },
    ]);
    live["status"]["parents"] = json!([after]);
    let cache = routers.cache(RouteKind::HttpRoute);
    cache.keep_answer(serde_json::from_value(live).unwrap());
    routers.observe("shop", &plan()).remove(0).state.unwrap()
}

#[tokio::test]
async fn a_backend_that_is_not_resolved_counts_only_if_that_came_with_the_canary() {
    let unresolved = |message: &str| refused_by_two("ResolvedRefs", message, 3);
    let well = accepted_by(&json!({ "name": "two", "namespace": "gateways" }), 3);
    let ours = split_after(well.clone(), unresolved("checkout-canary not found")).await;
    assert!(!ours.accepted && ours.followed);
    let theirs = unresolved("cart not found");
    assert!(split_after(theirs.clone(), theirs.clone()).await.accepted);
    let both = unresolved("cart and checkout-canary not found");
    assert!(!split_after(theirs.clone(), both).await.accepted);
    assert!(split_after(theirs, well).await.accepted);
}

#[tokio::test]
async fn a_tidegate_that_was_started_since_asks_for_the_canarys_name() {
    let split = |message: &str| {
        let mut live = route(&json!([refused_by_two("ResolvedRefs", message, 3)]));
        live["spec"]["rules"][0]["backendRefs"] =
            json!([{ "name": "checkout" }, { "name": "checkout-canary" }]);
        live
    };
    for (message, accepted) in [
        ("cart not found", true),
        ("checkout-canary not found", false),
    ] {
        let routers = routers(&split(message)).await;
        let state = routers.observe("shop", &plan()).remove(0).state.unwrap();
        assert_eq!(state.accepted, accepted, "{message}");
    }
}

#[tokio::test]
async fn routes_and_rules_that_are_not_split_are_found() {
    let rule = |name: &str, service: &str| json!({ "name": name, "backendRefs": [{ "name": service, "port": 80 }] });
    let named = |name: &str, rules: Value| {
        let mut route = route(&json!([]));
        route["metadata"]["name"] = json!(name);
        route["spec"]["rules"] = rules;
        serde_json::from_value(route).unwrap()
    };
    let routes = vec![
        named(
            "web",
            json!([rule("pay", "checkout"), rule("other", "checkout")]),
        ),
        named("direct", json!([rule("all", "checkout")])),
        named("cart", json!([rule("all", "cart")])),
    ];
    let (routers, writers) = Routers::new();
    show(writers.of(RouteKind::HttpRoute), routes).await;
    assert_eq!(routers.unsplit("shop", &plan()), ["HTTPRoute direct"]);
    let mut spec = spec(RouteKind::HttpRoute);
    spec.traffic.routes.as_mut().unwrap()[0].section_name = Some("pay".to_owned());
    let plan = Plan::parse("checkout", &spec).unwrap();
    let mut found = routers.unsplit("shop", &plan);
    found.sort();
    assert_eq!(
        found,
        ["HTTPRoute direct", "another rule of HTTPRoute web than pay"]
    );
    assert!(routers.name_service("shop", "cart") && !routers.name_service("shop", "wine"));
}

#[tokio::test]
async fn a_route_that_is_not_there_has_no_state() {
    let routers = routers(&route(&json!([]))).await;
    assert!(routers.observe("arcade", &plan())[0].state.is_none());
}

#[tokio::test]
async fn a_share_is_written_with_the_epoch_and_only_over_what_was_seen() {
    let (script, plan) = (Script::default(), plan());
    let seen = script.put(PATH, route(&json!([accepted(3)])));
    let routers = routers(&seen).await;
    routers
        .set(&script.client(), &plan, &change(Some(10), Some(5)))
        .await
        .unwrap();
    let writes = script.writes();
    assert_eq!(
        (writes.len(), writes[0].short().as_str()),
        (1, "PATCH httproutes/web")
    );
    assert_eq!(
        writes[0].query.trim_start_matches('&'),
        "fieldManager=tidegate"
    );
    assert_eq!(
        writes[0].body["metadata"]["resourceVersion"],
        seen["metadata"]["resourceVersion"]
    );
    assert_eq!(
        writes[0].body["metadata"]["annotations"]["tidegate.io/epoch"],
        "5"
    );
    let rule = &writes[0].body["spec"]["rules"][0];
    assert_eq!(
        rule["matches"][0]["path"]["value"], "/",
        "what we do not know survives"
    );
    let backends: Vec<_> = rule["backendRefs"].as_array().unwrap().iter().collect();
    assert_eq!(backends.len(), 2);
    assert_eq!(
        (&backends[0]["name"], &backends[0]["weight"]),
        (&json!("checkout"), &json!(90))
    );
    assert_eq!(
        (&backends[1]["name"], &backends[1]["weight"]),
        (&json!("checkout-canary"), &json!(10))
    );
    assert_eq!(backends[1]["filters"], json!(["kept"]));
}

#[tokio::test]
async fn without_a_share_every_trace_of_the_canary_goes() {
    let (script, plan) = (Script::default(), plan());
    let before = script.put(PATH, route(&json!([accepted(3)])));
    let first = routers(&before).await;
    first
        .set(&script.client(), &plan, &change(Some(10), Some(5)))
        .await
        .unwrap();
    let split = script.get(PATH).unwrap();
    let second = routers(&split).await;
    second
        .set(&script.client(), &plan, &change(None, None))
        .await
        .unwrap();
    let after = script.get(PATH).unwrap();
    assert_eq!(after["metadata"]["annotations"], json!({}));
    let backends = after["spec"]["rules"][0]["backendRefs"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(
        (backends.len(), &backends[0]["name"]),
        (1, &json!("checkout"))
    );
}

#[tokio::test]
async fn a_route_that_has_changed_meanwhile_is_named_in_the_error() {
    let script = Script::default();
    script.refuse("PATCH httproutes/web", 409);
    let routers = routers(&route(&json!([]))).await;
    let error = routers
        .set(&script.client(), &plan(), &change(Some(10), None))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RouteError::Patch { route, .. } if *route == *WEB),
        "{error}"
    );
}

#[tokio::test]
async fn a_kind_that_is_not_listed_is_missed_by_those_alone_that_name_it() {
    let (routers, writers) = Routers::new();
    show(writers.of(RouteKind::HttpRoute), Vec::new()).await;
    assert!(routers.unlisted([&spec(RouteKind::HttpRoute)]).is_empty());
    assert_eq!(
        routers.unlisted([&spec(RouteKind::HttpRoute), &spec(RouteKind::GrpcRoute)]),
        [RouteKind::GrpcRoute]
    );
}

#[tokio::test]
async fn a_grpc_route_is_split_like_any_other() {
    let (script, grpc) = (Script::default(), RouteKind::GrpcRoute);
    let mut before = route(&json!([accepted(3)]));
    before["kind"] = json!(grpc);
    let seen = script.put("grpcroutes/web", before);
    let (routers, writers) = Routers::new();
    let shown = serde_json::from_value(seen).unwrap();
    show(writers.of(grpc), vec![shown]).await;
    let plan = Plan::parse("checkout", &spec(grpc)).unwrap();
    let share = RouteChange {
        route: &plan.routes[0],
        ..change(Some(10), Some(5))
    };
    routers.set(&script.client(), &plan, &share).await.unwrap();
    let observed = routers.observe("shop", &plan).remove(0).state.unwrap();
    assert_eq!((observed.weight, observed.epoch), (share.weight, Some(5)));
}

/// A route that bears the epoch 5 and gives the canary 10 %.
async fn split() -> (Script, Value) {
    let script = Script::default();
    let before = script.put(PATH, route(&json!([accepted(3)])));
    routers(&before)
        .await
        .set(&script.client(), &plan(), &change(Some(10), Some(5)))
        .await
        .unwrap();
    script.writes();
    let split = script.get(PATH).unwrap();
    (script, split)
}

fn weights(route: &Value) -> Vec<Value> {
    let backends = route["spec"]["rules"][0]["backendRefs"].as_array().unwrap();
    backends
        .iter()
        .map(|backend| backend["weight"].clone())
        .collect()
}

#[tokio::test]
async fn a_status_that_was_written_meanwhile_does_not_hold_traffic_on_the_canary() {
    let (script, seen) = split().await;
    let mut reported = seen.clone();
    reported["status"]["parents"] = json!([accepted(4)]);
    script.put(PATH, reported);
    routers(&seen)
        .await
        .set(&script.client(), &plan(), &change(Some(0), Some(5)))
        .await
        .unwrap();
    assert_eq!(weights(&script.get(PATH).unwrap()), [100, 0]);
}

#[tokio::test]
async fn a_list_or_an_epoch_that_was_written_meanwhile_is_not_overwritten() {
    let changes: [fn(&mut Value); 2] = [
        |route| route["spec"]["rules"][0]["backendRefs"][1]["weight"] = json!(50),
        |route| route["metadata"]["annotations"]["tidegate.io/epoch"] = json!("6"),
    ];
    for edit in changes {
        let (script, seen) = split().await;
        let mut other = seen.clone();
        edit(&mut other);
        script.put(PATH, other.clone());
        let error = routers(&seen)
            .await
            .set(&script.client(), &plan(), &change(Some(20), Some(5)))
            .await
            .unwrap_err();
        let RouteError::Patch { source, .. } = error else {
            panic!("{error}");
        };
        assert!(
            matches!(&*source, kube::Error::Api(status) if status.code == 409),
            "{source}"
        );
        assert_eq!(weights(&script.get(PATH).unwrap()), weights(&other));
    }
}

#[tokio::test]
async fn another_rule_that_was_written_meanwhile_stays_as_it_is() {
    let (script, seen) = split().await;
    let mut other = seen.clone();
    let second = json!({ "backendRefs": [{ "name": "cart", "port": 80 }] });
    other["spec"]["rules"]
        .as_array_mut()
        .unwrap()
        .push(second.clone());
    script.put(PATH, other);
    routers(&seen)
        .await
        .set(&script.client(), &plan(), &change(Some(20), Some(5)))
        .await
        .unwrap();
    let after = script.get(PATH).unwrap();
    assert_eq!(
        (weights(&after), &after["spec"]["rules"][1]),
        (vec![json!(80), json!(20)], &second)
    );
}
