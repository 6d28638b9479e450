//! A rejected revision that git asks for again: once at once, and then ever more rarely.

use jiff::SignedDuration;
use tidegate_api::{intervention::Action as Ask, status::Stage};

use crate::{deployment::Quality, rollout::a_rollout, world::World};

/// The world in which B was rejected.
fn rejected() -> World {
    a_rollout()
        .releasing(Quality::Good)
        .with_breach("errors")
        .until_rest()
}

/// A robot commits B once more, after git had A.
fn again(world: World) -> World {
    world
        .with_commit('A', Quality::Good)
        .after(60)
        .with_commit('B', Quality::Good)
}

fn message(world: &World) -> String {
    world.rollout.as_ref().unwrap().status.message.clone()
}

#[test]
fn what_is_committed_again_and_again_is_tried_ever_more_rarely() {
    let world = rejected();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    let world = again(world).until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack, 2 RolledBack", "at once");

    let world = again(world).after(120);
    assert_eq!(world.outcomes(), "1 RolledBack, 2 RolledBack");
    let said = message(&world);
    assert!(said.contains("it was rejected 2 times"), "{said}");
    let world = starts_after(world, 5).until_rest();
    let world = starts_after(again(world), 10).until_rest();
    starts_after(again(world), 20);
}

/// Asserts that the next attempt starts so many minutes after the last rejection.
fn starts_after(world: World, minutes: i64) -> World {
    let rejected = world.rollout.as_ref().unwrap().status.rejected[0].clone();
    let world = world.at_stage(Stage::Starting);
    let attempt = world.rollout.as_ref().unwrap().status.attempt.clone();
    let waited = attempt.unwrap().started_at.duration_since(rejected.at);
    let wait = SignedDuration::from_mins(minutes);
    assert!(
        waited >= wait && waited < wait + SignedDuration::from_mins(2),
        "{waited:?}: {}",
        world.story
    );
    world
}

#[test]
fn a_retry_does_not_wait() {
    let world = again(again(rejected()).until_rest()).after(60);
    assert_eq!(world.outcomes(), "1 RolledBack, 2 RolledBack");
    let world = world.with_ask(Ask::Retry).until_rest();
    assert!(
        world.outcomes().ends_with("3 RolledBack"),
        "{}",
        world.story
    );
}

#[test]
fn while_git_is_restored_nobody_is_told_to_act() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .with_breach("errors")
        .when("the end", |world| world.status().last_outcome.is_some());
    let status = world.status();
    assert!(
        status
            .message
            .contains("Tidegate restores the last good template")
            || status.message.contains("is stable"),
        "{}",
        status.message
    );
    let world = world.until_rest();
    assert!(
        !world.story.to_string().contains("commit another template"),
        "{}",
        world.story
    );
}
