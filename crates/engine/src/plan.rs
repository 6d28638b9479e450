//! The plan of a release, parsed once into types that cannot be wrong.

mod error;

use std::collections::BTreeSet;

use jiff::SignedDuration;
use tidegate_api::{
    Duration, names,
    rollout::{
        CanaryMetadata, FailoverPolicy, KnownGood, Metrics, OnNewRevision, RolloutSpec, canary_name,
    },
    route::RouteRef,
    status::Shortcut,
    workload::WorkloadRef,
};

pub use self::error::PlanError;
use crate::{
    gate::{self, Gate},
    route::scale::Scale,
    weight::Weight,
};

/// Domain of the labels and annotations that are Tidegate's own.
const OWN_DOMAIN: &str = "tidegate.io/";

/// Plan of a release: a [`RolloutSpec`] with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The Rollout's name.
    pub name: String,
    /// Workload that is released.
    pub workload: WorkloadRef,
    /// The Service that callers use; none where nobody calls the workload.
    pub service: Option<String>,
    /// Name of the canary workload and of the canary Service.
    pub canary: String,
    /// Routes in which traffic is split, each once; none where it is split by shares of replicas.
    pub routes: Vec<RouteRef>,
    /// The steps; the last one has weight 100, implied where the spec does not end so.
    pub steps: Vec<Step>,
    /// The gates.
    pub gates: Vec<Gate>,
    /// Prometheus at which they are read, if it is not the operator's.
    pub metrics: Option<Metrics>,
    /// Time for which endpoints must not change before traffic moves to them.
    pub settle: SignedDuration,
    /// Time without progress that pods may take to become ready.
    pub progress_deadline: SignedDuration,
    /// Time that is waited for what is not the revision's fault; at least the progress deadline.
    pub blocked_timeout: SignedDuration,
    /// Release of a revision that was promoted before.
    pub known_good: KnownGood,
    /// Number of promoted revisions that are remembered.
    pub revision_history_limit: usize,
    /// Running attempt when a newer revision comes.
    pub on_new_revision: OnNewRevision,
    /// Traffic while stable has no ready endpoint.
    pub failover: FailoverPolicy,
    /// Metadata that the canary's objects bear beside what they take over from stable's.
    pub canary_metadata: CanaryMetadata,
    /// Time for which a pod of a canary that failed is retained.
    pub keep_failed: SignedDuration,
    /// True if two versions may run side by side whatever the template says.
    pub allow_parallel: bool,
}

/// A place on the way of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The canary's share of traffic.
    pub weight: Weight,
    /// The least time that it lasts.
    pub hold: SignedDuration,
    /// Approval that the release waits for.
    pub approval: Option<Approval>,
    /// Number of the canary's replicas, if it is not its share of stable's.
    pub replicas: Option<u32>,
}

/// Wait for an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Maximum time to wait.
    pub timeout: Option<SignedDuration>,
}

// === impl Plan ===

impl Plan {
    /// Parses the spec of the Rollout `name`.
    pub fn parse(name: &str, spec: &RolloutSpec) -> Result<Self, PlanError> {
        if name.len() > names::MAX_ROLLOUT_NAME {
            return Err(PlanError::NameTooLong {
                name: name.to_owned(),
            });
        }
        if spec.is_without_service() {
            check_without_service(spec)?;
        }
        Ok(Self {
            name: name.to_owned(),
            workload: spec.workload.clone(),
            service: spec.service_name().map(str::to_owned),
            canary: canary_name(name),
            routes: parse_routes(spec)?,
            steps: parse_steps(spec)?,
            gates: parse_gates(spec)?,
            metrics: spec.metrics.clone(),
            settle: spec.settle.as_signed(),
            progress_deadline: spec.progress_deadline.as_signed(),
            blocked_timeout: spec.blocked_timeout.max(spec.progress_deadline).as_signed(),
            known_good: spec.known_good,
            revision_history_limit: spec.revision_history_limit as usize,
            on_new_revision: spec.on_new_revision,
            failover: spec.failover,
            canary_metadata: parse_canary_metadata(spec)?,
            keep_failed: keep_failed(spec),
            allow_parallel: spec.allow_parallel,
        })
    }

