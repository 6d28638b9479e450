//! The mode `Observe`: nothing is changed, and what would have been done is said.

use serde_json::json;
use tidegate_api::{
    Condition,
    intervention::Action as Ask,
    reason::{ConditionType, Finding},
    rollout::Mode,
    status::{Observation, ObservedFinding, Phase, Stage},
};

use crate::{
    deployment::Quality,
    metrics::PrometheusBehavior,
    rollout::{Draft, a_rollout, a_rollout_by_replicas},
    world::World,
};

fn observing(draft: Draft) -> Draft {
    draft.with("mode", json!("Observe"))
}

/// A workload runs, and is observed.
fn at_rest() -> World {
    observing(a_rollout())
        .begins()
        .with_commit('A', Quality::Good)
        .after(60)
}

fn observation(world: &World) -> Observation {
    let observation = world.status().observation;
    observation.unwrap_or_else(|| world.fail("it observes nothing"))
}

#[track_caller]
fn found(world: &World, finding: Finding) -> ObservedFinding {
    let findings = observation(world).findings;
    let last = findings.first().cloned();
    let last = last.unwrap_or_else(|| world.fail("nothing was found"));
    assert_eq!(last.finding, finding, "{}: {}", last.message, world.story);
    last
}

/// The objects bear nothing of Tidegate.
#[track_caller]
fn is_left_alone(world: &World) {
    let workload = world.live.workload.as_ref().unwrap();
    assert!(
        !workload.paused && workload.epoch.is_none(),
        "{}",
        world.story
    );
    assert!(workload.held.is_none(), "{}", world.story);
    assert!(world.live.canary.is_none() && !world.live.canary_service);
    let mut services = world.live.services.iter();
    assert!(services.all(|service| service.pin.is_none() && service.epoch.is_none()));
    let mut routes = world.live.routes.iter();
    assert!(
        routes.all(|route| route.canary.is_none()),
        "{}",
        world.story
    );
    assert!(
        !world.rollout.as_ref().unwrap().finalizer,
        "{}",
        world.story
    );
}

#[track_caller]
fn ready(world: &World, holds: bool, reason: &str) {
    let status = world.status();
    let ready = Condition::find(&status.conditions, ConditionType::Ready).unwrap();
    let seen = (ready.is_true(), ready.reason.as_str());
    assert_eq!(seen, (holds, reason), "{}", world.story);
}

#[test]
fn a_good_release_rolls_by_itself_and_would_have_been_promoted() {
    let world = at_rest();
    assert_eq!(world.status().phase, Phase::Observing, "{}", world.story);
    assert!(world.status().stable.is_none(), "{}", world.story);
    ready(&world, true, "RolledOut");
    let world = world.with_commit('B', Quality::Good).after(2);
    ready(&world, false, "RollingOut");
    let world = world.after(240);
    assert_eq!(world.runs(), 'B', "{}", world.story);
    found(&world, Finding::WouldHavePromoted);
    ready(&world, true, "RolledOut");
    is_left_alone(&world);
    insta::assert_snapshot!("observed_good", world.story);
}

#[test]
fn a_bad_release_goes_on_and_would_have_been_rolled_back() {
    let world = at_rest().with_commit('B', Quality::Erroring).after(60);
    let finding = found(&world, Finding::WouldHaveRolledBack);
    assert!(
        finding.message.contains("gate \"errors\" breached"),
        "{}",
        finding.message
    );
    assert_eq!(world.runs(), 'B', "{}", world.story);
    let message = world.status().message;
    assert!(message.contains("would have been rolled back"), "{message}");
    is_left_alone(&world);
    // The next is compared with it.
    let world = world.with_commit('C', Quality::Good).after(240);
    found(&world, Finding::WouldHavePromoted);
    assert_eq!(observation(&world).releases, 2, "{}", world.story);
}

#[test]
fn pods_that_crash_would_have_been_rolled_back() {
    let world = at_rest().with_commit('B', Quality::Broken).after(900);
    found(&world, Finding::WouldHaveRolledBack);
    ready(&world, false, "RollingOut");
    is_left_alone(&world);
}

#[test]
fn without_room_or_data_nothing_is_said_against_a_revision() {
    let world = at_rest()
        .with_no_room(9000)
        .with_commit('B', Quality::Good)
        .after(5000);
    found(&world, Finding::Inconclusive);
    let world = at_rest()
        .with_commit('B', Quality::Good)
        .with_readings(PrometheusBehavior::Empty, 3000)
        .after(1200);
    found(&world, Finding::Inconclusive);
}

