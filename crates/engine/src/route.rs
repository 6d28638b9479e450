//! Splitting the rules of an HTTPRoute between a Service and its canary.
//!
//! Only the share of our own Service is split: a backendRef of weight W becomes two, of W·(100−w)
//! and W·w, and every other weight of the rule grows alike, so that what the others get of the
//! traffic is unchanged. Rules stay JSON: fields that we do not know survive.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::weight::Weight;

/// By how much weights grow while a route is split: 100, or 10,000 where a share has a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(u32);

/// The greatest weight that the Gateway API allows.
const MAX_WEIGHT: u64 = 1_000_000;

/// How many backendRefs the Gateway API allows in one rule.
const MAX_BACKENDS: usize = 16;

// === impl Scale ===

impl Scale {
    /// For shares of whole percents.
    pub const PERCENT: Self = Self(100);

    /// For shares with a fraction.
    pub const HUNDREDTHS: Self = Self(10_000);

    /// How much of this scale is the canary's.
    fn share(self, weight: Weight) -> u32 {
        weight.hundredths() * self.0 / Weight::FULL.hundredths()
    }
}

/// The rules with the Service's share split, whether they are split already or not.
pub fn split(rules: &Value, service: &str, canary: &str, weight: Weight, scale: Scale) -> Value {
    map_rules(&merge(rules, service, canary, scale), |refs| {
        if !refs.iter().any(|one| is_service(one, service)) {
            return refs.to_vec();
        }
        refs.iter()
            .flat_map(|one| split_backend(one, service, canary, weight, scale))
            .collect()
    })
}

/// The rules as they were before they were split.
pub fn merge(rules: &Value, service: &str, canary: &str, scale: Scale) -> Value {
    map_rules(rules, |refs| {
        if !refs.iter().any(|one| is_service(one, canary)) {
            return refs.to_vec();
        }
        let stays = refs.iter().filter(|one| !is_service(one, canary));
        stays
            .map(|one| {
                let twin = refs
                    .iter()
                    .find(|twin| is_service(one, service) && is_twin(twin, one, canary));
                let sum = weight_of(one) + twin.map_or(0, weight_of);
                // Weights that somebody wrote by hand may be smaller than the scale: what had
                // traffic keeps some.
                with_weight(one, (sum / scale.0).max(sum.min(1)))
            })
            .collect()
    })
}

/// The canary's share in rules that are split; `None` where they are not, or do not agree.
pub fn weight(rules: &Value, service: &str, canary: &str) -> Option<Weight> {
    let mut shares = rule_backends(rules)
        .filter(|refs| refs.iter().any(|one| is_service(one, service)))
        .filter_map(|refs| {
            let sum = |name| -> u64 {
                refs.iter()
                    .filter(|one| is_service(one, name))
                    .map(|one| u64::from(weight_of(one)))
                    .sum()
            };
            if !refs.iter().any(|one| is_service(one, canary)) {
                return Some(None);
            }
            let (ours, theirs) = (sum(canary), sum(service));
            let all = ours + theirs;
            // A rule in which the Service has no traffic says nothing about shares.
            (all > 0).then(|| {
                let hundredths = ours * u64::from(Weight::FULL.hundredths());
                (hundredths % all == 0).then(|| {
                    Weight::from_hundredths((hundredths / all).try_into().unwrap_or(u32::MAX))
                })
            })
        });
    let first = shares.next()??;
    shares.all(|share| share == Some(first)).then_some(first)
}

/// Whether any rule sends traffic to the Service `name`.
pub fn names_backend(rules: &Value, name: &str) -> bool {
    rule_backends(rules).any(|refs| refs.iter().any(|one| is_service(one, name)))
}

/// The ports under which the rules name the Service `name`.
pub fn ports(rules: &Value, name: &str) -> BTreeSet<Option<u64>> {
    let ours = rule_backends(rules)
        .flatten()
        .filter(|one| is_service(one, name));
    ours.map(|one| one.get("port").and_then(Value::as_u64))
        .collect()
}

