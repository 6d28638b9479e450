//! Commands that a person may run next, as they are typed.

use kube::ResourceExt as _;
use tidegate_api::{Rollout, intervention::Action};

/// Returns the command of an intervention in a Rollout.
pub(super) fn intervene(action: Action, rollout: &Rollout) -> String {
    let (action, name) = (action.as_str(), rollout.name_any());
    match rollout.namespace() {
        Some(namespace) => format!("kubectl tidegate {action} {name} -n {namespace} --reason WHY"),
        None => format!("kubectl tidegate {action} {name} --reason WHY"),
    }
}
