//! Every scenario, one file each.

mod adopt;
mod api_rules;
mod approval;
mod bad_release;
mod cluster_serves_traffic;
mod deletion;
mod frozen;
mod gates;
mod git_down;
mod good_release;
mod killed;
mod metrics_cases;
mod own_prometheus;
mod preflight;
mod prometheus_down;
mod second_service;
mod set_env;
mod shutdown;
mod stable_unready;
mod supersede;
mod verified_template;
mod whole_release;
mod write_refused;

use crate::scenario::Scenario;

/// All of them, in the order in which they are started.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "cluster_serves_traffic",
            run: |context| Box::pin(cluster_serves_traffic::run(context)),
        },
        Scenario {
            name: "good_release",
            run: |context| Box::pin(good_release::run(context)),
        },
        Scenario {
            name: "bad_release",
            run: |context| Box::pin(bad_release::run(context)),
        },
        Scenario {
            name: "killed_in_a_good_release",
            run: |context| Box::pin(killed::good(context)),
        },
        Scenario {
            name: "killed_in_a_bad_release",
            run: |context| Box::pin(killed::bad(context)),
        },
        Scenario {
            name: "frozen_before_an_effect",
            run: |context| Box::pin(frozen::run(context)),
        },
        Scenario {
            name: "shutdown",
            run: |context| Box::pin(shutdown::run(context)),
        },
        Scenario {
            name: "supersede",
            run: |context| Box::pin(supersede::run(context)),
        },
        Scenario {
            name: "approval_and_abort",
            run: |context| Box::pin(approval::run(context)),
        },
        Scenario {
            name: "second_service",
            run: |context| Box::pin(second_service::run(context)),
        },
        Scenario {
            name: "set_env_on_stable",
            run: |context| Box::pin(set_env::run(context)),
        },
        Scenario {
            name: "adopt_equal",
            run: |context| Box::pin(adopt::equal(context)),
        },
        Scenario {
            name: "adopt_with_change",
            run: |context| Box::pin(adopt::with_change(context)),
        },
        Scenario {
            name: "first_deploy",
            run: |context| Box::pin(adopt::first_deploy(context)),
        },
        Scenario {
            name: "deletion_background",
            run: |context| Box::pin(deletion::background(context)),
        },
        Scenario {
            name: "deletion_foreground",
            run: |context| Box::pin(deletion::foreground(context)),
        },
        Scenario {
            name: "deletion_by_commit",
            run: |context| Box::pin(deletion::by_commit(context)),
        },
        Scenario {
            name: "git_down",
            run: |context| Box::pin(git_down::run(context)),
        },
        Scenario {
            name: "prometheus_down",
            run: |context| Box::pin(prometheus_down::run(context)),
        },
        Scenario {
            name: "own_prometheus",
            run: |context| Box::pin(own_prometheus::run(context)),
        },
        Scenario {
            name: "slow_release",
            run: |context| Box::pin(gates::slow_release(context)),
        },
        Scenario {
            name: "breach_in_a_step",
            run: |context| Box::pin(gates::breach_in_a_step(context)),
        },
        Scenario {
            name: "breach_window",
            run: |context| Box::pin(gates::breach_window(context)),
        },
        Scenario {
            name: "stable_unready",
            run: |context| Box::pin(stable_unready::run(context)),
        },
        Scenario {
            name: "verified_template",
            run: |context| Box::pin(verified_template::run(context)),
        },
        Scenario {
            name: "preflight",
            run: |context| Box::pin(preflight::run(context)),
        },
        Scenario {
            name: "write_refused",
            run: |context| Box::pin(write_refused::run(context)),
        },
        Scenario {
            name: "api_rules",
            run: |context| Box::pin(api_rules::run(context)),
        },
        Scenario {
            name: "metrics_cases",
            run: |context| Box::pin(metrics_cases::run(context)),
        },
    ]
}
