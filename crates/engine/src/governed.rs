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
    let is_promoted = attempt.promoted_pod_template_hash.is_some()
        && attempt.stage != Stage::RollingBack
        && !attempt.has_failed();
    attempt.config.is_some() && attempt.stable_template_updated && !is_promoted
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
mod tests;
