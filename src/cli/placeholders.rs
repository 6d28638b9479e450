//! Values of the placeholders in a gate's queries for a Rollout as its status has it, with readable stand-ins for
//! what only a cluster has.

use kube::ResourceExt as _;
use tidegate_api::{
    Rollout, names,
    rollout::canary_name,
    workload::{VersionId, WorkloadRef},
};
use tidegate_metrics::{sampler::VersionVariables, template::Variables};

use crate::workload::pod_name_prefix;

/// Stand-in for the namespace of an object that does not say its own.
const NAMESPACE: &str = "NAMESPACE";

/// Stand-in for the hash by which the pods of a version are told.
const HASH: &str = "HASH";

/// Stand-in for a revision.
const REVISION: &str = "REVISION";

/// Returns values for both versions.
pub(super) fn of_versions(rollout: &Rollout) -> VersionVariables {
    VersionVariables {
        canary: of_canary(rollout),
        stable: of_stable(rollout),
    }
}

/// Returns values for the canary: the one that runs, or the next one.
pub(super) fn of_canary(rollout: &Rollout) -> Variables {
    let attempt = rollout
        .status
        .as_ref()
        .and_then(|status| status.attempt.as_ref());
    let workload = &rollout.spec.workload;
    let canary = WorkloadRef::new(workload.kind, canary_name(&rollout.name_any()));
    let version = attempt.and_then(|attempt| attempt.canary_pod_template_hash.clone());
    let promoted = attempt.and_then(|attempt| attempt.promoted_pod_template_hash.as_ref());
    let mut prefixes = vec![pod_name_prefix(&canary, &version.unwrap_or_else(unknown))];
    prefixes.extend(promoted.map(|version| pod_name_prefix(workload, version)));
    Variables {
        track: names::TRACK_CANARY.to_owned(),
        revision: attempt
            .map_or(REVISION, |attempt| attempt.revision.short())
            .to_owned(),
        pod_name_prefixes: prefixes,
        ..common(rollout)
    }
}

/// Returns values for stable.
pub(super) fn of_stable(rollout: &Rollout) -> Variables {
    let stable = rollout
        .status
        .as_ref()
        .and_then(|status| status.stable.as_ref());
    let version = stable.map_or_else(unknown, |stable| stable.pod_template_hash.clone());
    Variables {
        track: names::TRACK_STABLE.to_owned(),
        revision: stable
            .map_or(REVISION, |stable| stable.revision.short())
            .to_owned(),
        pod_name_prefixes: vec![pod_name_prefix(&rollout.spec.workload, &version)],
        ..common(rollout)
    }
}

fn unknown() -> VersionId {
    VersionId::new(HASH)
}

/// Returns the values that all versions share.
fn common(rollout: &Rollout) -> Variables {
    let spec = &rollout.spec;
    Variables {
        namespace: rollout.namespace().unwrap_or_else(|| NAMESPACE.to_owned()),
        name: spec.workload.name.clone(),
        service: spec.service_name().unwrap_or_default().to_owned(),
        track: String::new(),
        revision: String::new(),
        pod_name_prefixes: Vec::new(),
    }
}
