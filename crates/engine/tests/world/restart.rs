//! `kubectl rollout restart`: the content stays, and every pod is replaced.

use tidegate_api::{reason::ConditionType, status::Stage};

use crate::{deployment::Quality, rollout::a_rollout, world::World};

/// The number of the restart that the workload's pods are of.
fn restart(world: &World) -> Option<u32> {
    world.live.workload.as_ref().unwrap().template.restarted
}

/// The version that is stable's.
fn stable(world: &World) -> String {
    world.status().stable.unwrap().pod_template_hash.to_string()
}

#[test]
fn at_rest_it_goes_through_and_nothing_is_released() {
    let world = a_rollout().at_rest().with_restart().after(120);
    assert_eq!(
        (restart(&world), stable(&world).as_str()),
        (Some(1), "hashA1"),
        "{}",
        world.story
    );
    assert_eq!(world.status().attempts, 0, "{}", world.story);
    let world = world.with_restart().after(120);
    assert_eq!(
        (restart(&world), stable(&world).as_str()),
        (Some(2), "hashA2"),
        "{}",
        world.story
    );
}

#[test]
fn pods_that_a_restart_replaces_are_not_missing() {
    let world = a_rollout().at_rest().with_restart().after(2);
    let conditions = world.status().conditions;
    let degraded = tidegate_api::Condition::find(&conditions, ConditionType::StableDegraded);
    assert!(
        degraded.is_none_or(|degraded| !degraded.is_true()),
        "{}",
        world.story
    );
}

#[test]
fn a_release_after_a_restart_pins_the_pods_that_run() {
    let world = a_rollout()
        .at_rest()
        .with_restart()
        .after(120)
        .with_commit('B', Quality::Good)
        .until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 Promoted", 'B'),
        "{}",
        world.story
    );
    assert_eq!((restart(&world), stable(&world).as_str()), (None, "hashB"));
}

#[test]
fn a_rollback_of_a_promotion_ends_at_the_restarted_pods() {
    let world = a_rollout()
        .at_rest()
        .with_restart()
        .after(120)
        .with_commit('B', Quality::Good)
        .at_stage(Stage::UpdatingStable)
        .with_breach("errors")
        .read_now()
        .until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 RolledBack", 'A'),
        "{}",
        world.story
    );
    assert_eq!(
        (restart(&world), stable(&world).as_str()),
        (Some(1), "hashA1"),
        "{}",
        world.story
    );
}

#[test]
fn a_commit_waits_for_a_restart_that_rolls_out() {
    let world = a_rollout()
        .at_rest()
        .with_restart()
        .with_commit('B', Quality::Good)
        .at_stage(Stage::Stepping);
    assert_eq!(
        (restart(&world), stable(&world).as_str()),
        (Some(1), "hashA1"),
        "{}",
        world.story
    );
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn a_restart_that_hangs_does_not_hold_up_a_commit_for_ever() {
    let world = a_rollout()
        .at_rest()
        .with_no_room(100_000)
        .with_restart()
        .with_commit('B', Quality::Good)
        .after(3_900);
    assert_eq!(
        (restart(&world), stable(&world).as_str()),
        (None, "hashA"),
        "{}",
        world.story
    );
}

#[test]
fn in_an_attempt_it_is_reverted() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_restart()
        .after(5);
    assert_eq!(restart(&world), None, "{}", world.story);
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}