    /// Parses the spec; where its steps, gates or canary are refused, the objects that it names, so that what
    /// an attempt has left is put right all the same.
    pub fn or_objects(name: &str, spec: &RolloutSpec) -> Result<Self, PlanError> {
        if let Ok(plan) = Self::parse(name, spec) {
            return Ok(plan);
        }
        // The scale of the routes comes from the weights, which a refused spec may still tell.
        let steps = match spec.traffic.replicas {
            Some(_) => &[][..],
            None => &spec.steps,
        };
        let weights = steps.iter().filter_map(|step| step.weight);
        let last = if spec.is_without_service() {
            half()
        } else {
            Weight::FULL
        };
        let steps = weights.chain([last]).map(at_once);
        let objects = RolloutSpec {
            steps: steps.collect(),
            gates: Vec::new(),
            canary: None,
            service: spec.service.clone().filter(|_| !spec.is_without_service()),
            ..spec.clone()
        };
        Self::parse(name, &objects)
    }

    /// Time from a scrape until its samples can be queried.
    pub fn ingest_delay(&self) -> SignedDuration {
        ingest_delay(self.metrics.as_ref())
    }

    /// By how much the weights of routes grow under this plan.
    pub fn scale(&self) -> Scale {
        if self.steps.iter().all(|step| step.weight.is_whole()) {
            Scale::PERCENT
        } else {
            Scale::HUNDREDTHS
        }
    }

    /// Returns true if traffic is split by shares of replicas: the Services select the pods of both versions.
    pub fn splits_by_replicas(&self) -> bool {
        self.routes.is_empty()
    }

    /// Returns true if nobody calls the workload: its pods take work as soon as they run, and the canary's share is
    /// that of its pods.
    pub fn is_without_service(&self) -> bool {
        self.service.is_none()
    }

    /// Returns the number of replicas that the canary needs in a step beside `stable` ones.
    pub fn canary_replicas(&self, step: &Step, stable: u32) -> u32 {
        if self.is_without_service() {
            working_replicas(step.weight, stable)
        } else if self.splits_by_replicas() {
            step.weight.beside_replicas(stable)
        } else {
            step.canary_replicas(stable)
        }
    }

    /// Canary workload: of the same kind as the workload that is released.
    pub fn canary_workload(&self) -> WorkloadRef {
        WorkloadRef::new(self.workload.kind, self.canary.clone())
    }

    /// The step of this number, from 1.
    pub fn step(&self, number: u32) -> Option<&Step> {
        self.steps.get((number as usize).checked_sub(1)?)
    }

    /// Returns the number of the step that a release enters where `number` is next. What was good before
    /// needs its approvals alone, and what a person asked for not even these.
    pub(crate) fn next_stop(&self, shortcut: Option<Shortcut>, number: u32) -> u32 {
        let last = self.last_step();
        match shortcut {
            None => number,
            Some(Shortcut::Promote) => last,
            Some(Shortcut::KnownGood) => (number..last)
                .find(|number| {
                    self.step(*number)
                        .is_some_and(|step| step.approval.is_some())
                })
                .unwrap_or(last),
        }
    }

    /// The number of the last step: the one in which the canary has everything.
    pub(crate) fn last_step(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }
}

// === impl Step ===

impl Step {
    fn with_weight(
        weight: Weight,
        step: &tidegate_api::rollout::Step,
        index: usize,
    ) -> Result<Self, PlanError> {
        let hold = match step.hold {
            Some(hold) => hold.as_signed(),
            None if weight == Weight::ZERO => SignedDuration::ZERO,
            None => return Err(PlanError::NoHold { index }),
        };
        Ok(Self {
            weight,
            hold,
            approval: None,
            replicas: step.replicas,
        })
    }

    /// Returns the step that waits for an approval at the weight of this one.
    fn awaiting(&self, approval: &tidegate_api::rollout::Approval) -> Self {
        Self {
            hold: SignedDuration::ZERO,
            approval: Some(Approval {
                timeout: approval.timeout.map(Duration::as_signed),
            }),
            ..self.clone()
        }
    }

