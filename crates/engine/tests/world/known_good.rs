//! A revision that was good before: no holds and no gates, and every approval.

use serde_json::json;
use tidegate_api::{
    intervention::Action as Ask,
    status::{Phase, Shortcut},
};
use tidegate_engine::weight::Weight;

use crate::{deployment::Quality, rollout::a_rollout, world::World};

/// The world in which A was good before, B is stable and A is wanted again.
fn reverting() -> World {
    let world = a_rollout()
        .with(
            "steps",
            json!([
                { "weight": 1, "hold": "1h" },
                { "weight": 20, "hold": "1h" },
                { "approval": {} },
                { "weight": 50, "hold": "1h" },
                { "approval": {} },
            ]),
        )
        .releasing(Quality::Good)
        .until_rest();
    world.with_commit('A', Quality::Good).after(60)
}

/// Asserts that it waits for the approval of this step.
fn waits_for_approval(world: &World, step: u32, percent: u32) {
    let status = &world.rollout.as_ref().unwrap().status;
    assert_eq!(status.phase, Phase::AwaitingApproval, "{}", world.story);
    let attempt = status.attempt.as_ref().unwrap();
    assert_eq!(
        (attempt.shortcut, attempt.step, world.live.routes[0].canary),
        (
            Some(Shortcut::KnownGood),
            step,
            Some(Weight::from_hundredths(percent * 100))
        ),
        "{}",
        world.story
    );
}

#[test]
fn what_was_good_before_skips_holds_and_waits_for_every_approval() {
    let world = reverting();
    waits_for_approval(&world, 3, 20);
    let world = world.after(7200);
    waits_for_approval(&world, 3, 20);
    let world = world.with_ask(Ask::Approve).after(60);
    waits_for_approval(&world, 5, 50);
    let world = world.with_ask(Ask::Approve).after(60);
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 Promoted, 2 Promoted", 'A'),
        "{}",
        world.story
    );
    insta::assert_snapshot!("known_good_with_approvals", world.story);
}

/// Number of revisions that are known to be good.
fn known_good(world: &World) -> usize {
    world.rollout.as_ref().unwrap().status.history.len()
}

#[test]
fn what_was_left_for_an_older_revision_soon_after_its_promotion_is_not_good_any_more() {
    let world = reverting();
    assert_eq!(known_good(&world), 2);
    let world = world.with_ask(Ask::Promote).after(60);
    assert_eq!(world.runs(), 'A', "{}", world.story);
    assert_eq!(known_good(&world), 1, "B was left");
    let world = world.with_commit('B', Quality::Good).after(60);
    let attempt = world.rollout.as_ref().unwrap().status.attempt.clone();
    assert_eq!(attempt.unwrap().shortcut, None, "{}", world.story);
}

#[test]
fn what_was_stable_for_days_stays_good_when_it_is_left() {
    let world = reverting().after(48 * 3600);
    let world = world.with_ask(Ask::Promote).after(60);
    assert_eq!(known_good(&world), 2);
}

#[test]
fn a_promotion_that_is_asked_for_skips_the_approvals_of_what_was_good_before() {
    let world = reverting().with_ask(Ask::Promote).after(60);
    assert_eq!(
        world.outcomes(),
        "1 Promoted, 2 Promoted",
        "{}",
        world.story
    );
}

#[test]
fn a_breach_takes_traffic_from_what_was_good_before() {
    let world = reverting().with_breach("errors").after(60);
    assert_eq!(
        world.outcomes(),
        "1 Promoted, 2 RolledBack",
        "{}",
        world.story
    );
}
