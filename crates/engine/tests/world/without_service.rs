//! Releases of a workload that nobody calls: its pods take work as soon as they run.

use jiff::SignedDuration;
use serde_json::json;
use tidegate_api::{
    Condition, intervention::Action as Ask, reason::ConditionType, record::Reason, status::Stage,
};
use tidegate_engine::{plan::Plan, weight::Weight};

use crate::{
    cluster::Service,
    deployment::Quality,
    metrics::PrometheusBehavior,
    rollout::{a_rollout_without_service, template},
    shell::{Fault, Group},
    world::World,
};

fn replicas(world: &World) -> u32 {
    let canary = world.live.canary.as_ref();
    canary.map_or(0, |canary| canary.replicas)
}

fn shown(world: &World) -> String {
    world.status().weight.unwrap_or_default()
}

fn percent(percent: u32) -> Weight {
    Weight::from_hundredths(percent * 100)
}

/// The last outcome's reason.
fn reason(world: &World) -> Reason {
    world.status().last_outcome.unwrap().ending.reason
}

#[test]
fn a_good_release_goes_by_shares_of_pods_and_is_promoted_beside_the_canary() {
    let world = a_rollout_without_service()
        .releasing(Quality::Good)
        .at_weight(25);
    assert_eq!((replicas(&world), shown(&world).as_str()), (1, "25%"));
    assert!(!world.live.canary_service, "nobody is to reach it");
    let world = world.at_weight(40);
    assert_eq!((replicas(&world), shown(&world).as_str()), (2, "40%"));
    let world = world.at_weight(50);
    assert_eq!((replicas(&world), shown(&world).as_str()), (3, "50%"));
    let world = world.at_stage(Stage::UpdatingStable).after(1);
    assert_eq!(replicas(&world), 3, "it stays until stable has rolled out");
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    assert_eq!(world.runs(), 'B');
    assert!(world.live.canary.is_none(), "{}", world.story);
    insta::assert_snapshot!("without_service_good", world.story);
}

#[test]
fn a_breach_has_the_canary_stop_working_in_the_same_turn() {
    let world = a_rollout_without_service()
        .releasing(Quality::Good)
        .at_weight(40);
    let world = world
        .with_breach("errors")
        .read_now()
        .at_stage(Stage::RollingBack);
    assert_eq!(replicas(&world), 0, "{}", world.story);
    let world = world.until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 RolledBack", 'A')
    );
    insta::assert_snapshot!("without_service_bad", world.story);
}

#[test]
fn a_breach_in_promotion_takes_the_canary_away_first_and_then_the_template() {
    let world = a_rollout_without_service()
        .releasing(Quality::Good)
        .at_stage(Stage::UpdatingStable)
        .with_breach("errors")
        .read_now()
        .at_stage(Stage::RollingBack);
    assert_eq!(replicas(&world), 0, "{}", world.story);
    let world = world.until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 RolledBack", 'A')
    );
    assert_eq!(world.running(), "A", "{}", world.story);
}

#[test]
fn it_stops_though_the_status_cannot_be_written_and_a_crash_follows() {
    for fault in [Fault::CrashAfter, Fault::CrashBefore, Fault::Refused] {
        for write in 0..4 {
            let world = a_rollout_without_service()
                .releasing(Quality::Good)
                .at_weight(40)
                .with_breach("errors")
                .with_fault(write, fault)
                .until_rest();
            assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
        }
    }
}

