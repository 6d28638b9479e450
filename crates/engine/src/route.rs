//! Splitting a route between a Service and its canary.
//!
//! Nearly every router keeps lists of weighted backends in the rules of an object. The arithmetic
//! over such lists is here. A [`Shape`] says for the kinds that share it where the lists are, what
//! names a backend and which weights may stand there; [`Shape::of`] picks it by kind. Rules stay
//! JSON, so that fields that are not known here survive.
//!
//! Only the share of our own Service is split: a backend of weight W becomes two, of W·(100−w) and
//! W·w, and every other weight of the rule grows alike, so that what the others get of the traffic
//! is unchanged.
//!
//! | module | content |
//! |---|---|
//! | `shape` | what tells one kind of route from another |
//! | `gateway_api` | the shape of HTTPRoute and its siblings |
//! | `obstacle` | why a route cannot be split |
//! | `scale` | the scale of its weights |
//! | `pending` | routes that a change waits for, and the gateways in the way |

mod gateway_api;
mod obstacle;
mod pending;
pub(crate) mod scale;
mod shape;

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_api::route::RouteRef;

use self::shape::Shape;
pub use self::{
    obstacle::Obstacle,
    pending::{PendingParent, PendingRoute, Refusal},
    scale::Scale,
};
use crate::{plan::Plan, weight::Weight};

/// Backends of the Services of one namespace in the rules of one route.
#[derive(Clone, Copy, Debug)]
pub struct Backends<'a> {
    shape: &'static Shape,
    namespace: &'a str,
}

/// Split of a route between a Service and its canary.
#[derive(Clone, Copy, Debug)]
pub struct Splitter<'a> {
    backends: Backends<'a>,
    /// Name of the only rule that is split.
    section: Option<&'a str>,
    service: &'a str,
    canary: &'a str,
    scale: Scale,
}

// === impl Backends ===

impl<'a> Backends<'a> {
    /// Backends in a route of this namespace.
    pub fn of(route: &RouteRef, namespace: &'a str) -> Self {
        Self {
            shape: Shape::of(route.kind),
            namespace,
        }
    }

    /// JSON pointer to the rules in the route.
    pub fn rules_path(self) -> &'static str {
        self.shape.rules_path
    }

    /// Tells whether any rule sends traffic to the Service `name`.
    pub fn name(self, rules: &Value, name: &str) -> bool {
        self.lists(rules).any(|list| self.contain(list, name))
    }

    /// Returns the names of the rules that send traffic to the Service `name`, `None` for one without.
    pub fn rules_with(self, rules: &Value, name: &str) -> Vec<Option<String>> {
        let with = rules_of(rules).iter().filter(|rule| {
            let list = self.shape.list(rule);
            self.contain(list, name) && self.weight(list, name) > 0
        });
        with.map(|rule| {
            let name = rule.get(self.shape.rule_name).and_then(Value::as_str);
            name.map(str::to_owned)
        })
        .collect()
    }

    /// Returns the ports under which the rules name the Service `name`.
    pub fn ports(self, rules: &Value, name: &str) -> BTreeSet<Option<u64>> {
        self.lists(rules)
            .flatten()
            .filter(|backend| self.is_service(backend, name))
            .map(|backend| (self.shape.port)(backend))
            .collect()
    }

    fn is_service(self, backend: &Value, name: &str) -> bool {
        (self.shape.is_service)(backend, name, self.namespace)
    }

    fn contain(self, list: &[Value], name: &str) -> bool {
        list.iter().any(|backend| self.is_service(backend, name))
    }

    fn lists(self, rules: &Value) -> impl Iterator<Item = &[Value]> {
        rules_of(rules)
            .iter()
            .map(move |rule| self.shape.list(rule))
    }

    /// Returns the sum of the weights of a Service in a list.
    fn weight(self, list: &[Value], name: &str) -> u64 {
        list.iter()
            .filter(|backend| self.is_service(backend, name))
            .map(|backend| u64::from(self.shape.weight(backend)))
            .sum()
    }
}

// === impl Splitter ===

impl<'a> Splitter<'a> {
    /// Split of a route of the plan.
    pub fn of(route: &'a RouteRef, namespace: &'a str, plan: &'a Plan) -> Self {
        Self {
            backends: Backends::of(route, namespace),
            section: route.section_name.as_deref(),
            // There are routes only where there is a Service.
            service: plan.service.as_deref().unwrap_or_default(),
            canary: &plan.canary,
            scale: plan.scale(),
        }
    }