#[test]
fn a_newer_version_supersedes_and_a_restart_does_not() {
    let world = at_rest()
        .with_commit('B', Quality::Good)
        .after(60)
        .with_commit('C', Quality::Good)
        .after(2);
    found(&world, Finding::Superseded);
    let world = world.with_restart().after(300);
    found(&world, Finding::WouldHavePromoted);
    assert_eq!(observation(&world).releases, 2, "{}", world.story);
    let world = world.with_restart().after(300);
    assert_eq!(observation(&world).releases, 2, "{}", world.story);
}

#[test]
fn what_would_be_in_the_way_is_said_before_there_is_a_release() {
    let mut world = at_rest();
    world.live.services[1].spans = true;
    world.happens("span", "the Service selects other pods, too");
    let world = world.after(5);
    let message = world.status().message;
    assert!(message.contains("a release would not begin: "), "{message}");
    ready(&world, true, "RolledOut");
    let world = at_rest()
        .with_readings(PrometheusBehavior::Empty, 3000)
        .after(700);
    let message = world.status().message;
    assert!(message.contains("the query selects nothing"), "{message}");
    let by_track = json!([{ "name": "errors", "threshold": { "query": "errors{track=\"{{ track }}\"}", "max": 0.05 } }]);
    let world = observing(a_rollout().with("gates", by_track))
        .begins()
        .after(60);
    let message = world.status().message;
    assert!(message.contains("write {{pods}}"), "{message}");
}

#[test]
fn an_attempt_goes_on_to_its_end_and_then_nothing_is_governed() {
    let mut world = a_rollout().releasing(Quality::Good).at_weight(20);
    world.set_mode(Mode::Observe);
    let world = world.after(2);
    assert_eq!(world.stage(), Some(Stage::Stepping), "{}", world.story);
    let world = world.after(600);
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    assert_eq!(world.status().phase, Phase::Observing, "{}", world.story);
    is_left_alone(&world);
    let world = world.with_commit('C', Quality::Erroring).after(60);
    assert_eq!(world.runs(), 'C', "{}", world.story);
    found(&world, Finding::WouldHaveRolledBack);
}

#[test]
fn what_was_rejected_waits_for_another_commit() {
    let world = a_rollout()
        .releasing(Quality::Erroring)
        .when("the rejection", |world| !world.status().rejected.is_empty())
        .after(60);
    let mut world = world;
    world.set_mode(Mode::Observe);
    let world = world.after(60);
    assert_eq!(world.runs(), 'A', "nobody let it in: {}", world.story);
    let world = world.with_commit('C', Quality::Good).after(60);
    assert_eq!(world.runs(), 'C', "{}", world.story);
}

#[test]
fn a_workload_that_is_held_is_let_go_with_stables_template() {
    let mut world = a_rollout()
        .applied_by_people()
        .releasing(Quality::Good)
        .at_stage(Stage::Stepping)
        .with_ask(Ask::Abort)
        .when("the end", |world| world.outcomes() == "1 Aborted")
        .after(10);
    assert!(
        world.live.workload.as_ref().unwrap().held.is_some(),
        "{}",
        world.story
    );
    world.set_mode(Mode::Observe);
    let world = world.after(60);
    is_left_alone(&world);
    assert_eq!(world.runs(), 'A', "{}", world.story);
    let world = world.with_commit('C', Quality::Good).after(300);
    assert_eq!(world.runs(), 'C', "{}", world.story);
    found(&world, Finding::WouldHavePromoted);
}

#[test]
fn enforced_again_it_adopts_what_runs() {
    for draft in [
        a_rollout(),
        a_rollout_by_replicas(),
        a_rollout().applied_by_people(),
    ] {
        let world = observing(draft)
            .begins()
            .with_commit('A', Quality::Good)
            .after(60);
        let mut world = world.with_commit('B', Quality::Good).after(20);
        world.set_mode(Mode::Enforce);
        let world = world.after(60);
        let status = world.status();
        assert!(status.observation.is_none(), "{}", world.story);
        assert!(status.stable.is_some(), "{}", world.story);
        assert_eq!(world.runs(), 'B', "{}", world.story);
        let world = world.with_commit('C', Quality::Erroring).after(400);
        assert_eq!(world.running(), "B", "it is governed: {}", world.story);
        assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    }
}

#[test]
fn a_restart_of_tidegate_loses_no_evidence() {
    let world = at_rest()
        .with_commit('B', Quality::Good)
        .after(60)
        .with_new_leader()
        .after(240);
    found(&world, Finding::WouldHavePromoted);
    assert_eq!(observation(&world).releases, 1, "{}", world.story);
}
