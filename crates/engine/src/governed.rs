//! Governed fields: fields of the user's objects that are Tidegate's, whatever git says.
//!
//! Sync applies what these functions return, so that a commit in the middle of an attempt brings
//! everything but what the attempt holds. They read the persisted status alone: what is intended
//! there is what the objects must have, and the controller writes the same.

use serde_json::{Value, json};
use tidegate_api::{
    Revision, names,
    route::RouteRef,
    status::{Attempt, RolloutStatus, Stage},
};

use crate::{
    pin,
    plan::Plan,
    route::{Backends, Splitter},
};

/// Facts that decide about the governed fields of a Rollout's Services and routes.
#[derive(Clone, Copy, Debug)]
pub struct Governing<'a> {
    /// Namespace of the Rollout.
    pub namespace: &'a str,
    /// The Rollout's name.
    pub rollout: &'a str,
    /// The Service that its callers use.
    pub service: &'a str,
    /// Its status.
    pub status: Option<&'a RolloutStatus>,
    /// The revision that git wants, where git has the workload.
    pub wanted: Option<&'a Revision>,
}

/// Owner of the template that the workload has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateInForce {
    /// Git's own: no revision has been ready yet, so that each new one goes straight in.
    Git,
    /// That of this revision, by its full name; it stands in the revision's `ControllerRevision`.
    Revision(Revision),
    /// Whatever the live workload has: it runs already and has not been adopted yet, or an attempt is about to change it
    /// together with its config.
    Live,
}

/// Returns the owner of the template that the workload of a Rollout has to hold.
///
/// `first_deploy` says whether the workload came by a first deploy: that is, whether sync made it
/// itself.
pub fn template_in_force(status: Option<&RolloutStatus>, first_deploy: bool) -> TemplateInForce {
    let attempt = status.and_then(|status| status.attempt.as_ref());
    let stable = status.and_then(|status| status.stable.as_ref());
    match (attempt, stable) {
        // Its config goes before it, either way.
        (Some(attempt), Some(_)) if is_switching(attempt) => TemplateInForce::Live,
        (Some(attempt), Some(_))
            if attempt.stable_template_updated
                && attempt.stage != Stage::RollingBack
                && !attempt.has_failed() =>
        {
            TemplateInForce::Revision(attempt.revision.clone())
        }
        (_, Some(stable)) => TemplateInForce::Revision(stable.revision.clone()),
        (_, None) if first_deploy => TemplateInForce::Git,
        (_, None) => TemplateInForce::Live,
    }
}

/// Returns true while an attempt writes the workload's template and the config that it names, or puts both back.
fn is_switching(attempt: &Attempt) -> bool {
    let is_promoted = attempt.promoted_pod_template_hash.is_some() && !attempt.has_failed();
    attempt.config.is_some()
        && attempt.stable_template_updated
        && (attempt.stage == Stage::RollingBack || !is_promoted)
}

/// Returns the digest of released config that the pods of a revision bear, if they do.
pub fn released_config<'a>(status: &'a RolloutStatus, revision: &Revision) -> Option<&'a str> {
    let stable = status.stable.as_ref();
    let attempt = status.attempt.as_ref();
    if let Some(stable) = stable.filter(|stable| stable.revision == *revision) {
        return stable.config.as_deref();
    }
    let config = attempt.filter(|attempt| attempt.revision == *revision)?;
    Some(config.config.as_ref()?.digest.as_str())
}

/// Comparison of a field as git wants it with the live one.
type Equality = fn(&Value, &Value) -> bool;

// === impl Governing ===

