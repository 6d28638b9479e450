//! Rules of an HTTPRoute, split and merged.

use serde_json::json;
use tidegate_api::route::RouteKind;

use super::*;

fn percent(percent: f64) -> Weight {
    format!("{percent}%").parse().expect("a weight")
}

/// Split of the Service `shop` of the namespace `mall`.
fn splitter(scale: Scale) -> Splitter<'static> {
    let route = RouteRef::new(RouteKind::HttpRoute, "web");
    Splitter {
        backends: Backends::of(&route, "mall"),
        section: None,
        service: "shop",
        canary: "shop-canary",
        scale,
    }
}

fn in_rule(section: &str) -> Splitter<'_> {
    Splitter {
        section: Some(section),
        ..splitter(Scale::PERCENT)
    }
}

fn rules() -> Value {
    json!([
        {"matches": [{"path": {"value": "/"}}], "backendRefs": [
            {"name": "shop", "port": 80, "weight": 3, "filters": [{"type": "X"}]},
            {"name": "legacy", "port": 80, "weight": 1}
        ]},
        {"backendRefs": [{"name": "other", "port": 80}]},
        {"name": "pay", "backendRefs": [{"name": "shop", "port": 80, "weight": 1}]}
    ])
}

#[test]
fn only_our_share_is_split_and_the_others_keep_theirs() {
    let shop = splitter(Scale::PERCENT);
    let split = shop.split(&rules(), percent(10.0));
    assert_eq!(
        split[0]["backendRefs"],
        json!([
            {"name": "shop", "port": 80, "weight": 270, "filters": [{"type": "X"}]},
            {"name": "shop-canary", "port": 80, "weight": 30, "filters": [{"type": "X"}]},
            {"name": "legacy", "port": 80, "weight": 100}
        ])
    );
    assert_eq!(split[1], rules()[1]);
    assert_eq!(shop.weight(&split), Some(percent(10.0)));
}

#[test]
fn what_was_split_is_merged_to_what_it_was() {
    for scale in [Scale::PERCENT, Scale::HUNDREDTHS] {
        let shop = splitter(scale);
        let mut now = rules();
        for share in [0.0, 1.0, 50.0, 100.0] {
            now = shop.split(&now, percent(share));
            assert_eq!(shop.weight(&now), Some(percent(share)));
        }
        assert_eq!(shop.merge(&now), rules());
    }
}

#[test]
fn what_has_traffic_keeps_some_whatever_somebody_wrote() {
    for (ours, theirs) in [(1, 0), (0, 1), (3, 2), (100, 0), (99, 99)] {
        for scale in [Scale::PERCENT, Scale::HUNDREDTHS] {
            let shop = splitter(scale);
            let by_hand = json!([{"backendRefs": [
                {"name": "shop", "port": 80, "weight": ours}, {"name": "shop-canary", "port": 80, "weight": theirs},
            ]}]);
            let merged = shop.merge(&by_hand);
            assert!(
                merged[0]["backendRefs"][0]["weight"].as_u64() > Some(0),
                "{ours}/{theirs} became {merged}"
            );
            let again = shop.split(&by_hand, percent(10.0));
            assert_eq!(
                shop.weight(&again),
                Some(percent(10.0)),
                "{ours}/{theirs}: {again}"
            );
        }
    }
}

#[test]
fn rules_that_disagree_have_no_weight() {
    let shop = splitter(Scale::PERCENT);
    let mut now = shop.split(&rules(), percent(10.0));
    now[2]["backendRefs"][0]["weight"] = json!(1);
    assert_eq!(shop.weight(&now), None);
    assert_eq!(shop.weight(&rules()), None);
}

#[test]
fn a_backend_that_writes_its_defaults_out_is_ours() {
    let shop = splitter(Scale::PERCENT);
    let whole =
        json!({"group": "", "kind": "Service", "namespace": "mall", "name": "shop", "port": 80});
    let split = shop.split(&json!([{"backendRefs": [whole]}]), percent(10.0));
    let twin = &split[0]["backendRefs"][1];
    assert_eq!(
        (&twin["name"], &twin["namespace"], &twin["weight"]),
        (&json!("shop-canary"), &json!("mall"), &json!(10))
    );
    let elsewhere = json!([{"backendRefs": [{"namespace": "arcade", "name": "shop"}]}]);
    assert_eq!(shop.split(&elsewhere, percent(10.0)), elsewhere);
}

