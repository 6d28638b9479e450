//! Every scenario, one file each.

mod approval;
mod bad_release;
mod cluster_serves_traffic;
mod frozen;
mod good_release;
mod killed;
mod second_service;
mod set_env;
mod supersede;
mod whole_release;

use crate::scenario::Scenario;

/// All of them, in the order in which they are started.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario { name: "cluster_serves_traffic", run: |context| Box::pin(cluster_serves_traffic::run(context)) },
        Scenario { name: "good_release", run: |context| Box::pin(good_release::run(context)) },
        Scenario { name: "bad_release", run: |context| Box::pin(bad_release::run(context)) },
        Scenario { name: "killed_in_a_good_release", run: |context| Box::pin(killed::good(context)) },
        Scenario { name: "killed_in_a_bad_release", run: |context| Box::pin(killed::bad(context)) },
        Scenario { name: "frozen_before_an_effect", run: |context| Box::pin(frozen::run(context)) },
        Scenario { name: "supersede", run: |context| Box::pin(supersede::run(context)) },
        Scenario { name: "approval_and_abort", run: |context| Box::pin(approval::run(context)) },
        Scenario { name: "second_service", run: |context| Box::pin(second_service::run(context)) },
        Scenario { name: "set_env_on_stable", run: |context| Box::pin(set_env::run(context)) },
    ]
}
