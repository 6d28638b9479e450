//! A canary that failed is kept for a while, to be looked at.

use jiff::SignedDuration;
use serde_json::json;
use tidegate_api::{
    intervention::Action as Ask,
    reason::ConditionType,
    status::{Phase, Stage},
};
use tidegate_engine::weight::Weight;

use crate::{deployment::Quality, rollout::a_rollout, world::World};

/// A canary that breached and is kept for an hour.
fn kept() -> World {
    a_rollout()
        .with("canary", json!({ "keepFailed": "1h" }))
        .releasing(Quality::Erroring)
        .when("a canary that is kept", is_kept)
}

fn is_kept(world: &World) -> bool {
    let attempt = world.status().attempt;
    attempt.is_some_and(|attempt| attempt.canary_kept_until.is_some())
}

fn has_canary(world: &World) -> bool {
    world.live.canary.is_some()
}

#[test]
fn its_pods_stay_without_traffic_and_the_outcome_is_known() {
    let world = kept().after(60);
    assert!(has_canary(&world), "{}", world.story);
    assert_eq!(world.share(), Weight::ZERO, "{}", world.story);
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    let status = world.status();
    assert_eq!(status.phase, Phase::CleaningUp);
    assert!(
        status.message.contains("are kept until"),
        "{}",
        status.message
    );
    let world = world.after(3600);
    assert!(!has_canary(&world), "{}", world.story);
    assert_eq!(world.stage(), None, "{}", world.story);
}

#[test]
fn whoever_wants_to_go_on_ends_it() {
    let world = kept().with_ask(Ask::Abort).after(60);
    assert_eq!(
        (world.stage(), has_canary(&world)),
        (None, false),
        "{}",
        world.story
    );
    let world = kept().with_commit('C', Quality::Good).until_rest();
    assert_eq!(world.runs(), 'C', "{}", world.story);
    let last = world.status().last_outcome.unwrap().ending.at;
    assert!(world.now.duration_since(last) < SignedDuration::from_hours(1));
    let world = kept().with_deletion(false).until_gone();
    assert!(!has_canary(&world), "{}", world.story);
}

#[test]
fn a_canary_that_somebody_deletes_is_waited_for_no_longer() {
    let mut world = kept();
    world.live.canary = None;
    world.happens("canary", "somebody deletes it");
    assert_eq!(world.after(60).stage(), None);
}

#[test]
fn a_revert_is_stable_though_the_canary_is_kept() {
    let world = kept().with_commit('A', Quality::Good).after(30);
    assert!(is_kept(&world), "{}", world.story);
    let conditions = world.status().conditions;
    let ready = tidegate_api::Condition::find(&conditions, ConditionType::Ready);
    assert!(ready.unwrap().is_true(), "{}", world.story);
}

#[test]
fn what_was_promoted_or_superseded_is_not_kept() {
    let draft = a_rollout().with("canary", json!({ "keepFailed": "1h" }));
    let world = draft
        .releasing(Quality::Good)
        .at_stage(Stage::RemovingCanary);
    assert!(!is_kept(&world), "{}", world.story);
    let world = draft.releasing(Quality::Good).at_weight(20);
    let world = world
        .with_commit('C', Quality::Good)
        .at_stage(Stage::RemovingCanary);
    assert!(!is_kept(&world), "{}", world.story);
}
