//! The values of the placeholders in the gates' queries, for each version.

use tidegate_api::{
    Revision, names,
    status::{ObservedRelease, RolloutStatus},
    workload::{VersionId, WorkloadRef},
};
use tidegate_engine::{
    observed::{Observed, Workload},
    plan::Plan,
};
use tidegate_metrics::template::Variables;

use crate::workload::pod_name_prefix;

/// Returns the values for the canary. The candidate's pods are those of the canary, and those of the
/// workload once the template is in.
pub(super) fn of_canary(seen: &Observed, plan: &Plan) -> Variables {
    let attempt = seen.status.attempt.as_ref();
    let template_updated = attempt.is_some_and(|attempt| attempt.stable_template_updated);
    let verified = seen.canary.as_ref().map(|canary| canary.template);
    let promoted = seen
        .workload
        .as_ref()
        .filter(|workload| template_updated && Some(workload.template) == verified);
    let prefixes = [
        current_pod_name_prefix(&plan.canary_workload(), seen.canary.as_ref()),
        current_pod_name_prefix(&plan.workload, promoted),
    ];
    Variables {
        namespace: seen.identity.namespace.clone(),
        name: plan.workload.name.clone(),
        // No query uses it where there is none.
        service: plan.service.clone().unwrap_or_default(),
        track: names::TRACK_CANARY.to_owned(),
        revision: attempt
            .map(|attempt| attempt.revision.short().to_owned())
            .unwrap_or_default(),
        pod_name_prefixes: prefixes.into_iter().flatten().collect(),
    }
}

/// Returns the values for the version of a release that is observed, in the canary's place.
pub(super) fn of_observed(seen: &Observed, plan: &Plan, release: &ObservedRelease) -> Variables {
    let prefix = pod_name_prefix(&plan.workload, &release.pod_template_hash);
    Variables {
        namespace: seen.identity.namespace.clone(),
        name: plan.workload.name.clone(),
        service: plan.service.clone().unwrap_or_default(),
        track: names::TRACK_CANARY.to_owned(),
        revision: release.revision.short().to_owned(),
        pod_name_prefixes: vec![prefix],
    }
}

/// Returns the values for stable, or for the version that ran whole last where the workload is only observed.
pub(super) fn of_stable(namespace: &str, plan: &Plan, status: Option<&RolloutStatus>) -> Variables {
    let version = status.and_then(compared_with);
    let prefix = version.map(|(_, version)| pod_name_prefix(&plan.workload, version));
    Variables {
        namespace: namespace.to_owned(),
        name: plan.workload.name.clone(),
        service: plan.service.clone().unwrap_or_default(),
        track: names::TRACK_STABLE.to_owned(),
        revision: version
            .map(|(revision, _)| revision.short().to_owned())
            .unwrap_or_default(),
        pod_name_prefixes: prefix.into_iter().collect(),
    }
}

/// Returns the revision and the version with which another is compared.
pub(super) fn compared_with(status: &RolloutStatus) -> Option<(&Revision, &VersionId)> {
    match (&status.stable, &status.observation) {
        (Some(stable), _) => Some((&stable.revision, &stable.pod_template_hash)),
        (None, Some(observation)) => Some((&observation.revision, &observation.pod_template_hash)),
        (None, None) => None,
    }
}

/// Beginning of the names of a workload's current pods.
fn current_pod_name_prefix(reference: &WorkloadRef, workload: Option<&Workload>) -> Option<String> {
    let current = workload?.current()?;
    Some(pod_name_prefix(reference, &current.id))
}
