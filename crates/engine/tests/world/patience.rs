//! Deadlines: nothing may keep an attempt forever, and a time in which
//! nothing might move is not held against a release.

use serde_json::json;
use tidegate_api::{intervention::Action as Ask, status::Stage};

use crate::{
    deployment::Quality,
    metrics::PrometheusBehavior,
    rollout::{Draft, a_rollout},
};

fn a_short_rollout() -> Draft {
    a_rollout().with("steps", json!([{ "weight": 20, "hold": "1m" }]))
}

#[test]
fn a_pause_longer_than_the_progress_deadline_ends_nothing() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::Starting)
        .with_ask(Ask::Pause)
        .after(1800);
    let world = world.with_ask(Ask::Resume).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_step_that_began_again_can_be_approved_again() {
    let world = a_short_rollout()
        .with_approval_at(2)
        .releasing(Quality::Good)
        .when("the approval", |world| world.current_step() == Some(2))
        .with_readings(PrometheusBehavior::Empty, 20)
        .with_ask(Ask::Approve)
        .after(1);
    let world = world.with_unready(true, 3, 10).after(300);
    assert_eq!(
        world.stage(),
        Some(Stage::Stepping),
        "it waits for an approval: {}",
        world.story
    );
    let world = world.with_ask(Ask::Approve).after(300);
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_gateway_that_is_gone_keeps_no_attempt_for_ever() {
    let mut world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .after(5);
    world.live.gateway_gone = true;
    let world = world.with_ask(Ask::Abort).after(300);
    assert_eq!(
        world.stage(),
        Some(Stage::RollingBack),
        "it has its time: {}",
        world.story
    );
    let world = world.after(1800);
    assert_eq!(
        (world.outcomes().as_str(), world.stage()),
        ("1 Aborted", None),
        "{}",
        world.story
    );
    assert!(
        world.live.canary.is_none() && world.live.routes[0].canary.is_none(),
        "{}",
        world.story
    );
}

#[test]
fn a_gateway_that_is_gone_does_not_hold_up_a_deletion() {
    let mut world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .after(5);
    world.live.gateway_gone = true;
    let world = world.with_deletion(false).until_gone();
    assert!(
        world.live.canary.is_none() && world.live.routes[0].canary.is_none(),
        "{}",
        world.story
    );
}

#[test]
fn a_route_that_no_gateway_accepts_is_not_split() {
    let mut world = a_short_rollout().at_rest();
    world.live.gateway_gone = true;
    world.live.routes[0].accepted = false;
    let world = world.with_commit('B', Quality::Good).after(1800);
    assert_eq!(
        (world.outcomes().as_str(), world.stage()),
        ("", None),
        "{}",
        world.story
    );
}

#[test]
fn a_canary_that_is_lost_once_stable_has_rolled_out_changes_nothing() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::PinningToStable)
        .with_unready(true, 3, 600);
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn direct_callers_always_have_ready_pods_when_the_canary_is_lost_in_a_promotion() {
    let moments = [Stage::UpdatingStable, Stage::PinningToStable]
        .into_iter()
        .flat_map(|stage| (0..20).map(move |s| (stage, s)));
    for (stage, seconds) in moments {
        let world = a_short_rollout()
            .releasing(Quality::Good)
            .at_stage(stage)
            .after(seconds);
        let mut world = world.with_unready(true, 3, 900);
        // Sooner than new pods could start.
        world.run_for(jiff::SignedDuration::from_millis(1000));
        assert!(
            world.live.stable_endpoints.ready() > 0,
            "{stage:?}, lost after {seconds} s: {}",
            world.story
        );
        world.until_rest();
    }
}
