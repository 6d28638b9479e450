#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::json;
use tidegate_api::{route::RouteKind, workload::VersionId};

use super::*;

/// A status whose attempt of B, with A stable, is in this stage.
fn status(stage: &str, stable_template_updated: bool) -> RolloutStatus {
    let plan = json!({
        "workload": { "kind": "Deployment", "name": "web" },
        "traffic": { "routes": [{ "kind": "HTTPRoute", "name": "web" }] },
        "steps": [{ "weight": 20, "hold": "1m" }], "gates": [],
    });
    let at = "2026-03-01T12:00:00Z";
    serde_json::from_value(json!({
        "stable": { "revision": "A", "podTemplateHash": "aaa", "since": at },
        "attempt": {
            "number": 1, "id": "id", "revision": "B", "sequence": 2, "startedAt": at, "plan": plan,
            "stage": stage, "stageSince": at, "weight": 20, "stableTemplateUpdated": stable_template_updated,
        },
    }))
    .unwrap()
}

fn web_route() -> RouteRef {
    RouteRef::new(RouteKind::HttpRoute, "web")
}

fn revision(name: &str) -> TemplateInForce {
    TemplateInForce::Revision(Revision::named(name))
}

#[test]
fn the_template_is_stables_until_promotion_lets_the_candidates_in() {
    assert_eq!(template_in_force(None, true), TemplateInForce::Git);
    assert_eq!(template_in_force(None, false), TemplateInForce::Live);
    assert_eq!(
        template_in_force(Some(&status("Stepping", false)), true),
        revision("A")
    );
    assert_eq!(
        template_in_force(Some(&status("UpdatingStable", true)), true),
        revision("B")
    );
    assert_eq!(
        template_in_force(Some(&status("Draining", true)), true),
        revision("B")
    );
    assert_eq!(
        template_in_force(Some(&status("RollingBack", true)), true),
        revision("A")
    );
}

#[test]
fn a_template_that_goes_with_config_is_left_to_the_attempt_until_both_are_there() {
    let switching = |stage: &str| {
        let mut status = status(stage, true);
        let config = json!({ "digest": "abc", "copies": [] });
        status.attempt.as_mut().unwrap().config = Some(serde_json::from_value(config).unwrap());
        status
    };
    let of = |status: &RolloutStatus| template_in_force(Some(status), true);
    assert_eq!(of(&switching("UpdatingStable")), TemplateInForce::Live);
    assert_eq!(of(&switching("RollingBack")), TemplateInForce::Live);
    let mut promoted = switching("Draining");
    let attempt = promoted.attempt.as_mut().unwrap();
    attempt.promoted_pod_template_hash = Some(VersionId::new("bbb"));
    assert_eq!(of(&promoted), revision("B"));
    assert_eq!(
        released_config(&promoted, &Revision::named("B")),
        Some("abc")
    );
    assert_eq!(released_config(&promoted, &Revision::named("A")), None);
}

#[test]
fn an_attempt_that_failed_keeps_stables_template_while_it_cleans_up() {
    let mut status = status("Draining", true);
    let ending = json!({ "outcome": "RolledBack", "reason": "GateBreached", "message": "", "at": "2026-03-01T12:00:00Z" });
    status.attempt.as_mut().unwrap().ending = Some(serde_json::from_value(ending).unwrap());
    assert_eq!(template_in_force(Some(&status), true), revision("A"));
}

fn governing<'a>(status: Option<&'a RolloutStatus>, wanted: Option<&'a Revision>) -> Governing<'a> {
    Governing {
        namespace: "mall",
        rollout: "shop",
        service: "web",
        status,
        wanted,
    }
}

#[test]
fn a_service_keeps_its_selector_and_its_ports_while_an_attempt_runs() {
    let desired = json!({ "spec": { "selector": { "app": "cart" }, "ports": [{ "port": 81 }] } });
    let live = json!({ "spec": { "selector": { "app": "web", "pod-template-hash": "aaa" }, "ports": [{ "port": 80 }] } });
    let status = status("Stepping", false);
    let held = governing(Some(&status), None).service(desired.clone(), &live);
    assert_eq!(held["spec"], live["spec"]);
    assert_eq!(
        held["metadata"]["annotations"]["tidegate.io/waiting"],
        "selector and ports"
    );
    assert_eq!(
        governing(None, None).service(desired.clone(), &live),
        desired
    );
    let idle = RolloutStatus {
        attempt: None,
        ..status
    };
    assert_eq!(
        governing(Some(&idle), None).service(desired.clone(), &live),
        desired
    );
}

