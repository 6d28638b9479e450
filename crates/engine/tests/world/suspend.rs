//! A Rollout that is suspended: a running attempt may go back, and never on.

use jiff::SignedDuration;
use serde_json::json;
use tidegate_api::{
    Condition,
    gate::Verdict,
    intervention::Action as Ask,
    reason::ConditionType,
    record::Reason,
    status::{Phase, Stage},
};
use tidegate_engine::{observed::Brake, pin::Pin, weight::Weight};

use crate::{
    cluster::Service,
    deployment::Quality,
    rollout::{Draft, a_rollout, a_rollout_by_replicas},
    world::World,
};

/// Longer than any limit of an attempt.
const DAYS: i64 = 3 * 86_400;

fn percent(percent: u32) -> Weight {
    Weight::from_hundredths(percent * 100)
}

#[track_caller]
fn is(world: &World, type_: ConditionType, holds: bool, reason: &str) {
    let status = world.status();
    let condition = Condition::find(&status.conditions, type_).unwrap();
    let seen = (condition.is_true(), condition.reason.as_str());
    assert_eq!(seen, (holds, reason), "{}", world.story);
}

/// The Rollout stays as it is, whatever time goes by.
#[track_caller]
fn stays(world: World, share: u32) -> World {
    let world = world.after(DAYS);
    assert_eq!(world.share(), percent(share), "{}", world.story);
    assert_eq!(world.status().phase, Phase::Suspended, "{}", world.story);
    assert_eq!(world.running(), "A", "{}", world.story);
    world
}

#[test]
fn a_step_goes_on_where_it_was_once_it_is_no_longer_suspended() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_suspend(true)
        .after(120);
    assert_eq!(world.share(), percent(20), "{}", world.story);
    is(&world, ConditionType::Ready, false, "Suspended");
    is(&world, ConditionType::Reconciling, true, "Suspended");
    is(&world, ConditionType::Stalled, false, "NotStalled");
    is(&world, ConditionType::Suspended, true, "SuspendRequested");
    let world = world.with_suspend(false).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    is(&world, ConditionType::Suspended, false, "NotSuspended");
    insta::assert_snapshot!("suspended_in_a_step", world.story);
}

#[test]
fn no_limit_runs_in_a_step() {
    let world = a_rollout().releasing(Quality::Good).at_weight(20);
    stays(world.with_suspend(true), 20);
}

#[test]
fn a_breach_rolls_back_at_once() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_suspend(true)
        .after(60);
    let mut world = world.with_breach("errors");
    let acted = world.run_until(SignedDuration::from_secs(20), |world| {
        world.share() == Weight::ZERO
    });
    assert!(acted, "{}", world.story);
    let world = world.after(120);
    let last = world.status().last_outcome.unwrap();
    assert_eq!(last.ending.reason, Reason::GateBreached, "{}", world.story);
    let message = world.status().message;
    assert!(message.starts_with("suspended"), "{message}");
    insta::assert_snapshot!("suspended_breach", world.story);
}

#[test]
fn an_abort_is_accepted_and_what_would_go_on_is_rejected() {
    let draft = a_rollout().with_approval_at(2);
    let world = draft
        .releasing(Quality::Good)
        .when("the approval", |world| {
            world.status().phase == Phase::AwaitingApproval
        })
        .with_suspend(true)
        .after(5);
    let world = [Ask::Approve, Ask::Promote, Ask::Resume, Ask::Retry]
        .into_iter()
        .fold(world, |world, ask| world.with_ask(ask).after(5));
    assert!(world.status().interventions.is_empty(), "{}", world.story);
    let rejected = world.story.to_string();
    assert_eq!(rejected.matches("the Rollout is suspended, and").count(), 4);
    let world = world.with_ask(Ask::Abort).after(120);
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
    assert_eq!(world.status().phase, Phase::Suspended, "{}", world.story);
    is(&world, ConditionType::Stalled, false, "NotStalled");
    let message = world.status().message;
    assert!(
        message.contains("Aborted: abort was requested by grace"),
        "{message}"
    );
    assert_eq!(world.share(), Weight::ZERO, "{}", world.story);
}

