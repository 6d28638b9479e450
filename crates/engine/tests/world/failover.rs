//! The canary stands in for a stable that is down.

use serde_json::json;
use tidegate_api::{
    Condition,
    intervention::Action as Ask,
    reason::ConditionType,
    record::{Reason, Record},
    status::Stage,
};
use tidegate_engine::{pin::Pin, weight::Weight};

use crate::{deployment::Quality, metrics::PrometheusBehavior, rollout::a_rollout, world::World};

/// Share of the step that the canary is in.
fn twenty() -> Weight {
    Weight::from_hundredths(2000)
}

/// At 20 %, and stable has no ready pod for so many seconds.
fn stable_is_down(seconds: i64) -> World {
    a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_unready(false, 3, seconds)
}

fn pins(world: &World) -> Vec<Option<Pin>> {
    let services = world.live.services.iter();
    services.map(|service| service.pin.clone()).collect()
}

#[test]
fn all_traffic_goes_to_the_canary_while_stable_is_down_and_its_share_comes_back() {
    let world = stable_is_down(120).after(5);
    assert_eq!(world.share(), twenty(), "{}", world.story);
    let canary = world.live.canary.as_ref().unwrap().replicas;
    assert_eq!(canary, 3, "it grows first: {}", world.story);
    let world = world.after(10);
    assert_eq!(world.share(), Weight::FULL, "{}", world.story);
    assert_eq!(pins(&world), [Some(Pin::Canary), Some(Pin::Canary)]);
    let status = world.status();
    let degraded = Condition::find(&status.conditions, ConditionType::StableDegraded).unwrap();
    assert_eq!(degraded.reason, "FailedOver");
    assert!(degraded.message.contains("all traffic is on the canary"));
    let available = Condition::find(&status.conditions, ConditionType::Available).unwrap();
    assert!(available.is_true(), "{}", available.message);
    assert!(status.message.contains("failed over"), "{}", status.message);

    let world = world.after(125);
    assert_eq!(
        world.share(),
        Weight::FULL,
        "ready for 20 s: {}",
        world.story
    );
    let world = world.after(15);
    assert_eq!(world.share(), twenty(), "{}", world.story);
    assert!(
        !pins(&world).contains(&Some(Pin::Canary)),
        "{}",
        world.story
    );
    let replicas = world.live.canary.as_ref().unwrap().replicas;
    assert_eq!(replicas, 3, "it is not scaled down again");
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    let failovers = world.git.facts.values().find_map(|record| match record {
        Record::Outcome(outcome) => Some(outcome.failovers.clone()),
        Record::Started(_) => None,
    });
    let failovers = failovers.unwrap();
    assert!(
        failovers.len() == 1 && failovers[0].until.is_some(),
        "{failovers:?}"
    );
    insta::assert_snapshot!("failover", world.story);
}

#[test]
fn a_stable_that_is_down_for_a_moment_keeps_its_share() {
    let world = stable_is_down(8).after(25);
    assert_eq!(world.share(), twenty(), "{}", world.story);
}

#[test]
fn failover_may_be_forbidden() {
    let world = a_rollout()
        .with("failover", json!("Never"))
        .releasing(Quality::Good)
        .at_weight(20)
        .with_unready(false, 3, 90)
        .after(60);
    assert_eq!(world.share(), twenty(), "{}", world.story);
}

#[test]
fn what_waits_for_approval_gets_no_more_than_its_step() {
    let world = a_rollout()
        .with_approval_at(3)
        .releasing(Quality::Good)
        .at_weight(20)
        .when("the approval", |world| world.current_step() == Some(3))
        .after(5)
        .with_unready(false, 3, 300)
        .after(60);
    assert_eq!(world.share(), twenty(), "{}", world.story);
    let world = world.with_ask(Ask::Approve).after(5);
    assert_eq!(world.share(), Weight::FULL, "{}", world.story);
}

