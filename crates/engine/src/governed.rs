//! Which fields of the user's objects are Tidegate's while a Rollout governs them, whatever git says.
//!
//! Sync applies what these functions return, so that a commit in the middle of an attempt brings
//! everything but what the attempt holds. They read the persisted status alone: what is intended
//! there is what the objects must have, and the controller writes the same.

use serde_json::{Map, Value};
use tidegate_api::{
    names,
    status::{RolloutStatus, Stage},
};

use crate::{plan::Plan, route, weight::Weight};

/// Whose template the workload has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateInForce {
    /// Git's own: no revision has been ready yet, so that each new one goes straight in.
    Git,
    /// That of this revision, by its full name; it stands in the revision's `ControllerRevision`.
    Revision(String),
    /// Whatever the live workload has: it runs already and has not been adopted yet.
    Live,
}

/// Whose template the workload of a Rollout has to hold.
///
/// `first_deploy` says whether the workload came by a first deploy: that is, whether sync made it
/// itself.
pub fn template_in_force(status: Option<&RolloutStatus>, first_deploy: bool) -> TemplateInForce {
    let attempt = status.and_then(|status| status.attempt.as_ref());
    let stable = status.and_then(|status| status.stable.as_ref());
    match (attempt, stable) {
        (Some(attempt), Some(_))
            if attempt.template_in && attempt.stage != Stage::TakingBack && !rolled_back(attempt) =>
        {
            TemplateInForce::Revision(attempt.revision.clone())
        }
        (_, Some(stable)) => TemplateInForce::Revision(stable.revision.clone()),
        (_, None) if first_deploy => TemplateInForce::Git,
        (_, None) => TemplateInForce::Live,
    }
}

/// A Service as git wants it, with the live one's pin where an attempt runs.
pub fn governed_service(mut desired: Value, live: &Value, status: Option<&RolloutStatus>) -> Value {
    if status.is_none_or(|status| status.attempt.is_none()) {
        return desired;
    }
    let selector = desired.pointer_mut("/spec/selector").and_then(Value::as_object_mut);
    if let Some(selector) = selector {
        for key in [names::POD_TEMPLATE_HASH_LABEL, names::TRACK_LABEL] {
            if let Some(pin) = live.pointer("/spec/selector").and_then(|live| live.get(key)) {
                selector.insert(key.to_owned(), pin.clone());
            }
        }
    }
    keep_ports(&mut desired, live);
    desired
}

/// An HTTPRoute as git wants it, with the canary's backendRefs and the intended weights where an
/// attempt runs and `live` has them already.
pub fn governed_route(mut desired: Value, live: &Value, rollout: &str, status: Option<&RolloutStatus>) -> Value {
    let Some(attempt) = status.and_then(|status| status.attempt.as_ref()) else {
        return desired;
    };
    let Ok(plan) = Plan::parse(rollout, &attempt.plan) else {
        return desired;
    };
    let Plan { service, canary, .. } = &plan;
    let has_canary = live.pointer("/spec/rules").is_some_and(|rules| route::names_backend(rules, canary));
    let intended = Weight::from_percent(attempt.weight).unwrap_or(Weight::ZERO);
    // Traffic is taken away before that stands in a status.
    let live_weight = live.pointer("/spec/rules").and_then(|rules| route::weight(rules, service, canary));
    let weight = live_weight.map_or(intended, |live| live.min(intended));
    if has_canary && let Some(rules) = desired.pointer_mut("/spec/rules") {
        *rules = route::split(rules, service, canary, weight, plan.scale());
    }
    desired
}

/// The Service's ports wait with the template while an attempt runs.
fn keep_ports(desired: &mut Value, live: &Value) {
    let ports = live.pointer("/spec/ports").cloned();
    if let (Some(spec), Some(ports)) = (desired.get_mut("spec").and_then(Value::as_object_mut), ports) {
        Map::insert(spec, "ports".to_owned(), ports);
    }
}

/// Whether an attempt that let its template in has ended otherwise than by promotion.
fn rolled_back(attempt: &tidegate_api::status::Attempt) -> bool {
    attempt.ending.as_ref().is_some_and(|ending| ending.outcome != tidegate_api::record::Outcome::Promoted)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    /// A status whose attempt of B, with A stable, is in this stage.
    fn status(stage: &str, template_in: bool) -> RolloutStatus {
        let plan = json!({
            "workload": { "kind": "Deployment", "name": "web" },
            "traffic": { "gatewayAPI": { "httpRoutes": ["web"] } },
            "steps": [{ "weight": 20 }],
        });
        let at = "2026-03-01T12:00:00Z";
        serde_json::from_value(json!({
            "stable": { "revision": "A", "podTemplateHash": "aaa", "since": at },
            "attempt": {
                "number": 1, "id": "id", "revision": "B", "sequence": 2, "startedAt": at, "plan": plan,
                "stage": stage, "stageSince": at, "weight": 20.0, "templateIn": template_in,
            },
        }))
        .unwrap()
    }

    fn revision(name: &str) -> TemplateInForce {
        TemplateInForce::Revision(name.to_owned())
    }

    #[test]
    fn the_template_is_stables_until_promotion_lets_the_candidates_in() {
        assert_eq!(template_in_force(None, true), TemplateInForce::Git);
        assert_eq!(template_in_force(None, false), TemplateInForce::Live);
        assert_eq!(template_in_force(Some(&status("Stepping", false)), true), revision("A"));
        assert_eq!(template_in_force(Some(&status("Releasing", true)), true), revision("B"));
        assert_eq!(template_in_force(Some(&status("Draining", true)), true), revision("B"));
        assert_eq!(template_in_force(Some(&status("TakingBack", true)), true), revision("A"));
    }

    #[test]
    fn an_attempt_that_failed_keeps_stables_template_while_it_cleans_up() {
        let mut status = status("Draining", true);
        let ending =
            json!({ "outcome": "RolledBack", "reason": "GateBreached", "message": "", "at": "2026-03-01T12:00:00Z" });
        status.attempt.as_mut().unwrap().ending = Some(serde_json::from_value(ending).unwrap());
        assert_eq!(template_in_force(Some(&status), true), revision("A"));
    }

    #[test]
    fn a_service_keeps_its_pin_and_its_ports_while_an_attempt_runs() {
        let desired = json!({ "spec": { "selector": { "app": "web" }, "ports": [{ "port": 81 }] } });
        let live =
            json!({ "spec": { "selector": { "app": "web", "pod-template-hash": "aaa" }, "ports": [{ "port": 80 }] } });
        let held = governed_service(desired.clone(), &live, Some(&status("Stepping", false)));
        assert_eq!(held, live);
        assert_eq!(governed_service(desired.clone(), &live, None), desired);
        let at_rest = RolloutStatus { attempt: None, ..status("Stepping", false) };
        assert_eq!(governed_service(desired.clone(), &live, Some(&at_rest)), desired);
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
            let held = governed_route(desired.clone(), &live, "shop", Some(&status("Stepping", false)));
            let refs = &held["spec"]["rules"][0]["backendRefs"];
            assert_eq!((&refs[0]["weight"], &refs[1]["weight"]), (&json!(100 - wanted), &json!(wanted)), "{held}");
            assert_eq!(held["spec"]["rules"][0]["path"], "/new");
        }
        let untouched = governed_route(desired.clone(), &desired, "shop", Some(&status("Starting", false)));
        assert_eq!(untouched, desired);
    }
}
