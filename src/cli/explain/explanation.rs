//! What a Rollout will do, as data: the text and the JSON are two forms of it.

use jiff::SignedDuration;
use kube::ResourceExt as _;
use serde::Serialize;
use tidegate_api::{Duration, Rollout, Weight};
use tidegate_engine::plan::{Plan, Step};

use super::{
    gate::{self, GateExplanation},
    sentences,
    surroundings::Surroundings,
};
use crate::cli::least_time;

/// Explanation of a Rollout.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explanation {
    /// Namespace and name.
    pub(super) rollout: String,
    /// Workload and Service, in a sentence.
    pub(super) about: String,
    /// Until it is enforced.
    pub(super) mode: Vec<String>,
    /// Before the first release.
    pub(super) adoption: Vec<String>,
    /// The steps of a release, in their order.
    pub(super) steps: Vec<StepExplanation>,
    /// What holds in every step.
    pub(super) each_step: Vec<String>,
    /// After the last step.
    pub(super) promotion: Vec<String>,
    /// Least time from the first step until the revision is let into the workload.
    pub(super) least_time: Duration,
    /// The gates.
    pub(super) gates: Vec<GateExplanation>,
    /// What ends a release early.
    pub(super) endings: Vec<String>,
    /// What a rollback does in git.
    pub(super) git: Vec<String>,
}

/// Explanation of a step.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StepExplanation {
    /// Number of the step, from 1.
    pub(super) number: usize,
    /// The canary's share of traffic.
    pub(super) weight: String,
    /// Replicas of the canary: their number, or how many there will be.
    pub(super) replicas: String,
    /// Least time in the step.
    pub(super) hold: Duration,
    /// What ends the step, in words.
    pub(super) until: String,
}

// === impl Explanation ===

impl Explanation {
    pub(super) fn of(
        rollout: &Rollout,
        plan: &Plan,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Self> {
        let gates = plan
            .gates
            .iter()
            .map(|gate| gate::explain(rollout, plan, gate));
        Ok(Self {
            rollout: full_name(rollout),
            about: sentences::about(plan),
            mode: sentences::mode(rollout.spec.mode),
            adoption: sentences::adoption(plan, rollout.spec.config, surroundings.brake),
            steps: steps(rollout, plan, surroundings.replicas),
            each_step: sentences::each_step(plan),
            promotion: sentences::promotion(plan),
            least_time: duration(least_time::of_steps(plan, &plan.steps)),
            gates: gates.collect::<Result<_, _>>()?,
            endings: sentences::endings(rollout, plan),
            git: sentences::git(rollout, plan),
        })
    }
}

/// Returns a length of time as people write it.
pub(super) fn duration(time: SignedDuration) -> Duration {
    Duration::from(time.unsigned_abs())
}

fn full_name(rollout: &Rollout) -> String {
    match rollout.namespace() {
        Some(namespace) => format!("{namespace}/{}", rollout.name_any()),
        None => rollout.name_any(),
    }
}

fn steps(rollout: &Rollout, plan: &Plan, replicas: Option<u32>) -> Vec<StepExplanation> {
    let written = rollout.spec.steps.len();
    let steps = plan.steps.iter().enumerate();
    steps
        .map(|(index, step)| StepExplanation {
            number: index + 1,
            weight: step.weight.to_string(),
            replicas: canary_replicas(plan, step, replicas),
            hold: duration(step.hold),
            until: sentences::until(rollout, step, index >= written),
        })
        .collect()
}

/// Returns the number of the canary's replicas, or says how it follows from stable's.
fn canary_replicas(plan: &Plan, step: &Step, stable: Option<u32>) -> String {
    if let Some(stable) = stable {
        return counted(plan.canary_replicas(step, stable));
    }
    let weight = step.weight;
    match step.replicas {
        Some(replicas) if weight < Weight::FULL => counted(replicas),
        Some(replicas) => format!("as many replicas as stable, at least {replicas}"),
        None if weight == Weight::FULL => "as many replicas as stable".to_owned(),
        None if weight == Weight::ZERO && plan.is_without_service() => counted(0),
        None if weight == Weight::ZERO => counted(1),
        None if plan.splits_by_replicas() => format!("replicas for {weight} of all"),
        None => format!("{weight} of stable's replicas, at least 1"),
    }
}

fn counted(replicas: u32) -> String {
    match replicas {
        1 => "1 replica".to_owned(),
        _ => format!("{replicas} replicas"),
    }
}
