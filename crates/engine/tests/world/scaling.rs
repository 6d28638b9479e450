//! The canary's size while somebody scales stable.

use serde_json::json;

use crate::{deployment::Quality, rollout::a_rollout, world::World};

/// A release that stays at half of the traffic, over a stable of six replicas.
fn at_half() -> World {
    let steps = json!([{ "weight": 50, "hold": "1h" }]);
    a_rollout()
        .with("steps", steps)
        .at_rest()
        .with_scale(6)
        .after(60)
}

fn canary(world: &World) -> u32 {
    world
        .live
        .canary
        .as_ref()
        .map_or(0, |canary| canary.replicas)
}

#[test]
fn an_autoscaler_that_counts_the_canary_does_not_run_it_up() {
    let world = at_half().with_autoscaler();
    let world = world.with_commit('B', Quality::Good).after(300);
    assert_eq!(canary(&world), 3, "{}", world.story);
    let mut world = world;
    // As an HPA by memory does it: every pod uses 80 % of what it may.
    for _ in 0..10 {
        let pods = world.live.workload.as_ref().unwrap().replicas + canary(&world);
        world = world
            .with_scale((pods * 8).div_ceil(10).clamp(6, 20))
            .after(30);
    }
    assert_eq!(canary(&world), 3, "{}", world.story);
    let stable = world.live.workload.as_ref().unwrap().replicas;
    let world = world.after(3600);
    assert_eq!(canary(&world), stable, "all traffic: {}", world.story);
}

#[test]
fn a_load_that_has_grown_in_a_step_finds_a_canary_of_its_size_in_the_next() {
    let world = at_half().with_autoscaler();
    let world = world.with_commit('B', Quality::Good).after(300);
    let world = world.with_scale(18).after(300);
    assert_eq!(canary(&world), 3, "{}", world.story);
    let world = world.after(3400);
    assert_eq!(canary(&world), 18, "all traffic: {}", world.story);
}

#[test]
fn an_autoscaler_by_stables_own_requests_does_not_shrink_the_canary_that_has_them() {
    let world = at_half().with_autoscaler();
    let world = world.with_commit('B', Quality::Good).after(300);
    let world = world.with_scale(1).after(300);
    assert_eq!(canary(&world), 3, "{}", world.story);
    let world = world.after(3400);
    assert_eq!(canary(&world), 6, "all traffic: {}", world.story);
}

#[test]
fn a_person_who_scales_stable_up_scales_the_canary_and_nobody_scales_it_down() {
    let world = at_half().with_commit('B', Quality::Good).after(300);
    let world = world.with_scale(12).after(300);
    assert_eq!(canary(&world), 6, "{}", world.story);
    let world = world.with_scale(2).after(300);
    assert_eq!(canary(&world), 6, "{}", world.story);
}
