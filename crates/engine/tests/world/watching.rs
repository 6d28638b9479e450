//! Readings count whenever the canary has traffic, whatever the attempt waits for.

use jiff::SignedDuration;
use tidegate_api::{
    intervention::Action as Ask,
    record::Reason,
    status::{Phase, Stage},
};
use tidegate_engine::weight::Weight;

use crate::{
    deployment::Quality,
    metrics::{PrometheusBehavior, READING_LAG},
    rollout::a_rollout,
    world::World,
};

/// Time between two readings, and time for an answer.
const ONE_READING: SignedDuration = SignedDuration::from_secs(16);

/// The world in which the canary has 20 % and finds no room for the pods of the step of 50 %.
fn growing() -> World {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_no_room(500);
    world
        .when("the step of 50 %", |world| world.current_step() == Some(3))
        .after(60)
}

/// Asserts that a breach from now on takes the canary's traffic within one reading.
fn breaches_within_one_reading(world: World, share: u32) -> World {
    let weight = |world: &World| world.live.routes[0].canary.unwrap_or_default();
    assert_eq!(
        weight(&world),
        Weight::from_hundredths(share * 100),
        "{}",
        world.story
    );
    let mut world = world.with_breach("errors");
    let acted = world.run_until(ONE_READING, |world| weight(world) == Weight::ZERO);
    assert!(acted, "{}", world.story);
    let reason = world.rollout.as_ref().unwrap().status.attempt.as_ref();
    let ending = reason.unwrap().ending.clone().unwrap();
    assert_eq!(ending.reason, Reason::GateBreached, "{}", world.story);
    world
}

#[test]
fn a_breach_while_the_canary_grows_takes_traffic_back() {
    let world = breaches_within_one_reading(growing(), 20).until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    insta::assert_snapshot!("breach_while_growing", world.story);
}

#[test]
fn a_breach_in_a_pause_between_two_steps_takes_traffic_back() {
    let world = growing().with_ask(Ask::Pause).after(3600);
    let status = &world.rollout.as_ref().unwrap().status;
    assert_eq!(status.phase, Phase::Paused, "{}", world.story);
    breaches_within_one_reading(world, 20).until_rest();
}

#[test]
fn a_breach_while_the_gateway_does_not_accept_the_next_weight_takes_traffic_back() {
    let mut world = a_rollout().releasing(Quality::Good).at_weight(20);
    world.live.gateway_gone = true;
    let world = world
        .when("the step of 50 %", |world| world.current_step() == Some(3))
        .after(60);
    breaches_within_one_reading(world, 50);
}

#[test]
fn a_breach_while_the_gateway_does_not_accept_the_first_weight_takes_traffic_back() {
    let mut world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::Stepping);
    world.live.gateway_gone = true;
    breaches_within_one_reading(world.after(60), 1);
}

#[test]
fn a_gateway_that_gives_the_canary_nothing_is_not_held_against_it() {
    let mut world = a_rollout()
        .with("gates", serde_json::json!([
            { "name": "errors", "threshold": { "query": "errors", "max": 0.05 }, "onNoData": "Rollback" },
        ]))
        .releasing(Quality::Good)
        .at_stage(Stage::Stepping);
    world.live.gateway_gone = true;
    let world = world
        .with_readings(PrometheusBehavior::Empty, 7200)
        .after(3700);
    let status = &world.rollout.as_ref().unwrap().status;
    assert_eq!(
        status
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.ending.as_ref())
            .map(|ending| ending.reason),
        Some(Reason::Blocked),
        "{}",
        world.story
    );
}

#[test]
fn a_breach_after_a_restart_between_two_steps_takes_traffic_back() {
    let world = growing().with_new_leader();
    breaches_within_one_reading(world, 20);
    let world = growing().with_tidegate_down(2).after(3);
    breaches_within_one_reading(world, 20);
}

#[test]
fn a_breach_while_traffic_shifts_to_the_promoted_pods_is_acted_on() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::ShiftingToStable);
    let mut world = world.with_breach("errors").read_now();
    world.live.routes[0].accepted = false;
    world.live.gateway_gone = true;
    let world = world.after(READING_LAG.as_secs() + 1);
    assert_eq!(world.stage(), Some(Stage::RollingBack), "{}", world.story);
}

#[test]
fn no_metrics_in_a_pause_between_two_steps_is_inconclusive() {
    let world = growing()
        .with_ask(Ask::Pause)
        .with_readings(PrometheusBehavior::Down, 7200)
        .after(900);
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
}

#[test]
fn a_step_waits_for_a_reading_of_its_own() {
    let world = growing().when("the step of 50 %", |world| {
        world.live.routes[0].canary == Some(Weight::from_hundredths(5000))
    });
    let gates = |world: &World| {
        let attempt = world.rollout.as_ref().unwrap().status.attempt.clone();
        attempt.unwrap().gates
    };
    assert!(
        gates(&world).iter().all(|gate| gate.readings == 0),
        "{}",
        world.story
    );
    let world = world.after(30);
    assert!(
        gates(&world).iter().all(|gate| gate.readings > 0),
        "{}",
        world.story
    );
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}
