//! Releases of a workload that no `ConfigRepo` applies: the pause is the brake.

use tidegate_api::{intervention::Action as Ask, status::Stage};
use tidegate_engine::observed::Brake;

use crate::{
    deployment::Quality,
    rollout::{Draft, a_rollout},
    shell::Group,
    world::World,
};

fn by_people() -> Draft {
    a_rollout().applied_by_people()
}

fn is_held(world: &World) -> bool {
    let workload = world.live.workload.as_ref().unwrap();
    workload.paused && workload.held.is_some()
}

/// The Rollout is gone, and A runs in a workload that is the user's alone.
#[track_caller]
fn is_left_with_a(world: &World) {
    assert!(world.rollout.is_none(), "{}", world.story);
    let workload = world.live.workload.as_ref().unwrap();
    assert!(!workload.paused && workload.held.is_none());
    assert_eq!(
        (world.runs(), world.running().as_str()),
        ('A', "A"),
        "{}",
        world.story
    );
}

#[test]
fn what_runs_is_adopted_and_held_and_nothing_restarts() {
    let world = by_people().at_rest();
    assert!(is_held(&world), "{}", world.story);
    assert_eq!(world.running(), "A");
    assert_eq!(world.live.workload.as_ref().unwrap().sets[0].pods.len(), 3);
    assert!(world.status().stable.is_some(), "{}", world.story);
    let status = world.status();
    let ready = tidegate_api::Condition::find(
        &status.conditions,
        tidegate_api::reason::ConditionType::Ready,
    );
    assert!(
        ready.is_some_and(tidegate_api::Condition::is_true),
        "{}",
        world.story
    );
}

#[test]
fn a_good_template_is_released_in_steps_and_held_again() {
    let world = by_people().releasing(Quality::Good).at_weight(20);
    assert_eq!(world.running(), "A", "nothing rolls: {}", world.story);
    let world = world.until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.running().as_str()),
        ("1 Promoted", "B")
    );
    assert!(is_held(&world), "{}", world.story);
    insta::assert_snapshot!("by_pause_good", world.story);
}

#[test]
fn a_bad_template_stays_where_it_is_and_never_runs() {
    let world = by_people().releasing(Quality::Erroring).until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.running().as_str()),
        ("1 RolledBack", "A")
    );
    assert_eq!(
        world.runs(),
        'B',
        "whoever applied it still asks for it: {}",
        world.story
    );
    assert!(is_held(&world), "{}", world.story);
    insta::assert_snapshot!("by_pause_bad", world.story);
    let world = world.with_commit('C', Quality::Good).until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack, 2 Promoted");
    assert_eq!(world.running(), "C");
}

#[test]
fn a_template_that_is_taken_back_ends_the_attempt() {
    let world = by_people().releasing(Quality::Good).at_weight(20);
    let world = world.with_commit('A', Quality::Good).until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.running().as_str()),
        ("1 Superseded", "A")
    );
}

#[test]
fn a_template_that_comes_while_the_workload_rolls_is_the_next_one_and_gets_no_traffic() {
    let world = by_people()
        .releasing(Quality::Good)
        .at_stage(Stage::UpdatingStable);
    let world = world.after(1).with_commit('C', Quality::Good).until_rest();
    assert_eq!(
        world.outcomes(),
        "1 Promoted, 2 Promoted",
        "{}",
        world.story
    );
    assert_eq!(world.running(), "C");
}

#[test]
fn a_deletion_puts_stables_template_back_before_the_pause_goes() {
    let world = by_people().releasing(Quality::Erroring).until_rest();
    let world = world.with_deletion(false).until_rest();
    is_left_with_a(&world);
}

#[test]
fn a_deletion_in_an_attempt_does_so_too() {
    let world = by_people().releasing(Quality::Good).at_weight(20);
    let world = world.with_deletion(false).until_rest();
    is_left_with_a(&world);
}

#[test]
fn scaled_to_zero_and_back_stable_serves_and_not_what_waits() {
    let world = by_people().releasing(Quality::Good).until_rest();
    // A has run before, and would be what a paused workload scales up.
    let world = world.with_commit('A', Quality::Good).with_ask(Ask::Pause);
    let world = world.after(2).with_ask(Ask::Abort).after(600);
    assert_eq!(world.running(), "B", "{}", world.story);
    let world = world.with_scale(0).after(60).with_scale(3).after(60);
    assert_eq!(world.running(), "B", "{}", world.story);
}

#[test]
fn stables_version_is_made_again_without_what_waits() {
    let world = by_people().releasing(Quality::Good).at_weight(20);
    let world = world.with_lost_version().after(30);
    assert_eq!(world.running(), "A", "{}", world.story);
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn while_tidegate_is_down_nothing_rolls() {
    let world = by_people().at_rest().with_tidegate_down(600);
    let world = world.with_commit('B', Quality::Good).after(300);
    assert_eq!(world.running(), "A", "{}", world.story);
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn a_config_repo_that_takes_over_needs_no_pause() {
    let mut world = by_people().at_rest();
    world.brake = Brake::Sync;
    let world = world.with_commit('A', Quality::Good).after(60);
    let workload = world.live.workload.as_ref().unwrap();
    assert!(
        !workload.paused && workload.held.is_none(),
        "{}",
        world.story
    );
}

#[test]
fn what_was_rejected_is_tried_again_once_it_is_applied_again() {
    let world = by_people().releasing(Quality::Good).at_weight(20);
    let world = world.with_ask(Ask::Abort).until_rest();
    assert_eq!(world.outcomes(), "1 Aborted");
    let world = world.with_commit('C', Quality::Good).until_rest();
    let world = world.with_commit('B', Quality::Good).until_rest();
    assert_eq!(world.outcomes(), "1 Aborted, 2 Promoted, 3 Promoted");
    assert_eq!(world.running(), "B", "{}", world.story);
}

#[test]
fn a_promotion_that_is_taken_back_while_it_rolls_is_followed_by_what_was_before() {
    let world = by_people()
        .releasing(Quality::Good)
        .at_stage(Stage::UpdatingStable);
    let world = world.after(1).with_commit('A', Quality::Good).until_rest();
    assert_eq!(world.running(), "A", "{}", world.story);
}

#[test]
fn scaled_to_zero_and_back_in_an_attempt_stable_serves() {
    let world = by_people().releasing(Quality::Good).until_rest();
    let steps = world
        .with_commit('A', Quality::Erroring)
        .with_ask(Ask::Pause)
        .after(30);
    assert_eq!(steps.running(), "B", "{}", steps.story);
    let world = steps.with_scale(0).after(30).with_scale(3).after(30);
    assert_eq!(world.running(), "B", "{}", world.story);
}

#[test]
fn a_let_go_that_was_denied_rolls_out_nothing_once_the_canary_has_breached() {
    let world = by_people().releasing(Quality::Good);
    let world = world.at_stage(Stage::PinningToCanary);
    let world = world
        .with_denial(Group::Workloads, 60)
        .at_stage(Stage::UpdatingStable);
    let world = world
        .with_breach("errors")
        .read_now()
        .at_stage(Stage::RollingBack);
    let world = world.after(120);
    let story = world.story.to_string();
    let rolled = story
        .lines()
        .find(|line| line.contains("pods of checkout: 3 of A (3 ready), 1 of B"));
    assert_eq!(rolled, None, "{story}");
    assert_eq!(world.running(), "A", "{story}");
}
