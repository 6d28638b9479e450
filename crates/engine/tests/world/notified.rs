//! What people are told of in their chat: each transition that matters to them once, and nothing else.

use std::collections::BTreeSet;

use serde_json::json;
use tidegate_api::{
    intervention::Action as Ask,
    notification::{Notification, NotificationType, Severity},
    status::Stage,
};

use crate::{
    deployment::Quality,
    rollout::{Draft, a_rollout},
    shell::{Fault, Group},
    world::World,
};

/// What has been told, by type and word.
fn told(world: &World) -> Vec<String> {
    let words = |one: &Notification| {
        let word = match (one.outcome, &one.reason) {
            (Some(outcome), Some(reason)) => format!(" {outcome}/{reason}"),
            (None, Some(reason)) => format!(" {reason}"),
            (_, None) => String::new(),
        };
        format!("{}{word}", one.type_)
    };
    world.notified.iter().map(words).collect()
}

fn a_short_rollout() -> Draft {
    a_rollout().with("steps", json!([{ "weight": 20, "hold": "1m" }]))
}

#[test]
fn a_release_is_told_of_when_it_starts_and_when_it_is_promoted() {
    let world = a_rollout().releasing(Quality::Good).until_rest();
    assert_eq!(told(&world), ["Started", "Ended Promoted/StepsPassed"]);
    let [started, ended] = &world.notified[..] else {
        panic!("two")
    };
    assert_eq!(
        (started.attempt, ended.attempt),
        (Some(1), Some(1)),
        "the attempt is gone from the status by its end"
    );
    assert_eq!(ended.commit.as_ref().unwrap().as_str(), "commit-2");
    assert_eq!(ended.revision, started.revision);
    assert_eq!(ended.severity, Severity::Normal);
    assert_eq!(
        ended.message,
        "attempt 1 for revision rev-B ended: Promoted: every step passed"
    );
}

#[test]
fn a_rollback_is_told_of_with_its_cause_when_it_is_decided_and_when_it_is_done() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_breach("errors")
        .after(1);
    let back = world.notified.last().unwrap();
    assert_eq!(back.type_, NotificationType::RollingBack);
    assert_eq!(back.severity, Severity::Warning);
    assert!(back.message.contains("gate \"errors\" breached: 0.2"));
    let world = world.until_rest();
    assert_eq!(
        told(&world),
        [
            "Started",
            "RollingBack RolledBack/GateBreached",
            "Ended RolledBack/GateBreached"
        ],
        "the rejection that follows is not told of beside its end"
    );
}

#[test]
fn an_approval_that_is_missing_is_told_of_once_however_long_it_takes() {
    let world = a_short_rollout()
        .with_approval_at(2)
        .releasing(Quality::Good)
        .after(3600);
    assert_eq!(told(&world), ["Started", "AwaitingApproval"]);
    let waits = world.notified.last().unwrap();
    assert_eq!(waits.attempt, Some(1), "whose approval it is");
}

#[test]
fn a_superseded_release_ends_without_an_alarm() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_commit('C', Quality::Good)
        .until_rest();
    assert_eq!(
        told(&world),
        [
            "Started",
            "Ended Superseded/NewerRevision",
            "Started",
            "Ended Promoted/StepsPassed"
        ]
    );
    assert!(
        world
            .notified
            .iter()
            .all(|one| one.severity == Severity::Normal)
    );
    let numbers: Vec<_> = world.notified.iter().map(|one| one.attempt).collect();
    assert_eq!(numbers, [Some(1), Some(1), Some(2), Some(2)]);
}

#[test]
fn a_failover_is_told_of_and_its_end() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_unready(false, 3, 30)
        .until_rest();
    let told = told(&world);
    assert_eq!(told[1..3], ["FailedOver", "FailoverEnded"], "{told:?}");
}

#[test]
fn a_stable_that_loses_pods_is_told_of_in_a_release_once_and_not_at_rest() {
    let at_rest = a_rollout()
        .at_rest()
        .after(600)
        .with_unready(false, 1, 60)
        .after(120);
    assert_eq!(told(&at_rest), Vec::<String>::new());

    let world = a_rollout()
        .at_rest()
        .after(600)
        .with_commit('B', Quality::Good)
        .at_weight(1)
        .with_unready(false, 1, 5)
        .after(15)
        .with_unready(false, 1, 5)
        .after(15);
    let told = told(&world);
    assert_eq!(told, ["Started", "StableDegraded"], "{}", world.story);
    let message = &world.notified[1].message;
    assert!(message.starts_with("2 of 3 stable pods"), "{message}");
}

#[test]
fn a_stall_is_told_of_by_what_git_asks_for_and_not_again_in_other_words() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_ask(Ask::Abort)
        .until_rest()
        .with_denial(Group::Workloads, 30)
        .with_commit('C', Quality::Good)
        .after(25);
    let stalls = told(&world);
    let stalls = stalls.iter().filter(|one| one.starts_with("Stalled"));
    assert_eq!(stalls.count(), 1, "{:?}\n{}", told(&world), world.story);
    let stall = world
        .notified
        .iter()
        .find(|one| one.type_ == NotificationType::Stalled)
        .unwrap();
    assert_eq!(stall.reason.as_deref(), Some("WriteDenied"));
    assert_eq!(stall.commit.as_ref().unwrap().as_str(), "commit-3");
}

/// Number of stalls that have been told, by reason.
fn stalls(world: &World) -> usize {
    let told = told(world);
    told.iter().filter(|one| one.starts_with("Stalled")).count()
}

#[test]
fn a_stall_that_comes_and_goes_is_told_of_once_until_it_has_been_away_for_a_while() {
    let flap = |world: World| {
        world
            .with_denial(Group::Routes, 30)
            .after(45)
            .with_foreign_route(Some(7))
            .after(45)
    };
    let mut world = a_rollout()
        .with("steps", json!([{ "weight": 20, "hold": "2h" }]))
        .releasing(Quality::Good)
        .at_weight(20);
    for _ in 0..4 {
        world = flap(world.with_foreign_route(Some(5)));
    }
    assert_eq!(stalls(&world), 1, "{:?}\n{}", told(&world), world.story);
    let world = world.after(700).with_foreign_route(Some(5));
    let world = flap(world);
    assert_eq!(stalls(&world), 2, "{:?}\n{}", told(&world), world.story);
}

#[test]
fn neither_a_new_leader_nor_a_restart_nor_a_reconcile_tells_anything_again() {
    for stage in [Stage::Starting, Stage::Stepping, Stage::UpdatingStable] {
        let world = a_rollout()
            .releasing(Quality::Good)
            .at_stage(stage)
            .with_new_leader()
            .after(1)
            .with_tidegate_down(5)
            .until_rest();
        assert_eq!(told(&world), ["Started", "Ended Promoted/StepsPassed"]);
    }
}

#[test]
fn a_crash_at_any_write_tells_nothing_twice() {
    for write in 0..60 {
        let world = a_short_rollout()
            .at_rest()
            .with_fault(write, Fault::CrashAfter)
            .with_commit('B', Quality::Erroring)
            .until_rest();
        let mut seen = BTreeSet::new();
        for one in told(&world) {
            assert!(seen.insert(one.clone()), "{one} after write {write}");
        }
    }
}

#[test]
fn each_has_an_id_of_its_own() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_unready(false, 3, 30)
        .until_rest();
    let ids: BTreeSet<_> = world.notified.iter().map(|one| &one.id).collect();
    assert_eq!(ids.len(), world.notified.len());
    assert!(ids.iter().all(|id| id.len() == 32));
}
