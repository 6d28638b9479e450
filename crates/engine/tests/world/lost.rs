//! Stable's version, or the object that keeps its template, is deleted; and a template that was put back
//! leaves nothing of the other.

use tidegate_api::status::Stage;

use crate::{deployment::Quality, rollout::a_rollout, shell::Fault, world::World};

fn pods(world: &World, letter: char) -> usize {
    let sets = &world.live.workload.as_ref().unwrap().sets;
    let of = sets.iter().filter(|set| set.template.letter == letter);
    of.map(|set| set.pods.len()).sum()
}

#[test]
fn a_version_of_stable_that_is_deleted_in_a_step_comes_back_at_once() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_lost_version()
        .after(3);
    assert_eq!(pods(&world, 'A'), 3, "{}", world.story);
    assert!(
        world.live.workload.as_ref().unwrap().paused,
        "{}",
        world.story
    );
    assert_eq!(world.live.stable_endpoints.ready(), 3, "{}", world.story);
    insta::assert_snapshot!("lost_version", world.story);
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn a_version_that_is_deleted_comes_back_in_every_stage_that_pauses() {
    for stage in [
        Stage::Starting,
        Stage::PinningToCanary,
        Stage::PinningToStable,
        Stage::ShiftingToStable,
        Stage::Draining,
        Stage::RemovingCanary,
    ] {
        let world = a_rollout().releasing(Quality::Good).at_stage(stage);
        let version = world.status().attempt.unwrap().promoted_pod_template_hash;
        let mut world = world;
        if let (Some(version), Some(workload)) = (version, &mut world.live.workload) {
            workload.lose(&version);
            world.happens("version unready", "the promoted ReplicaSet is deleted");
        } else {
            world = world.with_lost_version();
        }
        let world = world.until_rest();
        assert_eq!(world.runs(), 'B', "{stage:?}: {}", world.story);
        assert_eq!(pods(&world, 'B'), 3, "{stage:?}: {}", world.story);
    }
}

#[test]
fn a_template_that_is_put_back_on_an_unready_stable_leaves_no_pod_of_the_other() {
    let world = a_rollout()
        .at_rest()
        .with_unready(false, 3, 360_000)
        .after(60)
        .with_foreign_template()
        .after(5);
    assert_eq!(
        (world.runs(), pods(&world, 'X')),
        ('A', 0),
        "{}",
        world.story
    );
}

#[test]
fn pods_of_a_reverted_template_serve_until_stables_have_had_their_time() {
    let world = foreign_template_while_down().with_no_room(120);
    assert_eq!(pods(&world, 'X'), 3, "{}", world.story);
    let world = world.after(90);
    assert_eq!(world.runs(), 'A', "{}", world.story);
    assert!(world.live.stable_endpoints.ready() >= 3, "{}", world.story);
    only_stable_is_left(&world.after(120));
}

#[test]
fn pods_of_a_reverted_template_serve_as_long_as_nobody_else_does() {
    let world = foreign_template_while_down().with_no_room(1800);
    // Longer than stable's pods have to become ready.
    let world = world.after(900);
    assert_eq!(world.runs(), 'A', "{}", world.story);
    assert!(world.live.stable_endpoints.ready() >= 3, "{}", world.story);
    only_stable_is_left(&world.after(1200));
}

/// The pods of another writer's template have just become ready, while Tidegate was down.
fn foreign_template_while_down() -> World {
    a_rollout()
        .at_rest()
        .with_tidegate_down(25)
        .with_foreign_template()
        .after(20)
}

fn only_stable_is_left(world: &World) {
    assert_eq!(
        (pods(world, 'A'), pods(world, 'X')),
        (3, 0),
        "{}",
        world.story
    );
}

#[test]
fn pods_made_by_hand_over_a_dead_stable_go_with_their_template() {
    let world = a_rollout()
        .at_rest()
        .with_unready(false, 3, 200)
        .after(20)
        .with_tidegate_down(10)
        .with_foreign_template()
        .after(60);
    assert_eq!(
        (world.runs(), pods(&world, 'X')),
        ('A', 0),
        "nobody verified them: {}",
        world.story
    );
    let world = world.until_rest();
    assert_eq!(pods(&world, 'A'), 3, "{}", world.story);
}

#[test]
fn a_workload_that_was_paused_half_way_back_comes_back() {
    // Killed between the attempt's beginning and the pause.
    let world = a_rollout()
        .at_rest()
        .with_fault(2, Fault::CrashAfter)
        .with_commit('B', Quality::Good)
        .after(0);
    assert_eq!(world.stage(), Some(Stage::Pinning), "{}", world.story);
    assert!(!world.shell.alive, "{}", world.story);
    let world = world.with_foreign_template().until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs(), pods(&world, 'X')),
        ("1 Promoted", 'B', 0),
        "{}",
        world.story
    );
}

#[test]
fn a_template_made_by_hand_does_not_stay_though_the_revisions_were_lost() {
    let world = a_rollout().at_rest().with_lost_revisions().after(5);
    assert!(!world.live.kept.is_empty(), "{}", world.story);
    let world = world.with_foreign_template().after(10);
    assert_eq!(
        (world.runs(), pods(&world, 'X')),
        ('A', 0),
        "{}",
        world.story
    );
    assert!(world.turns_that_wrote < 40, "{}", world.story);
}

#[test]
fn a_template_made_by_hand_right_after_the_revisions_were_lost_does_not_stay() {
    let world = a_rollout()
        .at_rest()
        .with_lost_revisions()
        .with_foreign_template()
        .after(10);
    assert_eq!(
        (world.runs(), pods(&world, 'X')),
        ('A', 0),
        "{}",
        world.story
    );
}

#[test]
fn what_a_rollout_left_that_was_deleted_by_force_is_put_right() {
    for stage in [
        Stage::Pinning,
        Stage::Starting,
        Stage::Stepping,
        Stage::PinningToCanary,
        Stage::UpdatingStable,
        Stage::PinningToStable,
        Stage::ShiftingToStable,
        Stage::RemovingCanary,
        Stage::Unpinning,
    ] {
        let draft = a_rollout();
        let world = draft.releasing(Quality::Good).at_stage(stage);
        let serves = world.live.stable_endpoints.ready() > 0;
        assert!(serves, "{stage:?}");
        let world = world
            .with_forced_deletion(&draft)
            .when("the adoption", |world| world.status().stable.is_some());
        assert!(world.live.canary.is_none(), "{stage:?}: {}", world.story);
        let workload = world.live.workload.as_ref().unwrap();
        assert!(
            !workload.paused && workload.epoch.is_none(),
            "{stage:?}: {}",
            world.story
        );
        let services = &world.live.services;
        assert!(
            services.iter().all(|one| one.pin.is_none()),
            "{stage:?}: {}",
            world.story
        );
        assert_eq!(world.until_rest().runs(), 'B', "{stage:?}");
    }
}