    /// JSON pointer to the rules in the route.
    pub fn rules_path(self) -> &'static str {
        self.backends.rules_path()
    }

    /// Tells whether any rule names the canary.
    pub fn is_split(self, rules: &Value) -> bool {
        self.backends.name(rules, self.canary)
    }

    /// Returns the rules with the Service's share split, whether they were split before or not.
    pub fn split(self, rules: &Value, weight: Weight) -> Value {
        let mut rules = self.merge(rules);
        for rule in rules.as_array_mut().into_iter().flatten() {
            if !self.is_ours(rule) {
                continue;
            }
            let list = self.shape().list(rule);
            let split = list
                .iter()
                .flat_map(|backend| self.split_backend(backend, weight))
                .collect();
            self.shape().set_list(rule, split);
        }
        rules
    }

    /// Returns the rules as they were before they were split.
    pub fn merge(self, rules: &Value) -> Value {
        let mut rules = rules_of(rules).to_vec();
        for rule in &mut rules {
            let list = self.shape().list(rule);
            if !self.backends.contain(list, self.canary) {
                continue;
            }
            let merged = list
                .iter()
                .filter(|backend| !self.backends.is_service(backend, self.canary))
                .map(|backend| self.merge_backend(backend, list))
                .collect();
            self.shape().set_list(rule, merged);
        }
        Value::Array(rules)
    }

    /// Returns the canary's share in rules that are split; `None` where they are not, or do not
    /// agree.
    pub fn weight(self, rules: &Value) -> Option<Weight> {
        let mut agreed = None;
        for rule in rules_of(rules) {
            let list = self.shape().list(rule);
            let canary_named = self.backends.contain(list, self.canary);
            if !self.backends.contain(list, self.service) || !(canary_named || self.is_ours(rule)) {
                continue;
            }
            if !canary_named {
                return None;
            }
            let canary = self.backends.weight(list, self.canary);
            let both = canary + self.backends.weight(list, self.service);
            // A rule in which the Service has no traffic says nothing about shares.
            if both == 0 {
                continue;
            }
            let share = exact_share(canary, both)?;
            if agreed.is_some_and(|agreed| agreed != share) {
                return None;
            }
            agreed = Some(share);
        }
        agreed
    }

    /// Returns the reason why the rules cannot be split, if there is one.
    pub fn obstacle(self, rules: &Value) -> Option<Obstacle> {
        let all = rules_of(rules);
        if let Some(section) = self.section
            && !all.iter().any(|rule| self.shape().is_named(rule, section))
        {
            return Some(Obstacle::NoSuchRule {
                rule: section.to_owned(),
            });
        }
        let service = self.service.to_owned();
        let ours = all
            .iter()
            .enumerate()
            .filter(|(_, rule)| self.is_ours(rule));
        let mut ours = ours.peekable();
        if ours.peek().is_none() {
            return Some(Obstacle::NoBackend {
                rule: self.section.map(str::to_owned),
                service,
            });
        }
        let has_traffic = |(_, rule): (usize, &Value)| {
            self.backends.weight(self.shape().list(rule), self.service) > 0
        };
        if !ours.clone().any(has_traffic) {
            return Some(Obstacle::NoTraffic { service });
        }
        ours.find_map(|(index, rule)| self.obstacle_in(index, rule))
    }

    fn obstacle_in(self, index: usize, rule: &Value) -> Option<Obstacle> {
        let shape = self.shape();
        let list = shape.list(rule);
        let added = list
            .iter()
            .filter(|backend| self.backends.is_service(backend, self.service))
            .count();
        if list.len() + added > shape.max_backends {
            return Some(Obstacle::TooManyBackends {
                rule: index,
                backends: list.len(),
                max: shape.max_backends,
            });
        }
        let max = shape.max_weight / self.scale.0;
        if list.iter().any(|backend| shape.weight(backend) > max) {
            return Some(Obstacle::WeightTooLarge { rule: index, max });
        }
        let field = (shape.unsplittable)(rule)?;
        Some(Obstacle::WeightsIgnored { rule: index, field })
    }

    /// Tells whether the rule is one whose lists are split.
    fn is_ours(self, rule: &Value) -> bool {
        self.section
            .is_none_or(|section| self.shape().is_named(rule, section))
            && self.backends.contain(self.shape().list(rule), self.service)
    }

    /// Returns the one or two backends that stand for `backend` in a rule that is split.
    fn split_backend(self, backend: &Value, weight: Weight) -> Vec<Value> {
        let shape = self.shape();
        let whole = shape.weight(backend);
        if !self.backends.is_service(backend, self.service) {
            return vec![shape.with_weight(backend, whole * self.scale.0)];
        }
        let share = self.scale.share(weight);
        let mut twin = shape.with_weight(backend, whole * share);
        (shape.rename)(&mut twin, self.canary);
        vec![
            shape.with_weight(backend, whole * (self.scale.0 - share)),
            twin,
        ]
    }

    /// Returns the backend with the weight that it had before its list was split.
    fn merge_backend(self, backend: &Value, list: &[Value]) -> Value {
        let shape = self.shape();
        let mut sum = shape.weight(backend);
        if self.backends.is_service(backend, self.service) {
            sum += list
                .iter()
                .find(|twin| self.is_twin(twin, backend))
                .map_or(0, |twin| shape.weight(twin));
        }
        // Weights that somebody wrote by hand may be smaller than the scale: what had traffic keeps
        // some.
        shape.with_weight(backend, (sum / self.scale.0).max(sum.min(1)))
    }

    /// Tells whether `twin` is the canary's backend that was split off `backend`.
    fn is_twin(self, twin: &Value, backend: &Value) -> bool {
        self.backends.is_service(twin, self.canary)
            && (self.shape().port)(twin) == (self.shape().port)(backend)
    }

    fn shape(self) -> &'static Shape {
        self.backends.shape
    }
}

fn rules_of(rules: &Value) -> &[Value] {
    rules.as_array().map_or(&[], Vec::as_slice)
}

/// Returns `part` of `whole` as a weight, where it is one.
fn exact_share(part: u64, whole: u64) -> Option<Weight> {
    let hundredths = part * u64::from(Weight::FULL.hundredths());
    if !hundredths.is_multiple_of(whole) {
        return None;
    }
    Some(Weight::from_hundredths(
        (hundredths / whole).try_into().unwrap_or(u32::MAX),
    ))
}

#[cfg(test)]
mod tests;