/// Why the rules cannot be split, in a sentence.
pub fn obstacle(rules: &Value, service: &str, scale: Scale) -> Option<String> {
    if !names_backend(rules, service) {
        return Some(format!(
            "none of its rules sends traffic to the Service {service}: add a backendRef for it"
        ));
    }
    let idle = |one: &Value| weight_of(one) == 0;
    if rule_backends(rules)
        .flatten()
        .filter(|one| is_service(one, service))
        .all(idle)
    {
        return Some(format!(
            "it gives the Service {service} the weight 0: a share of nothing cannot be split"
        ));
    }
    let all = rules.as_array().into_iter().flatten();
    for (index, rule) in all.enumerate() {
        let refs = backends(rule);
        let ours = refs.iter().filter(|one| is_service(one, service)).count();
        if ours == 0 {
            continue;
        }
        if refs.len() + ours > MAX_BACKENDS {
            return Some(format!(
                "rule {index} has {} backendRefs, and with the canary's it would have more than {MAX_BACKENDS}: take one out",
                refs.len()
            ));
        }
        if refs
            .iter()
            .any(|one| u64::from(weight_of(one)) * u64::from(scale.0) > MAX_WEIGHT)
        {
            return Some(format!(
                "rule {index} has a weight above {}, which cannot be split: write smaller weights in the same proportion",
                MAX_WEIGHT / u64::from(scale.0)
            ));
        }
        if rule.get("sessionPersistence").is_some() {
            return Some(format!(
                "rule {index} has sessionPersistence, under which weights do not hold: take it out for the time of releases"
            ));
        }
    }
    None
}

/// The one or two backendRefs that stand for `one` in a rule that is split.
fn split_backend(
    one: &Value,
    service: &str,
    canary: &str,
    weight: Weight,
    scale: Scale,
) -> Vec<Value> {
    let whole = weight_of(one);
    if !is_service(one, service) {
        return vec![with_weight(one, whole * scale.0)];
    }
    let share = scale.share(weight);
    let mut twin = with_weight(one, whole * share);
    twin["name"] = json!(canary);
    vec![with_weight(one, whole * (scale.0 - share)), twin]
}

/// Whether `twin` is the backendRef of the canary that was split off `one`.
fn is_twin(twin: &Value, one: &Value, canary: &str) -> bool {
    is_service(twin, canary) && twin.get("port") == one.get("port")
}

fn is_service(backend: &Value, name: &str) -> bool {
    let text = |key| backend.get(key).and_then(Value::as_str);
    text("name") == Some(name)
        && text("kind").unwrap_or("Service") == "Service"
        && text("group").unwrap_or_default().is_empty()
        && text("namespace").is_none()
}

fn weight_of(backend: &Value) -> u32 {
    backend
        .get("weight")
        .and_then(Value::as_u64)
        .and_then(|weight| weight.try_into().ok())
        .unwrap_or(1)
}

fn with_weight(backend: &Value, weight: u32) -> Value {
    let mut backend = backend.clone();
    backend["weight"] = json!(weight);
    backend
}