#[test]
fn of_a_named_rule_alone_the_share_is_split() {
    let shop = in_rule("pay");
    assert_eq!(shop.obstacle(&rules()), None);
    let split = shop.split(&rules(), percent(10.0));
    assert_eq!((&split[0], &split[1]), (&rules()[0], &rules()[1]));
    assert_eq!(split[2]["backendRefs"][1]["name"], "shop-canary");
    assert_eq!(shop.weight(&split), Some(percent(10.0)));
    assert_eq!(shop.merge(&split), rules());
    let everywhere = splitter(Scale::PERCENT).split(&rules(), percent(50.0));
    assert_eq!(
        shop.split(&everywhere, percent(10.0)),
        split,
        "the canary leaves every other rule"
    );
}

#[test]
fn what_cannot_be_split_says_why() {
    let fine = splitter(Scale::HUNDREDTHS);
    let whole = splitter(Scale::PERCENT);
    assert_eq!(whole.obstacle(&rules()), None);
    let absent = Splitter {
        service: "absent",
        ..whole
    };
    let service = || "shop".to_owned();
    assert!(matches!(
        absent.obstacle(&rules()),
        Some(Obstacle::NoBackend { rule: None, .. })
    ));
    assert_eq!(
        in_rule("refund").obstacle(&rules()),
        Some(Obstacle::NoSuchRule {
            rule: "refund".to_owned()
        })
    );
    let heavy = json!([{"backendRefs": [{"name": "shop", "weight": 101}]}]);
    assert_eq!(
        fine.obstacle(&heavy),
        Some(Obstacle::WeightTooLarge { rule: 0, max: 100 })
    );
    assert_eq!(whole.obstacle(&heavy), None);
    let idle = json!([{"backendRefs": [{"name": "shop", "weight": 0}, {"name": "other"}]}]);
    assert_eq!(
        whole.obstacle(&idle),
        Some(Obstacle::NoTraffic { service: service() })
    );
    let sticky = json!([{"backendRefs": [{"name": "shop"}], "sessionPersistence": {}}]);
    assert_eq!(
        whole.obstacle(&sticky),
        Some(Obstacle::WeightsIgnored {
            rule: 0,
            field: "sessionPersistence"
        })
    );
    let many: Vec<_> = (0..16)
        .map(|index| json!({"name": if index == 0 { "shop".into() } else { format!("b{index}") }}))
        .collect();
    assert_eq!(
        whole.obstacle(&json!([{"backendRefs": many}])),
        Some(Obstacle::TooManyBackends {
            rule: 0,
            backends: 16,
            max: 16
        })
    );
}

#[test]
fn two_rollouts_split_their_services_in_one_rule_in_any_order() {
    let shop = splitter(Scale::PERCENT);
    let legacy = Splitter {
        service: "legacy",
        canary: "legacy-canary",
        ..shop
    };
    let both = legacy.split(&shop.split(&rules(), percent(10.0)), percent(50.0));
    let other_way = shop.split(&legacy.split(&rules(), percent(50.0)), percent(10.0));
    for split in [&both, &other_way] {
        assert_eq!(shop.weight(split), Some(percent(10.0)));
        assert_eq!(legacy.weight(split), Some(percent(50.0)));
        // Three quarters of the traffic are the shop's, as before.
        let of_shop = Backends::of(&RouteRef::new(RouteKind::HttpRoute, "web"), "mall");
        let list = shop.shape().list(&split[0]);
        let sum = |name| of_shop.weight(list, name);
        let shops = sum("shop") + sum("shop-canary");
        assert_eq!(shops, 3 * (sum("legacy") + sum("legacy-canary")));
    }
    let back = shop.split(&both, Weight::ZERO);
    assert_eq!(legacy.weight(&back), Some(percent(50.0)));
    assert_eq!(legacy.merge(&shop.merge(&both)), rules());
    assert_eq!(shop.merge(&legacy.merge(&both)), rules());
}