#[test]
fn nobody_loses_the_time_for_an_approval() {
    let mut world = a_rollout()
        .with(
            "steps",
            json!([{ "weight": 10, "hold": "30s" }, { "approval": { "timeout": "1h" } }]),
        )
        .releasing(Quality::Good)
        .when("the approval", |world| {
            world.status().phase == Phase::AwaitingApproval
        })
        .with_suspend(true);
    world = stays(world, 10).with_suspend(false).after(3000);
    assert_eq!(world.status().phase, Phase::AwaitingApproval);
    let world = world.after(700).until_rest();
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
}

#[test]
fn a_template_that_comes_is_wanted_and_waits_under_either_brake() {
    for brake in [Brake::Sync, Brake::Pause] {
        let draft = match brake {
            Brake::Pause => a_rollout().applied_by_people(),
            Brake::Sync | Brake::Unknown => a_rollout(),
        };
        let world = draft.at_rest().with_suspend(true).after(5);
        is(&world, ConditionType::Ready, true, "RevisionStable");
        assert_eq!(world.status().phase, Phase::Suspended);
        let world = stays(world.with_commit('B', Quality::Good), 0);
        assert_eq!(world.status().attempts, 0, "{}", world.story);
        is(&world, ConditionType::Ready, false, "Suspended");
        let message = world.status().message;
        assert!(
            message.starts_with("suspended") && message.ends_with("waits"),
            "{message}"
        );
        let world = world.with_suspend(false).until_rest();
        assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    }
}