fn backends(rule: &Value) -> &[Value] {
    rule.get("backendRefs")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn rule_backends(rules: &Value) -> impl Iterator<Item = &[Value]> {
    rules.as_array().into_iter().flatten().map(backends)
}

/// The rules with the backendRefs of each replaced.
fn map_rules(rules: &Value, change: impl Fn(&[Value]) -> Vec<Value>) -> Value {
    let all = rules.as_array().into_iter().flatten();
    all.map(|rule| {
        let mut rule = rule.clone();
        if !backends(&rule).is_empty() {
            rule["backendRefs"] = change(backends(&rule)).into();
        }
        rule
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(percent: f64) -> Weight {
        Weight::from_percent(percent).expect("a weight")
    }

    fn rules() -> Value {
        json!([
            {"matches": [{"path": {"value": "/"}}], "backendRefs": [
                {"name": "shop", "port": 80, "weight": 3, "filters": [{"type": "X"}]},
                {"name": "legacy", "port": 80, "weight": 1}
            ]},
            {"backendRefs": [{"name": "other", "port": 80}]},
            {"backendRefs": [{"name": "shop", "port": 80, "weight": 1}]}
        ])
    }

    #[test]
    fn only_our_share_is_split_and_the_others_keep_theirs() {
        let split = split(
            &rules(),
            "shop",
            "shop-canary",
            percent(10.0),
            Scale::PERCENT,
        );
        assert_eq!(
            split[0]["backendRefs"],
            json!([
                {"name": "shop", "port": 80, "weight": 270, "filters": [{"type": "X"}]},
                {"name": "shop-canary", "port": 80, "weight": 30, "filters": [{"type": "X"}]},
                {"name": "legacy", "port": 80, "weight": 100}
            ])
        );
        assert_eq!(split[1], rules()[1]);
        assert_eq!(weight(&split, "shop", "shop-canary"), Some(percent(10.0)));
    }

    #[test]
    fn what_was_split_is_merged_to_what_it_was() {
        for scale in [Scale::PERCENT, Scale::HUNDREDTHS] {
            let mut now = rules();
            for share in [0.0, 1.0, 50.0, 100.0] {
                now = split(&now, "shop", "shop-canary", percent(share), scale);
                assert_eq!(weight(&now, "shop", "shop-canary"), Some(percent(share)));
            }
            assert_eq!(merge(&now, "shop", "shop-canary", scale), rules());
        }
    }

    #[test]
    fn what_has_traffic_keeps_some_whatever_somebody_wrote() {
        for (ours, theirs) in [(1, 0), (0, 1), (3, 2), (100, 0), (99, 99)] {
            for scale in [Scale::PERCENT, Scale::HUNDREDTHS] {
                let by_hand = json!([{"backendRefs": [
                    {"name": "shop", "port": 80, "weight": ours}, {"name": "shop-canary", "port": 80, "weight": theirs},
                ]}]);
                let merged = merge(&by_hand, "shop", "shop-canary", scale);
                assert!(
                    weight_of(&merged[0]["backendRefs"][0]) > 0,
                    "{ours}/{theirs} became {merged}"
                );
                let again = split(&by_hand, "shop", "shop-canary", percent(10.0), scale);
                assert_eq!(
                    weight(&again, "shop", "shop-canary"),
                    Some(percent(10.0)),
                    "{ours}/{theirs}: {again}"
                );
            }
        }
    }

    #[test]
    fn rules_that_disagree_have_no_weight() {
        let mut now = split(
            &rules(),
            "shop",
            "shop-canary",
            percent(10.0),
            Scale::PERCENT,
        );
        now[2]["backendRefs"][0]["weight"] = json!(1);
        assert_eq!(weight(&now, "shop", "shop-canary"), None);
        assert_eq!(weight(&rules(), "shop", "shop-canary"), None);
    }

    #[test]
    fn what_cannot_be_split_is_said_in_a_sentence() {
        assert_eq!(obstacle(&rules(), "shop", Scale::PERCENT), None);
        assert!(
            obstacle(&rules(), "absent", Scale::PERCENT)
                .is_some_and(|why| why.contains("add a backendRef"))
        );
        let heavy = json!([{"backendRefs": [{"name": "shop", "weight": 101}]}]);
        assert!(
            obstacle(&heavy, "shop", Scale::HUNDREDTHS)
                .is_some_and(|why| why.contains("smaller weights"))
        );
        assert_eq!(obstacle(&heavy, "shop", Scale::PERCENT), None);
        let idle = json!([{"backendRefs": [{"name": "shop", "weight": 0}, {"name": "other"}]}]);
        assert!(
            obstacle(&idle, "shop", Scale::PERCENT).is_some_and(|why| why.contains("weight 0"))
        );
        let sticky = json!([{"backendRefs": [{"name": "shop"}], "sessionPersistence": {}}]);
        assert!(obstacle(&sticky, "shop", Scale::PERCENT).is_some());
        let many: Vec<_> = (0..16)
            .map(|index| json!({"name": if index == 0 { "shop".into() } else { format!("b{index}") }}))
            .collect();
        assert!(obstacle(&json!([{"backendRefs": many}]), "shop", Scale::PERCENT).is_some());
    }
}