impl Governing<'_> {
    /// Returns a Service as git wants it. While an attempt runs, and while git's template waits for
    /// one, the live selector, pin included, and ports stay: they are those of the pods that run.
    /// An annotation names the fields that wait so, for people and for preflight.
    pub fn service(&self, mut desired: Value, live: &Value) -> Value {
        // A pin that nobody's status tells of was left by a Rollout that was deleted without its finalizer:
        // its successor takes it off, once the canary is gone.
        let is_marked = live["metadata"]["annotations"].get(names::EPOCH_ANNOTATION);
        if !self.keeps_live_fields() && is_marked.is_none() {
            return desired;
        }
        let fields: [(&str, Equality); 2] =
            [("selector", is_same_selector), ("ports", are_same_ports)];
        let mut waiting = Vec::new();
        for (field, is_same) in fields {
            let path = format!("/spec/{field}");
            let Some(live) = live.pointer(&path) else {
                continue;
            };
            let wanted = desired.pointer(&path).unwrap_or(&Value::Null);
            if !is_same(wanted, live) {
                waiting.push(field);
            }
            desired["spec"][field] = live.clone();
        }
        if !waiting.is_empty() {
            desired["metadata"]["annotations"][names::WAITING_ANNOTATION] =
                json!(waiting.join(" and "));
        }
        desired
    }

    /// Returns true if the rules of a route wait: they name a new port while ports wait.
    fn holds_rules(&self, backends: Backends<'_>, wanted: &Value, live: &Value) -> bool {
        let ports = backends.ports(wanted, self.service);
        self.keeps_live_fields() && !ports.is_subset(&backends.ports(live, self.service))
    }

    /// Puts the canary's backends with the intended weights into the rules of a route, where an
    /// attempt runs and the live ones have them already.
    fn split(&self, route: &RouteRef, rules: &mut Value, live_rules: &Value) {
        let attempt = self.status.and_then(|status| status.attempt.as_ref());
        let Some((attempt, plan)) = attempt
            .and_then(|attempt| Some((attempt, Plan::parse(self.rollout, &attempt.plan).ok()?)))
        else {
            return;
        };
        // The attempt's own reference says which rules it has split.
        let route = plan
            .routes
            .iter()
            .find(|planned| planned.is_same_object(route))
            .unwrap_or(route);
        let splitter = Splitter::of(route, self.namespace, &plan);
        let intended = attempt.weight;
        // Traffic is taken away before that stands in a status.
        let weight = splitter
            .weight(live_rules)
            .map_or(intended, |live| live.min(intended));
        if splitter.is_split(live_rules) {
            *rules = splitter.split(rules, weight);
        }
    }

    /// Returns true while an attempt runs, or git's template waits for one.
    pub fn keeps_live_fields(&self) -> bool {
        let Some(status) = self.status else {
            return false;
        };
        if status.attempt.is_some() {
            return true;
        }
        match (&status.stable, self.wanted) {
            (Some(stable), Some(wanted)) => *wanted != stable.revision,
            (None, _) | (_, None) => false,
        }
    }
}

/// Returns a route as git wants it, with the backends of the canaries and the intended weights of every
/// Rollout that splits it. While the ports of one wait, so do rules that name a new one.
pub fn route(splits: &[(Governing<'_>, &RouteRef)], mut desired: Value, live: &Value) -> Value {
    let Some((first, route)) = splits.first() else {
        return desired;
    };
    let path = Backends::of(route, first.namespace).rules_path();
    let Some(live_rules) = live.pointer(path) else {
        return desired;
    };
    let Some(rules) = desired.pointer_mut(path) else {
        return desired;
    };
    // First of all: what one holds back must not undo what another splits.
    let is_held = splits.iter().any(|(governing, route)| {
        governing.holds_rules(Backends::of(route, governing.namespace), rules, live_rules)
    });
    if is_held {
        rules.clone_from(live_rules);
    }
    for (governing, route) in splits {
        governing.split(route, rules, live_rules);
    }
    desired
}

/// Returns true if two selectors are the same but for a pin.
fn is_same_selector(wanted: &Value, live: &Value) -> bool {
    without_pin(wanted) == without_pin(live)
}

fn without_pin(selector: &Value) -> serde_json::Map<String, Value> {
    let mut own = selector.as_object().cloned().unwrap_or_default();
    own.retain(|key, _| !pin::is_label(key));
    own
}

/// Returns true if two lists of ports lead to the same ports of pods: defaults of the API server and
/// nodePorts do not count.
fn are_same_ports(wanted: &Value, live: &Value) -> bool {
    targets(wanted) == targets(live)
}

/// Returns the fields of each port that decide about the port of the pods.
fn targets(ports: &Value) -> Vec<[Value; 5]> {
    let ports = ports.as_array().into_iter().flatten();
    ports.map(target).collect()
}

fn target(port: &Value) -> [Value; 5] {
    let fields = ["name", "port", "targetPort", "protocol", "appProtocol"]
        .map(|field| port.get(field).cloned());
    let [name, number, target, protocol, app_protocol] = fields;
    let number = number.unwrap_or_default();
    [
        name.unwrap_or_default(),
        target.unwrap_or_else(|| number.clone()),
        number,
        protocol.unwrap_or_else(|| json!("TCP")),
        app_protocol.unwrap_or_default(),
    ]
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
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

    fn governing<'a>(
        status: Option<&'a RolloutStatus>,
        wanted: Option<&'a Revision>,
    ) -> Governing<'a> {
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
        let desired =
            json!({ "spec": { "selector": { "app": "cart" }, "ports": [{ "port": 81 }] } });
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
        let live = service(
            json!({ "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080 }),
        );
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
}
