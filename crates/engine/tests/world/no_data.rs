//! Data that does not come: who is held up by it, for how long, and how a person goes on without it.

use serde_json::json;
use tidegate_api::{
    intervention::Action as Ask,
    reason::ConditionType,
    status::{Shortcut, Stage},
};

use crate::{
    deployment::Quality,
    metrics::PrometheusBehavior,
    rollout::{Draft, a_rollout},
    world::World,
};

/// Eight hours.
const NIGHT: i64 = 8 * 3600;

fn a_short_rollout() -> Draft {
    a_rollout().with("steps", json!([{ "weight": 20, "hold": "1m" }]))
}

fn attempts(world: &World) -> u32 {
    world.rollout.as_ref().unwrap().status.attempts
}

fn stalled_reason(world: &World) -> String {
    let status = &world.rollout.as_ref().unwrap().status;
    let mut conditions = status.conditions.iter();
    let stalled =
        conditions.find(|condition| condition.type_ == ConditionType::Stalled.to_string());
    stalled
        .map(|stalled| stalled.reason.clone())
        .unwrap_or_default()
}

/// Three attempts of revision B have ended without a finding.
fn thrice_inconclusive() -> World {
    let mut world = a_short_rollout().releasing(Quality::Good);
    for attempt in 1..=3 {
        world = world
            .when("its step", |world| {
                attempts(world) == attempt
                    && world.live.routes[0].canary.is_some()
                    && world.stage() == Some(Stage::Stepping)
            })
            .with_readings(PrometheusBehavior::Down, 800)
            .when("its end", |world| world.stage().is_none());
    }
    world
}

#[test]
fn after_three_inconclusive_attempts_a_revision_waits_for_a_person() {
    let world = thrice_inconclusive().after(NIGHT);
    assert_eq!(
        world.outcomes(),
        "1 Aborted, 2 Aborted, 3 Aborted",
        "{}",
        world.story
    );
    assert_eq!(stalled_reason(&world), "Inconclusive");
    let message = &world.rollout.as_ref().unwrap().status.message;
    assert!(
        message.contains("create a Retry Intervention for attempt 3"),
        "{message}"
    );
    let world = world.with_ask(Ask::Retry).until_rest();
    assert!(world.outcomes().ends_with("4 Promoted"), "{}", world.story);
}

#[test]
fn another_revision_is_not_held_up_by_inconclusive_attempts() {
    let world = thrice_inconclusive()
        .with_commit('C', Quality::Good)
        .until_rest();
    assert!(world.outcomes().ends_with("4 Promoted"), "{}", world.story);
    assert_eq!(world.runs(), 'C');
}

