//! Values of the placeholders in a gate's queries where no version runs yet: readable stand-ins for what
//! only a cluster has.

use kube::ResourceExt as _;
use tidegate_api::{Rollout, names, rollout::canary_name};
use tidegate_metrics::template::Variables;

/// Stand-in for the namespace of an object that does not say its own.
const NAMESPACE: &str = "NAMESPACE";

/// Stand-in for the hash by which the pods of a version are told.
const HASH: &str = "HASH";

/// Stand-in for a revision.
const REVISION: &str = "REVISION";

/// Returns values for the canary that a Rollout would make.
pub(super) fn of_canary(rollout: &Rollout) -> Variables {
    let spec = &rollout.spec;
    Variables {
        namespace: rollout.namespace().unwrap_or_else(|| NAMESPACE.to_owned()),
        name: spec.workload.name.clone(),
        service: spec.service_name().to_owned(),
        track: names::TRACK_CANARY.to_owned(),
        revision: REVISION.to_owned(),
        pod_name_prefixes: vec![format!("{}-{HASH}", canary_name(&rollout.name_any()))],
    }
}
