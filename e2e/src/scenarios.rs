//! Every scenario, one file each.

mod cluster_serves_traffic;

use crate::scenario::Scenario;

/// All of them, in the order in which they are started.
pub fn all() -> Vec<Scenario> {
    vec![Scenario { name: "cluster_serves_traffic", run: |context| Box::pin(cluster_serves_traffic::run(context)) }]
}
