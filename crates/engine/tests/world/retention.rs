//! A pod of a canary that failed is retained for inspection.

use serde_json::json;
use tidegate_api::status::Stage;

use crate::{
    deployment::Quality,
    rollout::{Draft, a_rollout},
    world::World,
};

fn draft() -> Draft {
    a_rollout().with("canary", json!({ "keepFailed": "1h" }))
}

/// B was rolled back, and its attempt is over.
fn failed() -> World {
    let world = draft().releasing(Quality::Erroring);
    world.when("the end", |world| {
        world.stage().is_none() && world.outcomes().ends_with("RolledBack")
    })
}

fn retained(world: &World) -> usize {
    world.live.retained.len()
}

#[test]
fn it_outlives_the_canary_and_holds_nothing_up() {
    let world = failed().after(60);
    assert_eq!(retained(&world), 1, "{}", world.story);
    assert!(world.live.canary.is_none(), "{}", world.story);
    let message = world.status().message;
    assert!(
        message.contains("the pod checkout-canary-B of the failed canary is retained"),
        "{message}"
    );
    let world = world.with_commit('C', Quality::Good).until_rest();
    assert_eq!(world.runs(), 'C', "{}", world.story);
}

#[test]
fn it_goes_when_its_time_is_over() {
    let world = failed().after(3590);
    assert_eq!(retained(&world), 1, "{}", world.story);
    let world = world.after(30);
    assert_eq!(retained(&world), 0, "{}", world.story);
    let message = world.status().message;
    assert!(!message.contains("retained"), "{message}");
}

#[test]
fn the_next_one_replaces_it() {
    let world = failed().with_commit('C', Quality::Erroring);
    let world = world.when("the second end", |world| {
        world.stage().is_none() && world.outcomes().ends_with("2 RolledBack")
    });
    let world = world.after(5);
    let names: Vec<_> = world.live.retained.iter().map(|pod| &pod.name).collect();
    assert_eq!(names, ["checkout-canary-C"], "{}", world.story);
}

#[test]
fn it_makes_room_for_the_next_canary() {
    let mut world = failed();
    world.denies_canary = Some("exceeded quota".to_owned());
    let world = world.with_commit('C', Quality::Good).after(30);
    assert_eq!(retained(&world), 0, "{}", world.story);
    let world = failed().with_no_room(60);
    let world = world.with_commit('C', Quality::Good).after(30);
    assert_eq!(retained(&world), 0, "{}", world.story);
}

#[test]
fn it_goes_with_the_rollout() {
    let world = failed().with_deletion(false).until_gone();
    assert_eq!(retained(&world), 0, "{}", world.story);
}

#[test]
fn nothing_is_retained_of_what_was_promoted_superseded_or_deleted() {
    let promoted = draft().releasing(Quality::Good).until_rest();
    assert_eq!(promoted.outcomes(), "1 Promoted");
    assert_eq!(retained(&promoted), 0, "{}", promoted.story);
    let superseded = draft().releasing(Quality::Good).at_weight(20);
    let superseded = superseded
        .with_commit('C', Quality::Good)
        .at_stage(Stage::Unpinning);
    assert_eq!(retained(&superseded), 0, "{}", superseded.story);
    let deleted = draft().releasing(Quality::Good).at_weight(20);
    let deleted = deleted.with_deletion(false).until_gone();
    assert_eq!(retained(&deleted), 0, "{}", deleted.story);
}