    /// Returns the number of replicas that the canary needs where routes split traffic.
    fn canary_replicas(&self, stable: u32) -> u32 {
        let share = self.weight.of_replicas(stable);
        match self.replicas {
            Some(replicas) if self.weight < Weight::FULL => replicas,
            Some(replicas) => replicas.max(share),
            None => share,
        }
    }
}

/// Returns the number of replicas that make this share of the work beside `stable` others.
pub(crate) fn working_replicas(weight: Weight, stable: u32) -> u32 {
    if weight == Weight::ZERO {
        return 0;
    }
    weight.beside_replicas(stable)
}

/// A step without a hold.
fn at_once(weight: tidegate_api::Weight) -> tidegate_api::rollout::Step {
    tidegate_api::rollout::Step {
        weight: Some(weight),
        hold: Some(tidegate_api::Duration::from_secs(0)),
        ..tidegate_api::rollout::Step::default()
    }
}

fn parse_routes(spec: &RolloutSpec) -> Result<Vec<RouteRef>, PlanError> {
    let mut routes: Vec<RouteRef> = Vec::new();
    for route in spec.routes() {
        let group = route.group.as_deref();
        if group.is_some_and(|group| group != route.kind.group()) {
            return Err(PlanError::RouteGroup { route });
        }
        if routes.iter().any(|before| before.is_same_object(&route)) {
            return Err(PlanError::DuplicateRoute { route });
        }
        routes.push(route);
    }
    if routes.is_empty() != spec.splits_by_replicas() {
        return Err(PlanError::TrafficKind);
    }
    routes.sort_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
    Ok(routes)
}

fn parse_steps(spec: &RolloutSpec) -> Result<Vec<Step>, PlanError> {
    let mut steps: Vec<Step> = Vec::with_capacity(spec.steps.len() + 1);
    let mut last_hold = SignedDuration::ZERO;
    for (index, step) in spec.steps.iter().enumerate() {
        let parsed = match (step.weight, &step.approval) {
            (Some(weight), None) => Step::with_weight(weight, step, index)?,
            (None, Some(approval)) => steps
                .last()
                .ok_or(PlanError::ApprovalFirst)?
                .awaiting(approval),
            (Some(_), Some(_)) | (None, None) => return Err(PlanError::StepKind { index }),
        };
        if spec.splits_by_replicas() {
            check_share(spec, &parsed, index)?;
        }
        if parsed.approval.is_none() {
            last_hold = parsed.hold;
        }
        steps.push(parsed);
    }
    let last = steps.last().ok_or(PlanError::NoSteps)?;
    if spec.is_without_service() {
        // Nothing is to be taken over from stable before it is updated: the last share is what is verified.
        return if last.weight == Weight::ZERO {
            Err(PlanError::NoWorkAtTheEnd)
        } else {
            Ok(steps)
        };
    }
    if last.weight < Weight::FULL {
        steps.push(Step {
            weight: Weight::FULL,
            hold: last_hold,
            approval: None,
            replicas: None,
        });
    }
    Ok(steps)
}

/// Half of the pods at most are the canary's: more would take pods from stable.
fn check_share(spec: &RolloutSpec, step: &Step, index: usize) -> Result<(), PlanError> {
    if step.replicas.is_some() {
        return Err(PlanError::ReplicasOfStep { index });
    }
    let weight = step.weight;
    if weight <= half() {
        Ok(())
    } else if spec.is_without_service() {
        Err(PlanError::WeightWithoutService { index, weight })
    } else if weight < Weight::FULL {
        Err(PlanError::ReplicaWeight { index, weight })
    } else {
        Ok(())
    }
}

fn half() -> Weight {
    Weight::from_hundredths(Weight::FULL.hundredths() / 2)
}

/// Nobody calls the workload, so nothing that is for callers may be set.
fn check_without_service(spec: &RolloutSpec) -> Result<(), PlanError> {
    if let Some(service) = &spec.service {
        let service = service.clone();
        return Err(PlanError::ServiceRuledOut { service });
    }
    if keep_failed(spec).is_zero() {
        Ok(())
    } else {
        Err(PlanError::RetainedWorker)
    }
}