#[test]
fn ports_and_rules_for_them_wait_with_the_template() {
    let service =
        |port: Value| json!({ "spec": { "selector": { "app": "web" }, "ports": [port] } });
    let live =
        service(json!({ "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080 }));
    let idle = RolloutStatus {
        attempt: None,
        ..status("Stepping", false)
    };
    let (stable, waiting) = (Revision::named("A"), Revision::named("B"));
    let moved = service(json!({ "port": 80, "targetPort": 9090 }));
    assert_eq!(
        governing(Some(&idle), Some(&stable)).service(moved.clone(), &live),
        moved
    );
    let held = governing(Some(&idle), Some(&waiting)).service(moved, &live);
    assert_eq!(
        held["metadata"]["annotations"]["tidegate.io/waiting"],
        "ports"
    );
    assert_eq!(held["spec"], live["spec"]);
    let same = governing(Some(&idle), Some(&waiting))
        .service(service(json!({ "port": 80, "targetPort": 8080 })), &live);
    assert_eq!(same.get("metadata"), None);

    let rules = |port: u32, path: &str| json!({ "spec": { "rules": [{ "path": path, "backendRefs": [{ "name": "web", "port": port }] }] } });
    let hold = governing(Some(&idle), Some(&waiting));
    assert_eq!(
        super::route(
            &[(hold, &web_route())],
            rules(81, "/new"),
            &rules(80, "/old")
        ),
        rules(80, "/old")
    );
    assert_eq!(
        super::route(
            &[(hold, &web_route())],
            rules(80, "/new"),
            &rules(80, "/old")
        ),
        rules(80, "/new")
    );
}

#[test]
fn a_route_gets_gits_rules_with_our_weights() {
    let rule = |refs: Value, path: &str| json!({ "spec": { "rules": [{ "path": path, "backendRefs": refs }] } });
    let web = json!({ "name": "web", "port": 80 });
    let desired = rule(json!([web]), "/new");
    let split = |ours: u32, theirs: u32| {
        json!([
            { "name": "web", "port": 80, "weight": ours },
            { "name": "shop-canary", "port": 80, "weight": theirs },
        ])
    };
    // Intended are 20 %; what was taken away already stays away.
    for (live, wanted) in [(20, 20), (50, 20), (0, 0)] {
        let live = rule(split(100 - live, live), "/old");
        let status = status("Stepping", false);
        let splits = [(governing(Some(&status), None), &web_route())];
        let held = route(&splits, desired.clone(), &live);
        let refs = &held["spec"]["rules"][0]["backendRefs"];
        assert_eq!(
            (&refs[0]["weight"], &refs[1]["weight"]),
            (&json!(100 - wanted), &json!(wanted)),
            "{held}"
        );
        assert_eq!(held["spec"]["rules"][0]["path"], "/new");
    }
    let status = status("Starting", false);
    let splits = [(governing(Some(&status), None), &web_route())];
    assert_eq!(route(&splits, desired.clone(), &desired), desired);
}

/// Two Rollouts with an attempt each: one of `web` at 20 %, and one of `cart` at 50 %.
fn two_attempts() -> [RolloutStatus; 2] {
    let web = status("Stepping", false);
    let mut cart = web.clone();
    let attempt = cart.attempt.as_mut().unwrap();
    attempt.plan.workload.name = "cart".to_owned();
    attempt.weight = crate::weight::Weight::from_hundredths(5000);
    [web, cart]
}

fn governing_both(statuses: &[RolloutStatus; 2]) -> [Governing<'_>; 2] {
    let web = governing(Some(&statuses[0]), None);
    let cart = Governing {
        rollout: "cart",
        service: "cart",
        status: Some(&statuses[1]),
        ..web
    };
    [web, cart]
}

/// Rules as both Rollouts have split them.
fn split_by_both(rules: &Value, statuses: &[RolloutStatus; 2]) -> Value {
    let mut rules = rules["spec"]["rules"].clone();
    for (name, status) in ["shop", "cart"].into_iter().zip(statuses) {
        let attempt = status.attempt.as_ref().unwrap();
        let plan = Plan::parse(name, &attempt.plan).unwrap();
        rules = Splitter::of(&plan.routes[0], "mall", &plan).split(&rules, attempt.weight);
    }
    json!({ "spec": { "rules": rules } })
}

#[test]
fn two_rollouts_keep_their_weights_in_one_route() {
    let backend = |name: &str| json!({ "name": name, "port": 80 });
    let in_two_rules =
        json!([{ "backendRefs": [backend("web")] }, { "backendRefs": [backend("cart")] }]);
    let in_one_rule = json!([{ "backendRefs": [backend("web"), backend("cart")] }]);
    let statuses = two_attempts();
    let reference = web_route();
    for rules in [in_two_rules, in_one_rule] {
        let desired = json!({ "spec": { "rules": rules } });
        let live = split_by_both(&desired, &statuses);
        let [web, cart] = governing_both(&statuses);
        for splits in [[web, cart], [cart, web]] {
            let splits = splits.map(|governing| (governing, &reference));
            assert_eq!(route(&splits, desired.clone(), &live), live);
        }
    }
}

#[test]
fn what_one_rollout_holds_back_does_not_undo_the_weights_of_another() {
    let rules = |port: u32| {
        json!({ "spec": { "rules": [
            { "backendRefs": [{ "name": "web", "port": port }] },
            { "backendRefs": [{ "name": "cart", "port": 80 }] },
        ] } })
    };
    let mut statuses = two_attempts();
    let live = split_by_both(&rules(80), &statuses);
    statuses[1].attempt.as_mut().unwrap().weight = crate::weight::Weight::ZERO;
    let wanted = split_by_both(&rules(80), &statuses);
    let [web, cart] = governing_both(&statuses);
    let reference = web_route();
    for splits in [[web, cart], [cart, web]] {
        let splits = splits.map(|governing| (governing, &reference));
        assert_eq!(route(&splits, rules(81), &live), wanted);
    }
}
