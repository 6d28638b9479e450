//! Every scenario, one file each.

mod bad_release;
mod cluster_serves_traffic;
mod good_release;
mod killed;

use crate::scenario::Scenario;

/// All of them, in the order in which they are started.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario { name: "cluster_serves_traffic", run: |context| Box::pin(cluster_serves_traffic::run(context)) },
        Scenario { name: "good_release", run: |context| Box::pin(good_release::run(context)) },
        Scenario { name: "bad_release", run: |context| Box::pin(bad_release::run(context)) },
        Scenario { name: "killed_in_a_good_release", run: |context| Box::pin(killed::good(context)) },
        Scenario { name: "killed_in_a_bad_release", run: |context| Box::pin(killed::bad(context)) },
    ]
}