#[test]
fn a_canary_without_a_weight_of_its_own_is_not_failed_over_to() {
    let world = a_rollout()
        .with(
            "steps",
            json!([{ "weight": 0, "hold": "10m" }, { "weight": 100, "hold": "1m" }]),
        )
        .releasing(Quality::Good)
        .at_stage(Stage::Stepping)
        .with_unready(false, 3, 120)
        .after(60);
    assert_eq!(world.share(), Weight::ZERO, "{}", world.story);
}

#[test]
fn a_stable_that_is_scaled_to_zero_is_not_stood_in_for() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_scale(0)
        .after(60);
    assert!(
        world.status().attempt.unwrap().failovers.is_empty(),
        "{}",
        world.story
    );
}

#[test]
fn the_third_time_ends_the_attempt_and_rejects_nothing() {
    let mut world = stable_is_down(30).after(100);
    for _ in 0..2 {
        world = world.with_unready(false, 3, 30).after(100);
    }
    let world = world.when("the end", |world| world.status().attempt.is_none());
    let status = world.status();
    let last = status.last_outcome.unwrap();
    assert_eq!(last.ending.reason, Reason::StableDown, "{}", world.story);
    assert!(status.rejected.is_empty() && status.backoff.is_some());
    assert_eq!(world.until_rest().outcomes(), "1 Aborted, 2 Promoted");
}

#[test]
fn readings_of_a_failover_count_neither_for_nor_against_the_canary() {
    let world = stable_is_down(60)
        .after(15)
        .with_readings(PrometheusBehavior::Breach, 60)
        .after(30);
    assert_eq!(world.share(), Weight::FULL, "{}", world.story);
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_canary_that_becomes_unready_in_a_failover_is_not_to_blame() {
    let mut world = stable_is_down(400).after(15);
    for _ in 0..4 {
        world = world.with_unready(true, 3, 20).after(40);
    }
    let attempt = world.status().attempt.unwrap();
    assert_eq!(
        (attempt.readiness_lost_at.len(), attempt.failovers.len()),
        (0, 1)
    );
    assert_eq!(world.share(), Weight::FULL, "{}", world.story);
    let world = world.with_unready(true, 3, 20).after(1);
    assert_eq!(
        world.share(),
        Weight::ZERO,
        "nobody is ready: {}",
        world.story
    );
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn a_fix_over_a_dead_stable_serves_everybody_from_its_first_step() {
    let world = a_rollout()
        .at_rest()
        .with_unready(false, 3, 360_000)
        .after(60)
        .with_commit('B', Quality::Good)
        .at_stage(Stage::Stepping)
        .after(2);
    assert_eq!(world.share(), Weight::FULL, "{}", world.story);
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

/// The canary has 20 %, no room for the pods of the next weight, and is paused.
fn paused_in_growth(shortcut: Option<Ask>) -> World {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_no_room(60);
    let world = match shortcut {
        Some(ask) => world.with_ask(ask),
        None => world,
    };
    world
        .when("the next step", |world| world.current_step() > Some(2))
        .with_ask(Ask::Pause)
        .after(5)
}

#[test]
fn in_a_pause_the_canary_gives_back_what_it_did_not_have_before() {
    for shortcut in [None, Some(Ask::Promote)] {
        let world = paused_in_growth(shortcut)
            .with_unready(false, 3, 120)
            .when("the failover", |world| world.share() == Weight::FULL)
            .when("its end", |world| world.share() < Weight::FULL)
            .after(3600);
        assert_eq!(world.share(), twenty(), "{}", world.story);
        let world = world.with_ask(Ask::Resume).until_rest();
        assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    }
}

#[test]
fn it_looks_again_when_readings_count_after_a_failover() {
    let world = stable_is_down(30)
        .when("the failover", is_failed_over)
        .when("its end", |world| !is_failed_over(world));
    let from = world.status().attempt.unwrap().traffic_since.unwrap();
    assert!(from > world.now, "{}", world.story);
    // The hold of the step lasts longer, and nothing else is to happen.
    let looks = world.shell.requeue_at.unwrap();
    assert!(looks <= from, "{looks}: {}", world.story);
}

fn is_failed_over(world: &World) -> bool {
    let attempt = world.status().attempt;
    attempt.is_some_and(|attempt| attempt.is_failed_over())
}
