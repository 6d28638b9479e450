//! Conditions, by kstatus's rules: `Ready` is true only of what is wanted.

use serde_json::json;
use tidegate_api::{
    Condition,
    reason::{ConditionType, ReadyReason, ReasonCode as _},
    status::Stage,
};
use tidegate_engine::decide::decide;

use crate::{deployment::Quality, rollout::a_rollout, shell::Fault, world::World};

/// Status and reason of a condition, as it would be decided now.
fn condition(world: &World, type_: ConditionType) -> (bool, String) {
    let observed = world.observed().unwrap();
    let status = decide(&observed, world.now).status;
    let condition = Condition::find(&status.conditions, type_).unwrap();
    let generation = Some(observed.identity.generation);
    assert_eq!(condition.observed_generation, generation);
    (condition.is_true(), condition.reason.clone())
}

fn holds(world: &World, type_: ConditionType) -> bool {
    condition(world, type_).0
}

#[test]
fn a_rollout_is_ready_while_the_wanted_revision_is_stable() {
    let world = a_rollout().at_rest();
    assert!(holds(&world, ConditionType::Ready), "{}", world.story);
    assert!(holds(&world, ConditionType::Available), "{}", world.story);
    assert!(
        !holds(&world, ConditionType::Reconciling),
        "{}",
        world.story
    );
}

#[test]
fn a_rollout_is_not_ready_from_the_commit_until_its_promotion() {
    let mut world = a_rollout()
        .at_rest()
        .with_commit('B', Quality::Good)
        .after(1);
    let mut turns = 0;
    while world.outcomes() != "1 Promoted" || world.stage().is_some() {
        let ready = condition(&world, ConditionType::Ready);
        let pending = (false, ReadyReason::RevisionPending.as_str().to_owned());
        assert_eq!(ready, pending, "{}", world.story);
        assert!(holds(&world, ConditionType::Reconciling), "{}", world.story);
        world = world.after(1);
        turns += 1;
        assert!(turns < 3600, "{}", world.story);
    }
    let world = world.until_rest();
    assert!(holds(&world, ConditionType::Ready), "{}", world.story);
}

#[test]
fn a_rejected_revision_is_stalled_and_not_ready() {
    let recorded = a_rollout().with("onRollback", json!({ "git": "Record" }));
    let world = recorded.releasing(Quality::Erroring).until_rest();
    assert!(holds(&world, ConditionType::Stalled), "{}", world.story);
    assert!(!holds(&world, ConditionType::Ready), "{}", world.story);
    assert!(
        !holds(&world, ConditionType::Reconciling),
        "{}",
        world.story
    );
    assert!(holds(&world, ConditionType::Available), "{}", world.story);
}

#[test]
fn a_rollout_whose_callers_are_not_served_is_neither_available_nor_ready() {
    let world = a_rollout().at_rest();
    let mut observed = world.observed().unwrap();
    observed.stable_endpoints.ready = 0;
    let conditions = decide(&observed, world.now).status.conditions;
    for type_ in [ConditionType::Available, ConditionType::Ready] {
        let condition = Condition::find(&conditions, type_).unwrap();
        assert!(!condition.is_true(), "{condition:?}");
    }
}

/// Returns true if the persisted status says that the Rollout is ready.
fn is_ready(world: &World) -> bool {
    Condition::find(&world.status().conditions, ConditionType::Ready)
        .is_some_and(Condition::is_true)
}

#[test]
fn a_rollout_is_not_ready_until_a_foreign_template_is_reverted() {
    // The status is written, and the template is not.
    let world = a_rollout()
        .at_rest()
        .with_fault(1, Fault::Refused)
        .with_foreign_template()
        .when("the drift is said", |world| {
            let message = world.status().message;
            message == "waiting for Deployment checkout to run its stable revision"
        });
    assert_eq!(world.runs(), 'X', "{}", world.story);
    assert!(!is_ready(&world), "{}", world.story);
    let world = world.until_rest();
    assert_eq!(world.runs(), 'A', "{}", world.story);
    assert!(is_ready(&world), "{}", world.story);
}

#[test]
fn an_attempt_does_not_end_ready_over_a_foreign_template() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::Unpinning)
        .when("the end of pins and pause", |world| {
            let workload = world.live.workload.as_ref();
            world
                .live
                .services
                .iter()
                .all(|service| service.pin.is_none())
                && workload.is_some_and(|workload| !workload.paused)
        });
    // The status that ends the attempt is written, and nothing after it.
    let world = world
        .with_fault(1, Fault::Refused)
        .with_foreign_template()
        .after(0);
    assert!(world.stage().is_none(), "{}", world.story);
    assert_eq!(world.runs(), 'X', "{}", world.story);
    assert!(!is_ready(&world), "{}", world.story);
    assert!(is_ready(&world.until_rest()));
}

#[test]
fn a_rollout_whose_deletion_is_held_up_is_not_ready_over_a_foreign_template() {
    let world = a_rollout()
        .at_rest()
        .with_deletion(true)
        .with_foreign_template()
        .after(5);
    assert_eq!(world.runs(), 'X', "{}", world.story);
    assert!(!is_ready(&world), "{}", world.story);
    let message = world.status().message;
    assert!(message.contains("is being deleted"), "{message}");
}
