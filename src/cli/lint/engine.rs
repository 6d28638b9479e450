//! What Tidegate itself refuses in an object, or does although it is perhaps not meant.

use kube::ResourceExt as _;
use serde_json::Value;
use tidegate_api::{ConfigRepo, Rollout};
use tidegate_engine::{
    gate::Gate,
    plan::{Plan, PlanError},
};

use super::{
    finding::{Check, Remark},
    places::element,
    queries, weights,
};
use crate::repository::{self, OpenError};

/// Checks an object that the definition accepts, or that it refuses with other words.
pub(super) fn check(kind: &str, object: &Value, is_refused: bool) -> Vec<Remark> {
    let mut remarks = match kind {
        "Rollout" => match serde_json::from_value::<Rollout>(without_status(object)) {
            Ok(rollout) => of_rollout(&rollout),
            Err(error) => vec![Remark::new("", Check::Refused, error.to_string())],
        },
        "ConfigRepo" => match serde_json::from_value::<ConfigRepo>(without_status(object)) {
            Ok(repo) => of_config_repo(&repo),
            Err(error) => vec![Remark::new("", Check::Refused, error.to_string())],
        },
        // The definition says all of the rest.
        _ => Vec::new(),
    };
    if is_refused {
        // It would say again what the definition has said.
        remarks.retain(|remark| remark.check != Check::Refused);
    }
    remarks
}

/// Returns the rules of the definition that are checked here, because the library for CEL cannot.
pub(super) fn broken_rules(kind: &str, object: &Value) -> Vec<Remark> {
    match kind {
        "Rollout" => serde_json::from_value(without_status(object))
            .map_or_else(|_| Vec::new(), |rollout| weights::check(&rollout)),
        _ => Vec::new(),
    }
}

fn without_status(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    object
}

fn of_rollout(rollout: &Rollout) -> Vec<Remark> {
    let mut remarks = Vec::new();
    if let Err(error) = Plan::parse(&rollout.name_any(), &rollout.spec) {
        remarks.push(Remark::on(
            field_of(&error, rollout),
            Check::Refused,
            &error,
        ));
    }
    if rollout.spec.gates.is_empty() {
        remarks.push(Remark::new(
            "spec.gates",
            Check::NoGates,
            "there are no gates, so nothing but readiness and your approval holds a bad revision back: write one, like \
             a threshold for errors",
        ));
    }
    for (index, spec) in rollout.spec.gates.iter().enumerate() {
        if let Ok(gate) = Gate::parse(spec) {
            remarks.extend(queries::check(
                &element("spec.gates", index),
                &gate,
                spec,
                rollout,
            ));
        }
    }
    remarks
}

/// Returns the path of the field that a plan is refused for.
fn field_of(error: &PlanError, rollout: &Rollout) -> String {
    match error {
        PlanError::NameTooLong { .. } => "metadata.name".to_owned(),
        PlanError::TrafficKind => "spec.traffic".to_owned(),
        PlanError::RouteGroup { .. } | PlanError::DuplicateRoute { .. } => {
            "spec.traffic.routes".to_owned()
        }
        PlanError::NoSteps | PlanError::NoWorkAtTheEnd => "spec.steps".to_owned(),
        PlanError::ServiceRuledOut { .. } => "spec.service".to_owned(),
        PlanError::RetainedWorker => "spec.canary.keepFailed".to_owned(),
        PlanError::ReplicaWeight { index, .. }
        | PlanError::WeightWithoutService { index, .. }
        | PlanError::ReplicasOfStep { index }
        | PlanError::StepKind { index }
        | PlanError::NoHold { index } => element("spec.steps", *index),
        PlanError::ApprovalFirst => element("spec.steps", 0),
        PlanError::CanaryMetadata { .. } => "spec.canary.metadata".to_owned(),
        PlanError::DuplicateGate { name }
        | PlanError::Gate { name, .. }
        | PlanError::ServiceInQuery { name } => {
            let gates = &rollout.spec.gates;
            let index = gates.iter().rposition(|gate| gate.name == *name);
            element("spec.gates", index.unwrap_or_default())
        }
    }
}

fn of_config_repo(repo: &ConfigRepo) -> Vec<Remark> {
    let spec = &repo.spec;
    let mut remarks = Vec::new();
    if let Err(error) = tidegate_git::check_path(&spec.path) {
        remarks.push(Remark::new("spec.path", Check::Refused, error.to_string()));
    }
    let branches = [
        ("spec.ref.branch", &spec.git_ref.branch),
        ("spec.records.branch", &spec.records.branch),
    ];
    for (field, branch) in branches {
        if let Err(error) = tidegate_git::check_branch(branch) {
            remarks.push(Remark::new(field, Check::Refused, error.to_string()));
        }
    }
    if repository::lacks_key(spec) {
        let remark = Remark::new("spec.url", Check::Refused, OpenError::NoKey.to_string());
        remarks.push(remark);
    }
    remarks
}
