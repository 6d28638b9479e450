//! Gates of the kind `regression`: evidence from the first request to the end, across steps and restarts.

use serde_json::json;
use tidegate_api::gate::{GateStatus, RegressionEvidence, Verdict};
use tidegate_engine::weight::Weight;

use crate::{
    deployment::Quality,
    metrics::PrometheusBehavior,
    rollout::{Draft, a_rollout},
    world::World,
};

/// A Rollout whose errors are compared with stable's.
pub(crate) fn that_compares() -> Draft {
    a_rollout().with("gates", json!([regression()]))
}

/// A gate for errors.
pub(crate) fn regression() -> serde_json::Value {
    json!({ "name": "errors", "regression": {
        "bad": "x_total{pod=~\"{{pods}}\",code=~\"5..\"}",
        "total": "x_total{pod=~\"{{pods}}\"}",
    } })
}

fn gate(world: &World) -> Option<GateStatus> {
    world.status().attempt?.gates.first().cloned()
}

fn evidence(world: &World) -> Option<RegressionEvidence> {
    gate(world)?.evidence.regression
}

#[test]
fn a_release_with_three_times_the_errors_goes_back() {
    let world = that_compares().releasing(Quality::Worse).until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    assert_eq!(world.runs(), 'A');
    insta::assert_snapshot!("regression_found", world.story);
}

#[test]
fn a_release_with_the_same_errors_is_promoted() {
    let world = that_compares().releasing(Quality::Good).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    insta::assert_snapshot!("regression_none", world.story);
}

/// At 1 % of 200 requests a second, 500 of them take four minutes and ten seconds.
#[test]
fn a_step_waits_for_its_requests() {
    let world = that_compares()
        .releasing(Quality::Good)
        .at_weight(1)
        .after(200);
    assert_eq!(
        world.share(),
        Weight::from_hundredths(100),
        "{}",
        world.story
    );
    let seen = gate(&world).unwrap();
    assert_eq!(seen.verdict, Verdict::Gathering, "{seen:?}");
    assert!(
        seen.message.contains("of 500 requests in this step"),
        "{}",
        seen.message
    );
    world.at_weight(20).until_rest();
}

#[test]
fn evidence_survives_a_restart_and_counts_once() {
    let until = |restarts: bool| {
        let mut world = that_compares()
            .releasing(Quality::Good)
            .at_weight(50)
            .after(20);
        if restarts {
            // What was read since the last write is lost with the process, and read again.
            world = world.with_new_leader().after(40);
        } else {
            world = world.after(40);
        }
        world.at_weight(100).after(30)
    };
    let (undisturbed, restarted) = (until(false), until(true));
    for world in [&undisturbed, &restarted] {
        let evidence = evidence(world).unwrap();
        let counted = evidence
            .evaluated_at
            .duration_since(evidence.since)
            .as_secs_f64();
        // Of 200 requests in a second each was counted once, for one version or the other; what came while the
        // canary had all of them is counted alone.
        let all = evidence.canary.requests + evidence.stable.requests + evidence.alone.requests;
        assert!(
            (all - counted * 200.0).abs() < 1.0,
            "{all} in {counted} s: {}",
            world.story
        );
    }
    assert_eq!(restarted.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn a_regression_is_found_after_a_restart_in_the_middle() {
    let world = that_compares()
        .releasing(Quality::Worse)
        .at_weight(1)
        .after(20)
        .with_new_leader()
        .until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
}

/// With all traffic there is nothing to compare with: what is tolerated is what stable had before.
#[test]
fn with_all_traffic_the_canary_is_held_to_what_stable_had() {
    let world = that_compares()
        .releasing(Quality::Good)
        .at_weight(100)
        .after(30)
        .with_readings(PrometheusBehavior::Breach, 3600);
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    let told = world.story.to_string();
    assert!(
        told.contains("while stable had none to compare with"),
        "{told}"
    );
}

#[test]
fn without_data_nothing_is_promoted() {
    for behavior in [
        PrometheusBehavior::Empty,
        PrometheusBehavior::Silent,
        PrometheusBehavior::Down,
    ] {
        let world = that_compares()
            .releasing(Quality::Good)
            .at_weight(1)
            .with_readings(behavior, 100_000)
            .after(5_000);
        assert!(!world.outcomes().contains("Promoted"), "{}", world.story);
        assert!(
            world.outcomes().contains("Aborted"),
            "{behavior:?}: {}",
            world.story
        );
    }
}

#[test]
fn readings_cost_few_writes() {
    let world = that_compares()
        .releasing(Quality::Good)
        .at_weight(1)
        .after(200);
    let story = world.story.to_string();
    let release = story.split("commit-2 asks").nth(1).unwrap();
    let writes = release.matches("  status    ").count();
    assert!(writes <= 3 + 3 + 5, "{writes} writes: {story}");
}
