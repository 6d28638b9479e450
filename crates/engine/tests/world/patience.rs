//! Deadlines: nothing may keep an attempt forever, and a time in which
//! nothing might move is not held against a release.

use serde_json::json;
use tidegate_api::{intervention::Action as Ask, status::Stage};
use tidegate_engine::readiness::PodProgress;

use crate::{
    deployment::Quality,
    metrics::PrometheusBehavior,
    rollout::{Draft, a_rollout, template},
    world::World,
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

#[test]
fn a_rolling_update_may_last_longer_than_the_progress_deadline() {
    let mut world = a_short_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::PinningToCanary);
    // Three pods, one after the other.
    world.live.workload.as_mut().unwrap().startup = jiff::SignedDuration::from_mins(8);
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_canary_may_start_longer_than_the_progress_deadline_while_pods_come() {
    let world = a_short_rollout()
        .with("steps", json!([{ "weight": 100, "hold": "1m" }]))
        .releasing(Quality::Good)
        .with_no_room(540)
        .after(500);
    let world = world.with_scale(5).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn no_room_is_waited_for_and_said() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .with_no_room(3000)
        .after(1500);
    let message = world.rollout.as_ref().unwrap().status.message.clone();
    assert!(message.ends_with("Unschedulable"), "{message}");
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn no_room_for_hours_rejects_nothing_and_leaves_stable_unpinned() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .with_no_room(7000)
        .after(3800);
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
    let status = &world.rollout.as_ref().unwrap().status;
    assert!(status.rejected.is_empty(), "{}", world.story);
    assert!(
        !world.live.workload.as_ref().unwrap().paused,
        "{}",
        world.story
    );
    let world = world.after(7200).until_rest();
    assert_eq!(world.runs(), 'B', "{}", world.story);
}

#[test]
fn a_crash_is_the_revisions_fault() {
    let world = a_short_rollout().releasing(Quality::Broken).until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    let status = &world.rollout.as_ref().unwrap().status;
    assert!(
        status.rejected[0].message.contains("CrashLoopBackOff"),
        "{:?}",
        status.rejected
    );
}

#[test]
fn readiness_that_is_lost_now_and_then_in_a_long_step_rolls_nothing_back() {
    let lost = |world: World| {
        world
            .at_weight(20)
            .after(1200)
            .with_unready(true, 3, 20)
            .after(60)
    };
    let world = a_rollout()
        .with("steps", json!([{ "weight": 20, "hold": "1h" }]))
        .releasing(Quality::Good);
    let world = lost(lost(lost(lost(world)))).after(4000).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn the_numbers_of_the_template_before_are_no_progress_of_the_next() {
    let world = a_rollout().at_rest();
    let mut workload = world.live.workload.clone().unwrap();
    let mut now = world.now;
    workload.edit(|workload| workload.template = template('B', Quality::Good));
    // As it stands before its controller has seen the template.
    let mut progress = PodProgress::of(&workload.seen(now));
    for pods in 1..=3 {
        let mut advanced = false;
        while workload.seen(now).updated < pods || workload.seen(now).total > 3 {
            if !workload.sync(now) {
                now = workload.next_change(now).min().unwrap();
            }
            advanced |= progress.advance(&workload.seen(now));
        }
        assert!(advanced, "pod {pods} is progress");
    }
}
