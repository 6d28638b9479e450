//! A stable that is not well holds back no cure.

use tidegate_api::{
    Condition,
    intervention::Action as Ask,
    reason::ConditionType,
    status::{Shortcut, Stage},
};
use tidegate_engine::weight::Weight;

use crate::{
    deployment::Quality,
    metrics::PrometheusBehavior,
    rollout::a_rollout,
    shell::{Fault, Group},
    world::World,
};

/// Longer than any scenario lasts.
const FOR_GOOD: i64 = 360_000;

fn condition(world: &World, type_: ConditionType) -> (bool, String) {
    let conditions = &world.rollout.as_ref().unwrap().status.conditions;
    let condition = Condition::find(conditions, type_).unwrap();
    (condition.is_true(), condition.message.clone())
}

fn share(world: &World) -> Weight {
    world.live.routes[0].canary.unwrap_or_default()
}

#[test]
fn a_fix_is_released_over_a_stable_with_one_unready_pod() {
    let world = a_rollout()
        .at_rest()
        .with_unready(false, 1, FOR_GOOD)
        .after(300);
    let (degraded, message) = condition(&world, ConditionType::StableDegraded);
    assert!(degraded, "{}", world.story);
    assert!(
        message.starts_with("2 of 3 stable pods are ready"),
        "{message}"
    );
    let world = world.with_commit('B', Quality::Good).until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 Promoted", 'B')
    );
    assert!(!condition(&world, ConditionType::StableDegraded).0);
    insta::assert_snapshot!("fix_over_one_unready_pod", world.story);
}

#[test]
fn a_fix_is_released_over_a_stable_that_nobody_reaches_and_measures() {
    let world = a_rollout()
        .at_rest()
        .with_unready(false, 3, FOR_GOOD)
        .with_readings(PrometheusBehavior::Empty, 320)
        .after(300)
        .with_commit('B', Quality::Good);
    let world = world.until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 Promoted", 'B')
    );
}

#[test]
fn a_fix_is_released_over_a_stable_that_finds_no_room_for_all_its_pods() {
    let world = a_rollout().at_rest();
    let world = world.with_no_room(300).with_scale(4).after(60);
    let world = world.with_commit('B', Quality::Good).after(30);
    assert_eq!(world.stage(), Some(Stage::Starting), "{}", world.story);
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn a_revert_goes_out_at_once_over_a_stable_that_is_dead() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .until_rest()
        .with_unready(false, 3, FOR_GOOD)
        .after(60)
        .with_commit('A', Quality::Good);
    let world = world.at_stage(Stage::Starting);
    let attempt = world.rollout.as_ref().unwrap().status.attempt.clone();
    assert_eq!(
        attempt.unwrap().shortcut,
        Some(Shortcut::KnownGood),
        "{}",
        world.story
    );
    let world = world.after(60);
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 Promoted, 2 Promoted", 'A'),
        "{}",
        world.story
    );
}

#[test]
fn a_promotion_that_was_asked_for_does_not_wait_for_stable() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_unready(false, 2, FOR_GOOD)
        .after(600);
    assert_eq!(
        share(&world),
        Weight::from_hundredths(2000),
        "{}",
        world.story
    );
    let world = world.with_ask(Ask::Promote).until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 Promoted", 'B')
    );
}

#[test]
fn no_weight_is_raised_while_stable_has_lost_pods_since_the_attempt_started() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_unready(false, 1, 3600)
        .after(3000);
    assert_eq!(
        share(&world),
        Weight::from_hundredths(2000),
        "{}",
        world.story
    );
    let message = &world.rollout.as_ref().unwrap().status.message;
    assert!(message.contains("2 of 3 ready"), "{message}");
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    insta::assert_snapshot!("stable_lost_a_pod", world.story);
}

#[test]
fn the_next_fix_gets_out_though_stable_is_dead_and_the_last_one_breached() {
    let world = a_rollout()
        .at_rest()
        .with_unready(false, 3, FOR_GOOD)
        .with_commit('B', Quality::Erroring)
        .at_stage(Stage::RollingBack)
        .after(30);
    let world = world.with_commit('C', Quality::Good).until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 RolledBack, 2 Promoted", 'C'),
        "{}",
        world.story
    );
}

#[test]
fn a_workload_that_is_not_well_is_adopted_and_known_to_be_good_once_it_is() {
    let draft = a_rollout();
    let mut world = draft.begins().with_unready(false, 1, 600);
    world.commit(
        "rev-A",
        crate::rollout::template('A', Quality::Good),
        "commit",
    );
    let world = world.after(60);
    let status = |world: &World| world.rollout.as_ref().unwrap().status.clone();
    assert!(status(&world).stable.is_some(), "{}", world.story);
    assert!(status(&world).history.is_empty(), "{}", world.story);
    let world = world.after(900);
    assert_eq!(status(&world).history.len(), 1, "{}", world.story);
}

#[test]
fn what_was_taken_back_before_a_crash_is_no_more_given_than_any_raise() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_unready(false, 1, 300)
        .after(5)
        .with_fault(0, Fault::CrashAfter)
        .with_breach("errors")
        .when("the kill", |world| !world.shell.alive);
    assert_eq!(share(&world), Weight::ZERO, "{}", world.story);
    let attempt = world.status().attempt;
    assert!(
        attempt.is_some_and(|attempt| attempt.ending.is_none()),
        "the status does not know of the breach: {}",
        world.story
    );
    let world = world.after(60);
    assert_eq!(share(&world), Weight::ZERO, "{}", world.story);
    let world = world.until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 RolledBack", 'A')
    );
}

#[test]
fn a_raise_that_was_denied_does_not_go_out_once_stable_has_lost_pods() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(1)
        .with_denial(Group::Routes, 120)
        .when("the step of 20 %", |world| world.current_step() == Some(2))
        .with_unready(false, 1, 300)
        .after(150);
    assert_eq!(
        world.share(),
        Weight::from_hundredths(100),
        "{}",
        world.story
    );
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn a_pin_or_a_share_that_was_denied_sends_nobody_to_pods_that_are_lost_meanwhile() {
    for (stage, group) in [
        (Stage::PinningToStable, Group::Services),
        (Stage::ShiftingToStable, Group::Routes),
    ] {
        let world = a_rollout()
            .releasing(Quality::Good)
            .at_stage(Stage::UpdatingStable)
            .with_denial(group, 60)
            .at_stage(stage)
            .after(2)
            .with_unready(false, 3, 120)
            .after(90);
        let callers = match group {
            Group::Services => world.live.stable_endpoints.ready(),
            _ => world.live.canary_endpoints.ready(),
        };
        assert_eq!(callers, 3, "{stage:?}: {}", world.story);
        assert_eq!(world.share(), Weight::FULL, "{stage:?}: {}", world.story);
        let world = world.until_rest();
        assert_eq!(world.outcomes(), "1 Promoted", "{stage:?}: {}", world.story);
    }
}
