//! Scenarios, one subject a file. Each file registers its own in `SCENARIOS`; a new file is a line
//! in each of the two lists below, and the compiler says so where the second is forgotten.

mod admission;
mod adopt;
mod api_rules;
mod approval;
mod autoscaled;
mod bad_release;
mod between_steps;
mod blue_green;
mod break_glass;
mod by_flux;
mod by_helm;
mod by_pause;
mod by_replicas;
mod by_replicas_without_service;
mod chart_installed;
mod cluster_serves_traffic;
mod degraded_stable;
mod deleted_by_hand;
mod deletion;
mod doubled_env;
mod draining;
mod evicted;
mod failover;
mod frozen;
mod gates;
mod git_down;
mod git_over_ssh;
mod good_release;
mod grpc_route;
mod hpa_replicas;
mod killed;
mod left_git;
mod metrics_behind_proxy;
mod metrics_cases;
mod newer_revision;
mod notifications;
mod observe;
mod overlay;
mod own_prometheus;
mod pods_unready;
mod preflight;
mod prometheus_down;
mod reach;
mod read_repo;
mod regression;
mod released_config;
mod removed_key;
mod restart;
mod reverted_template;
mod same_object_twice;
mod second_gateway;
mod second_service;
mod service_monitor;
mod set_env;
mod shared_route;
mod shutdown;
mod slow_scrape;
mod stable_dead;
mod stable_replicaset_deleted;
mod stable_unready;
mod supersede;
mod suspend;
mod too_large;
mod total_failure;
mod unlisted_route;
mod unpinned_services;
mod verified_template;
mod whole_release;

use crate::scenario::Scenario;

/// All scenarios, in the order in which they are started.
pub fn all() -> Vec<Scenario> {
    [
        cluster_serves_traffic::SCENARIOS,
        good_release::SCENARIOS,
        bad_release::SCENARIOS,
        grpc_route::SCENARIOS,
        killed::SCENARIOS,
        frozen::SCENARIOS,
        shutdown::SCENARIOS,
        supersede::SCENARIOS,
        approval::SCENARIOS,
        suspend::SCENARIOS,
        observe::SCENARIOS,
        second_service::SCENARIOS,
        set_env::SCENARIOS,
        adopt::SCENARIOS,
        deletion::SCENARIOS,
        left_git::SCENARIOS,
        deleted_by_hand::SCENARIOS,
        git_down::SCENARIOS,
        git_over_ssh::SCENARIOS,
        prometheus_down::SCENARIOS,
        overlay::SCENARIOS,
        own_prometheus::SCENARIOS,
        notifications::SCENARIOS,
        metrics_behind_proxy::SCENARIOS,
        slow_scrape::SCENARIOS,
        service_monitor::SCENARIOS,
        gates::SCENARIOS,
        regression::SCENARIOS,
        total_failure::SCENARIOS,
        between_steps::SCENARIOS,
        stable_unready::SCENARIOS,
        stable_dead::SCENARIOS,
        failover::SCENARIOS,
        stable_replicaset_deleted::SCENARIOS,
        reverted_template::SCENARIOS,
        degraded_stable::SCENARIOS,
        verified_template::SCENARIOS,
        preflight::SCENARIOS,
        shared_route::SCENARIOS,
        admission::SCENARIOS,
        restart::SCENARIOS,
        blue_green::SCENARIOS,
        break_glass::SCENARIOS,
        by_helm::SCENARIOS,
        by_pause::SCENARIOS,
        by_flux::SCENARIOS,
        by_replicas::SCENARIOS,
        by_replicas_without_service::SCENARIOS,
        draining::SCENARIOS,
        pods_unready::SCENARIOS,
        api_rules::SCENARIOS,
        metrics_cases::SCENARIOS,
        hpa_replicas::SCENARIOS,
        autoscaled::SCENARIOS,
        evicted::SCENARIOS,
        newer_revision::SCENARIOS,
        second_gateway::SCENARIOS,
        unpinned_services::SCENARIOS,
        unlisted_route::SCENARIOS,
        reach::SCENARIOS,
        released_config::SCENARIOS,
        read_repo::SCENARIOS,
        removed_key::SCENARIOS,
        doubled_env::SCENARIOS,
        same_object_twice::SCENARIOS,
        too_large::SCENARIOS,
        chart_installed::SCENARIOS,
    ]
    .concat()
}