#[test]
fn a_weight_of_0_is_a_canary_without_a_pod() {
    let steps = json!([{ "weight": 0 }, { "approval": {} }, { "weight": 25, "hold": "1m" }]);
    let world = a_rollout_without_service()
        .with("steps", steps)
        .releasing(Quality::Good)
        .after(120);
    let canary = world.live.canary.as_ref().unwrap();
    assert_eq!((canary.replicas, shown(&world).as_str()), (0, "0%"));
    let world = world.with_ask(Ask::Approve).at_weight(25);
    assert_eq!(replicas(&world), 1);
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn a_canary_that_becomes_unready_is_not_taken_away_and_the_step_begins_again() {
    let steps = json!([{ "weight": 40, "hold": "10m" }]);
    let mut world = a_rollout_without_service()
        .with("steps", steps)
        .releasing(Quality::Good)
        .at_weight(40)
        .after(300);
    for _ in 0..2 {
        world = world.with_unready(true, 2, 20).after(10);
        assert_eq!(replicas(&world), 2, "{}", world.story);
        assert_eq!(shown(&world), "0%");
        world = world.after(100);
    }
    assert_eq!(world.stage(), Some(Stage::Stepping), "the hold began again");
    let world = world.with_unready(true, 2, 20).after(120);
    assert_eq!(reason(&world), Reason::CanaryNotReady, "{}", world.story);
    assert_eq!(replicas(&world), 0);
}

#[test]
fn a_canary_that_never_becomes_ready_is_rolled_back() {
    let world = a_rollout_without_service()
        .releasing(Quality::Broken)
        .until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    let world = a_rollout_without_service()
        .releasing(Quality::Erroring)
        .until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    let world = a_rollout_without_service()
        .releasing(Quality::Good)
        .at_weight(25)
        .with_readings(PrometheusBehavior::Empty, 3600)
        .until_rest();
    let promoted = world.outcomes().starts_with("1 Promoted");
    assert!(!promoted, "no data promotes nothing: {}", world.story);
}

#[test]
fn nobody_stands_in_for_a_stable_that_is_down_and_no_share_is_raised() {
    let world = a_rollout_without_service()
        .releasing(Quality::Good)
        .at_weight(25)
        .with_unready(false, 3, 600)
        .after(300);
    let attempt = world.status().attempt.unwrap();
    assert!(attempt.failovers.is_empty(), "{}", world.story);
    assert_eq!((replicas(&world), attempt.weight), (1, percent(25)));
    let status = world.status();
    let available = Condition::find(&status.conditions, ConditionType::Available).unwrap();
    assert!(available.is_true(), "the canary works");
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn a_suspended_canary_gets_no_further_pod() {
    let world = a_rollout_without_service()
        .releasing(Quality::Good)
        .at_weight(25)
        .with_denial(Group::Workloads, 300)
        .when("the next step", |world| world.current_step() == Some(2))
        .with_suspend(true)
        .after(3600);
    assert_eq!((replicas(&world), shown(&world).as_str()), (1, "25%"));
    let world = world.with_scale(6).after(60);
    assert_eq!(replicas(&world), 1, "{}", world.story);
    let world = world.with_suspend(false).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_revert_and_a_promote_end_at_the_last_share() {
    let draft = a_rollout_without_service();
    let world = draft.releasing(Quality::Good).until_rest();
    let mut world = world.after(60);
    world.commit("rev-A", template('A', Quality::Good), "revert");
    assert_eq!(world.until_rest().outcomes(), "1 Promoted, 2 Promoted");
    let world = draft
        .releasing(Quality::Good)
        .at_weight(25)
        .with_ask(Ask::Promote)
        .after(20);
    assert_eq!(
        world.until_rest().outcomes(),
        "1 Promoted",
        "without the holds"
    );
}

#[test]
fn a_service_that_comes_ends_the_attempt_and_holds_up_the_next() {
    let mut world = a_rollout_without_service()
        .releasing(Quality::Good)
        .at_weight(25);
    world.live.services.push(Service::new("worker"));
    world.happens("service", "a Service selects the pods");
    let acted = world.run_until(SignedDuration::from_secs(5), |world| replicas(world) == 0);
    assert!(acted, "{}", world.story);
    let mut world = world.after(1200);
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
    let message = world.status().message;
    assert!(
        message.contains("Service worker selects the pods of Deployment checkout")
            && message.contains("write traffic: {replicas: {}}"),
        "{message}"
    );
    world.live.services.clear();
    world.happens("service", "the Service is deleted");
    let world = world.after(120).until_rest();
    assert_eq!(world.outcomes(), "1 Aborted, 2 Promoted");
}

#[test]
fn a_workload_that_is_scaled_to_zero_is_available_and_one_without_a_ready_pod_is_not() {
    let available = |world: &World| {
        let status = world.status();
        let available = Condition::find(&status.conditions, ConditionType::Available).unwrap();
        (available.is_true(), available.reason.clone())
    };
    let world = a_rollout_without_service().at_rest();
    assert_eq!(available(&world), (true, "PodsReady".to_owned()));
    let world = world.with_unready(false, 3, 60).after(10);
    assert_eq!(available(&world), (false, "NoReadyPods".to_owned()));
    let world = world.after(60).with_scale(0).after(10);
    assert_eq!(available(&world), (true, "PodsReady".to_owned()));
}

#[test]
fn what_cannot_be_without_a_service_is_refused_with_what_to_write() {
    let said = |field: &str, value| {
        let draft = a_rollout_without_service().with(field, value);
        Plan::parse("checkout", &draft.spec())
            .unwrap_err()
            .to_string()
    };
    let refusals = [
        (
            said("steps", json!([{ "weight": 100, "hold": "1m" }])),
            "50 at most",
        ),
        (
            said(
                "steps",
                json!([{ "weight": 25, "hold": "1m" }, { "weight": 0 }]),
            ),
            "end with a weight above 0",
        ),
        (said("service", json!("checkout")), "leave one of them out"),
        (
            said("canary", json!({ "keepFailed": "1h" })),
            "leave it out",
        ),
        (
            said(
                "steps",
                json!([{ "weight": 25, "hold": "1m", "replicas": 2 }]),
            ),
            "leave them out",
        ),
    ];
    for (refusal, remedy) in refusals {
        assert!(refusal.ends_with(remedy), "{refusal}");
    }
    let plan = Plan::parse("checkout", &a_rollout_without_service().spec()).unwrap();
    assert_eq!(plan.steps.len(), 3, "no step of 100 % is added");
}

#[test]
fn a_worker_that_failed_stops_at_once_though_somebody_has_removed_the_finalizer() {
    let mut world = a_rollout_without_service()
        .releasing(Quality::Good)
        .at_weight(40);
    world.rollout.as_mut().unwrap().finalizer = false;
    // The invariants are asked after every write.
    world.commit("rev-D", template('D', Quality::Good), "commit");
    let world = world.until_rest();
    assert_eq!(world.runs(), 'D', "{}", world.story);
}