#[test]
fn an_approval_over_night_without_traffic_ends_nothing() {
    let world = a_short_rollout()
        .with("gates", json!([
            { "name": "errors", "threshold": { "query": "errors", "max": 0.05 }, "onNoData": "Rollback" },
        ]))
        .with_approval_at(2)
        .releasing(Quality::Good)
        .when("the approval", |world| world.current_step() == Some(2))
        .with_readings(PrometheusBehavior::Silent, NIGHT)
        .after(NIGHT + 60);
    assert_eq!(world.stage(), Some(Stage::Stepping), "{}", world.story);
    let world = world.with_ask(Ask::Approve).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_pause_over_night_without_traffic_ends_nothing() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_ask(Ask::Pause)
        .with_readings(PrometheusBehavior::Silent, NIGHT)
        .after(NIGHT + 60);
    assert_eq!(world.stage(), Some(Stage::Stepping), "{}", world.story);
    let world = world.with_ask(Ask::Resume).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_canary_that_alone_has_no_data_is_inconclusive_in_an_approval_too() {
    let world = a_short_rollout()
        .with_approval_at(2)
        .releasing(Quality::Good)
        .when("the approval", |world| world.current_step() == Some(2))
        .with_readings(PrometheusBehavior::Empty, NIGHT)
        .after(900);
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
}

#[test]
fn a_service_without_requests_is_released_by_a_person_and_the_record_says_so() {
    let world = a_short_rollout()
        .at_rest()
        .with_readings(PrometheusBehavior::Silent, NIGHT)
        .with_commit('B', Quality::Good)
        .after(600);
    assert_eq!(
        (attempts(&world), stalled_reason(&world).as_str()),
        (0, "InvalidQuery")
    );
    let message = &world.rollout.as_ref().unwrap().status.message;
    assert!(
        message.contains("Promote Intervention for attempt 1"),
        "{message}"
    );
    let world = world
        .with_ask(Ask::Promote)
        .when("the attempt", |world| attempts(world) == 1);
    let attempt = world
        .rollout
        .as_ref()
        .unwrap()
        .status
        .attempt
        .clone()
        .unwrap();
    assert_eq!(attempt.shortcut, Some(Shortcut::Promote));
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    assert_eq!(world.runs(), 'B');
}

#[test]
fn a_request_to_promote_what_waits_is_for_that_revision_alone() {
    let world = a_short_rollout()
        .at_rest()
        .with_readings(PrometheusBehavior::Silent, NIGHT)
        .with_commit('B', Quality::Good)
        .after(600)
        .with_ask(Ask::Promote)
        .with_commit('C', Quality::Good);
    let mut world = world;
    world.sync();
    let world = world.after(60);
    let runs_c = attempts(&world) > 0
        && world
            .rollout
            .as_ref()
            .unwrap()
            .status
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.revision.as_str() == "rev-C");
    assert!(!runs_c, "nobody asked for C: {}", world.story);
}

#[test]
fn what_was_rejected_is_not_promoted_past_its_gates() {
    let world = a_short_rollout()
        .releasing(Quality::Erroring)
        .until_rest()
        .with_ask(Ask::Promote)
        .after(600);
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
}

#[test]
fn a_promotion_passes_what_waits_for_data_and_no_breach() {
    let world = a_short_rollout()
        .with("gates", json!([
            { "name": "errors", "threshold": { "query": "errors", "max": 0.05 }, "onNoData": "Rollback" },
        ]))
        .releasing(Quality::Good)
        .at_weight(20)
        .with_ask(Ask::Promote)
        .with_readings(PrometheusBehavior::Empty, 1200)
        .until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_breach("errors")
        .with_ask(Ask::Promote)
        .until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
}

#[test]
fn a_step_ends_on_a_reading_taken_at_its_end() {
    let world = a_rollout()
        .with(
            "steps",
            json!([{ "weight": 20, "hold": "12s" }, { "weight": 50, "hold": "1m" }]),
        )
        .releasing(Quality::Good)
        .at_weight(20);
    // The first reading is good, and the next is due 15 s later. It turns bad between them.
    let world = world.after(5).with_breach("errors").until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    assert!(!world.story.to_string().contains("50%"), "{}", world.story);
}

#[test]
fn bad_readings_of_a_gate_that_observes_cost_no_writes() {
    let observes = json!([
        { "name": "errors", "threshold": { "query": "errors", "max": 0.05 } },
        {
            "name": "p99", "mode": "Observe",
            "breachWindow": { "query": "p99", "max": 1.0, "maxBreaches": 100, "within": "24h" },
        },
    ]);
    let writes = |behavior: Option<PrometheusBehavior>| {
        let world = a_rollout()
            .with("gates", observes.clone())
            .with("steps", json!([{ "weight": 20, "hold": "30m" }]))
            .releasing(Quality::Good)
            .at_weight(20)
            .after(60);
        let world = match behavior {
            Some(behavior) => world.with_readings(behavior, 1200),
            None => world,
        };
        let before = world.turns_that_wrote;
        let world = world.after(1100);
        world.turns_that_wrote - before
    };
    let (good, bad) = (writes(None), writes(Some(PrometheusBehavior::Slow)));
    assert!(
        bad <= good + 1,
        "{bad} writes with bad readings, {good} without"
    );
}