fn keep_failed(spec: &RolloutSpec) -> SignedDuration {
    let canary = spec.canary.as_ref();
    canary.map_or(SignedDuration::ZERO, |canary| {
        canary.keep_failed.as_signed()
    })
}

fn parse_canary_metadata(spec: &RolloutSpec) -> Result<CanaryMetadata, PlanError> {
    let canary = spec.canary.clone().unwrap_or_default();
    let CanaryMetadata {
        labels,
        annotations,
    } = &canary.metadata;
    let mut keys = labels.keys().chain(annotations.keys());
    match keys.find(|key| key.starts_with(OWN_DOMAIN)) {
        Some(key) => Err(PlanError::CanaryMetadata { key: key.clone() }),
        None => Ok(canary.metadata),
    }
}

fn ingest_delay(metrics: Option<&Metrics>) -> SignedDuration {
    metrics.map_or(SignedDuration::ZERO, |metrics| {
        metrics.ingest_delay.as_signed()
    })
}

fn parse_gates(spec: &RolloutSpec) -> Result<Vec<Gate>, PlanError> {
    let mut observed = BTreeSet::new();
    let ingest_delay = ingest_delay(spec.metrics.as_ref());
    let parse = |gate: &tidegate_api::gate::Gate| {
        let name = gate.name.clone();
        if !observed.insert(name.clone()) {
            return Err(PlanError::DuplicateGate { name });
        }
        let parsed = Gate::parse(gate).map_err(|error| PlanError::Gate { name, error })?;
        Ok(Gate {
            ingest_delay,
            ..parsed
        })
    };
    let gates: Vec<Gate> = spec.gates.iter().map(parse).collect::<Result<_, _>>()?;
    let mut about_service = gates.iter().filter(|gate| asks_of_service(gate));
    match about_service.next() {
        Some(gate) if spec.is_without_service() => Err(PlanError::ServiceInQuery {
            name: gate.name.clone(),
        }),
        Some(_) | None => Ok(gate::sharing_false_alarms(gates)),
    }
}

/// Returns true if a query uses the name of the Service.
fn asks_of_service(gate: &Gate) -> bool {
    let queries = gate.queries();
    let mut placeholders = queries
        .iter()
        .flat_map(|query| query.text.split("{{").skip(1));
    placeholders.any(|rest| {
        let name = rest.split("}}").next().unwrap_or_default();
        name.trim() == "service"
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(steps: &serde_json::Value) -> RolloutSpec {
        serde_json::from_value(json!({
            "workload": { "kind": "Deployment", "name": "checkout" },
            "traffic": { "routes": [{ "kind": "HTTPRoute", "name": "web" }] },
            "steps": steps,
            "gates": [],
        }))
        .expect("a spec")
    }

    #[test]
    fn a_spec_that_is_not_refused_is_taken_as_it_is() {
        let fine = spec(&json!([{ "weight": "0.5%", "hold": "1m" }]));
        let plan = Plan::or_objects("checkout", &fine).expect("a plan");
        assert_eq!(plan.scale(), Scale::HUNDREDTHS);
    }

    #[test]
    fn of_a_spec_that_is_refused_the_objects_are_known() {
        let refused = spec(&json!([]));
        assert!(Plan::parse("checkout", &refused).is_err());
        let plan = Plan::or_objects("checkout", &refused).expect("a plan");
        assert_eq!(
            (plan.routes.len(), plan.service.as_deref()),
            (1, Some("checkout"))
        );
    }

    #[test]
    fn of_a_spec_that_is_refused_the_scale_of_its_routes_is_known() {
        let refused = spec(&json!([{ "weight": "0.5%" }]));
        assert!(Plan::parse("checkout", &refused).is_err());
        let plan = Plan::or_objects("checkout", &refused).expect("a plan");
        assert_eq!(plan.scale(), Scale::HUNDREDTHS);
    }
}