#[test]
fn it_holds_though_the_rest_of_the_spec_is_invalid() {
    let invalid = |suspend: bool| {
        let draft = a_rollout().with("steps", json!([]));
        draft.with("suspend", json!(suspend)).spec()
    };
    let mut world = a_rollout().releasing(Quality::Good).at_weight(20);
    world.rollout.as_mut().unwrap().spec = invalid(true);
    world.happens("spec", "the spec is suspended, and invalid");
    world = stays(world, 20);
    world.rollout.as_mut().unwrap().spec = invalid(false);
    world.happens("spec", "the spec is invalid");
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn no_canary_gets_anything_before_its_first_step() {
    for stage in [Stage::Pinning, Stage::Starting] {
        let world = a_rollout()
            .releasing(Quality::Broken)
            .at_stage(stage)
            .with_suspend(true);
        let world = stays(world, 0);
        assert_eq!(world.stage(), Some(stage));
        let world = world.with_suspend(false).until_rest();
        assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    }
}

/// Suspends in the step after that of this share, before its pods are ready.
fn growing(draft: &Draft, share: u32) -> World {
    draft
        .releasing(Quality::Good)
        .at_weight(share)
        .with_no_room(60)
        .when("pods that find no room", |world| {
            let status = world.status();
            status.message.starts_with("waiting for canary pods")
        })
        .with_suspend(true)
}

#[test]
fn a_canary_that_grows_gets_no_more() {
    let world = stays(growing(&a_rollout(), 20), 20);
    assert_eq!(
        world.with_suspend(false).until_rest().outcomes(),
        "1 Promoted"
    );
    let world = stays(growing(&a_rollout_by_replicas(), 25), 25);
    assert_eq!(
        world.with_suspend(false).until_rest().outcomes(),
        "1 Promoted"
    );
}

#[test]
fn what_somebody_takes_from_the_canary_is_not_given_back() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_suspend(true)
        .after(5)
        .with_foreign_route(Some(3));
    let world = stays(world, 3);
    assert_eq!(world.status().weight.as_deref(), Some("3%"));
    let world = world.with_suspend(false).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn the_canary_stands_in_for_a_stable_that_is_down_and_gives_it_back() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_suspend(true)
        .after(5)
        .with_unready(false, 3, 300)
        .when("the failover", |world| world.share() == Weight::FULL)
        .when("its end", |world| world.share() == percent(20));
    let world = stays(world, 20).with_suspend(false).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_service_that_comes_takes_nothing_from_a_canary_that_has_everything() {
    let mut world = a_rollout_by_replicas()
        .releasing(Quality::Good)
        .at_weight(100)
        .with_suspend(true)
        .after(5);
    world.live.services.push(Service::new("checkout-new"));
    world.happens("service", "another Service selects the pods");
    let world = stays(world, 100);
    assert_eq!(world.live.services[2].pin, None, "its callers go nowhere");
    let world = world.with_suspend(false).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

/// Stable is down for a while, and the canary has everything meanwhile.
fn failed_over_and_back(world: World) -> World {
    world
        .after(5)
        .with_unready(false, 3, 120)
        .when("the failover", |world| world.share() == Weight::FULL)
        .when("its end", |world| world.share() < Weight::FULL)
}

#[test]
fn after_a_failover_the_canary_has_what_it_had_before() {
    for (draft, share) in [(a_rollout(), 20), (a_rollout_by_replicas(), 25)] {
        let world = stays(failed_over_and_back(growing(&draft, share)), share);
        let world = world.with_suspend(false).until_rest();
        assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    }
}

#[test]
fn after_a_failover_a_shortcut_gives_no_more_than_before() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_no_room(60)
        .with_ask(Ask::Promote)
        .when("the last step", |world| world.current_step() == Some(4))
        .with_suspend(true);
    let world = stays(failed_over_and_back(world), 20);
    let world = world.with_suspend(false).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn what_was_rejected_before_is_said_and_not_that_it_waits() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_suspend(true)
        .after(5)
        .with_ask(Ask::Abort)
        .after(120);
    is(&world, ConditionType::Ready, false, "Rejected");
    is(&world, ConditionType::Stalled, false, "NotStalled");
    let world = world.with_commit('C', Quality::Good).after(60);
    is(&world, ConditionType::Ready, false, "Suspended");
}

#[test]
fn too_few_requests_end_nothing_before_the_next_reading() {
    let mut world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_suspend(true);
    let since = world.now - SignedDuration::from_hours(2);
    let rollout = world.rollout.as_mut().unwrap();
    let attempt = std::sync::Arc::make_mut(&mut rollout.status)
        .attempt
        .as_mut();
    let gate = &mut attempt.unwrap().gates[0];
    (gate.verdict, gate.gathering_since) = (Verdict::Gathering, Some(since));
    world.happens("readings", "requests have been too few for two hours");
    let world = stays(world.after(1), 20);
    assert_eq!(world.outcomes(), "", "{}", world.story);
}

#[test]
fn a_service_that_is_not_pinned_to_the_canary_yet_stays_on_stable() {
    let mut world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::PinningToCanary)
        .when("the pins", |world| {
            let mut services = world.live.services.iter();
            services.all(|service| service.pin == Some(Pin::Canary))
        })
        .with_suspend(true)
        .after(1);
    let stable = Some(Pin::Version(
        world.status().stable.unwrap().pod_template_hash,
    ));
    world.live.services[1].pin.clone_from(&stable);
    world.happens("service", "a Service is as it was before its pin");
    let world = stays(world, 100);
    let pins: Vec<_> = world.live.services.iter().map(|one| &one.pin).collect();
    assert_eq!(pins, [&Some(Pin::Canary), &stable], "{}", world.story);
    let world = world.with_suspend(false).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_promotion_that_has_not_updated_stable_waits_and_one_that_has_is_completed() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::PinningToCanary)
        .with_suspend(true);
    let world = stays(world, 100);
    assert!(!world.status().attempt.unwrap().stable_template_updated);
    let world = world.with_suspend(false).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::UpdatingStable)
        .with_suspend(true)
        .after(600);
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    assert_eq!(world.running(), "B");
    assert_eq!(world.status().phase, Phase::Suspended);
}

#[test]
fn what_somebody_takes_from_the_canary_before_stable_is_updated_is_not_given_back() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::PinningToCanary)
        .when("the pins", |world| {
            world.live.services[0].pin == Some(Pin::Canary)
        })
        .with_suspend(true)
        .after(5)
        .with_foreign_route(Some(70));
    let world = stays(world, 70);
    let world = world.with_suspend(false).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_deletion_is_not_held_up() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_suspend(true)
        .after(5)
        .with_deletion(false)
        .until_gone();
    assert_eq!(world.share(), Weight::ZERO, "{}", world.story);
}

#[test]
fn a_first_deploy_goes_on() {
    let world = a_rollout()
        .with("suspend", json!(true))
        .without_a_workload()
        .begins()
        .with_commit('A', Quality::Good)
        .after(600);
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    assert_eq!(world.status().phase, Phase::Suspended, "{}", world.story);
}
