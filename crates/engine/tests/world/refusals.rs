//! Preflight: each obstacle is a sentence, and nothing has moved.

use tidegate_api::{
    Condition,
    reason::ConditionType,
    rollout::{Approval, Step},
    route::RouteKind,
    status::{RolloutStatus, Stage},
    weight::Weight,
    workload::{WorkloadKind, WorkloadRef},
};
use tidegate_engine::{
    decide::decide,
    decision::Action,
    observed::{
        Admission, Brake, Comparison, Observed, OtherWorkload, QueryCheck, Service,
        WorkloadObstacle,
    },
    route::Obstacle,
};

use crate::{
    deployment::{Quality, labels},
    rollout::a_rollout,
    shell::Group,
};

/// Returns a step that waits for an approval.
fn approval() -> Step {
    Step {
        approval: Some(Approval::default()),
        ..Step::default()
    }
}

/// Returns the status's message about a candidate in a world that has been changed so, in which no attempt
/// begins.
fn said(change: impl FnOnce(&mut Observed)) -> String {
    let status = status(change);
    assert_eq!(status.attempt, None, "it has begun: {}", status.message);
    status.message
}

/// Returns the status's message about a candidate in a world that has been changed so.
fn message(change: impl FnOnce(&mut Observed)) -> String {
    status(change).message
}

fn status(change: impl FnOnce(&mut Observed)) -> RolloutStatus {
    let mut world = a_rollout().at_rest();
    world.commit(
        "rev-B",
        crate::rollout::template('B', Quality::Good),
        "commit",
    );
    world.shell.cache = world.live.clone().into();
    let mut seen = world.observed().unwrap();
    seen.candidate.as_mut().unwrap().comparison = Comparison::Different;
    change(&mut seen);
    decide(&seen, world.now).status
}

/// Returns the time of the question.
fn world_time() -> jiff::Timestamp {
    a_rollout().at_rest().now
}

fn cannot_be_held(seen: &mut Observed, obstacle: WorkloadObstacle) {
    seen.brake = Brake::Pause;
    seen.workload.as_mut().unwrap().hold_obstacle = Some(obstacle);
}

#[test]
fn every_refusal_is_a_sentence_that_says_what_to_do() {
    let said = [
        said(|seen| seen.conflicting_rollouts.push("checkout-too".to_owned())),
        said(|seen| seen.unlisted_route_kinds.push(RouteKind::HttpRoute)),
        said(|seen| seen.workload.as_mut().unwrap().paused = true),
        said(|seen| seen.workload.as_mut().unwrap().total = 4),
        said(|seen| seen.workload = None),
        said(|seen| {
            seen.workload
                .as_mut()
                .unwrap()
                .parallel_blockers
                .push("the strategy Recreate".to_owned());
        }),
        said(|seen| seen.canary_name_conflict = true),
        said(|seen| seen.services.retain(|service| service.name != "checkout")),
        said(|seen| seen.services[0].external = true),
        said(|seen| seen.services[0].selector.clear()),
        said(|seen| {
            _ = seen.services[0]
                .selector
                .insert("app".to_owned(), "other".to_owned());
        }),
        said(|seen| seen.other_workloads.push(basket())),
        said(|seen| seen.services[1].foreign_pod = Some("checkout-cache-0".to_owned())),
        said(|seen| seen.services[0].waiting = Some("ports".to_owned())),
        said(|seen| seen.candidate.as_mut().unwrap().pod_labels.clear()),
        said(|seen| seen.routes[0].state = None),
        said(|seen| {
            seen.routes[0].state.as_mut().unwrap().obstacle = Some(Obstacle::WeightsIgnored {
                rule: 0,
                field: "sessionPersistence",
            });
        }),
        said(|seen| seen.canary_service = true),
        said(|seen| {
            seen.candidate.as_mut().unwrap().comparison = Comparison::Refused {
                why: "spec.selector: field is immutable".to_owned(),
                at: jiff::Timestamp::UNIX_EPOCH,
            };
        }),
        said(|seen| {
            let why = "spec.gates, \"errors\": the query is not PromQL".to_owned();
            seen.queries = QueryCheck::Invalid {
                why,
                at: world_time(),
            };
        }),
        said(|seen| {
            let why = "waiting for Prometheus: connection refused".to_owned();
            seen.queries = QueryCheck::Unreadable {
                why,
                at: world_time(),
            };
        }),
        said(|seen| {
            seen.identity.name = "a-name-that-is-far-too-long-for-the-pods-of-a-canary".to_owned();
        }),
        said(|seen| {
            let obstacle = WorkloadObstacle::NameTooLong { max: 47 };
            seen.workload.as_mut().unwrap().obstacle = Some(obstacle);
        }),
        said(|seen| cannot_be_held(seen, WorkloadObstacle::NoRevisionHistory)),
        said(|seen| {
            let manager = "helm".to_owned();
            cannot_be_held(seen, WorkloadObstacle::PausedBy { manager });
        }),
        said(|seen| seen.spec.steps.clear()),
        said(|seen| seen.spec.steps[0].hold = None),
        said(|seen| seen.spec.steps[0].weight = None),
        said(|seen| seen.spec.steps[0] = approval()),
        said(|seen| seen.spec.gates[1].name = "errors".to_owned()),
        said(|seen| seen.spec.gates[0].threshold = None),
    ];
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_cluster_without_a_gateway_is_told_of_before_the_first_release() {
    let world = a_rollout().at_rest();
    let mut seen = world.observed().unwrap();
    seen.unlisted_route_kinds.push(RouteKind::HttpRoute);
    let decision = decide(&seen, world.now);
    assert!(
        decision
            .status
            .message
            .starts_with("HTTPRoutes cannot be listed"),
        "{}",
        decision.status.message
    );
}

#[test]
fn a_service_made_during_an_attempt_is_pinned_at_once() {
    let world = a_rollout().releasing(Quality::Good).at_weight(20);
    let mut seen = world.observed().unwrap();
    seen.services.push(late_service());
    let actions = format!("{:?}", decide(&seen, world.now).actions);
    assert!(
        actions.contains(r#"SetService { name: "late", pin: Some(Version(hashA))"#),
        "{actions}"
    );
}

#[test]
fn a_service_made_during_an_attempt_that_spans_others_ends_it_and_is_left_alone() {
    let world = a_rollout().releasing(Quality::Good).at_weight(20);
    let mut seen = world.observed().unwrap();
    seen.services.push(late_service());
    seen.other_workloads.push(basket());
    let decision = decide(&seen, world.now);
    let ending = decision
        .status
        .attempt
        .and_then(|attempt| attempt.ending)
        .unwrap();
    assert_eq!(
        ending.message,
        "Service late cannot be pinned: it now selects the pods of Deployment basket as well as the pods of \
         Deployment checkout"
    );
    assert!(
        !format!("{:?}", decision.actions).contains("late"),
        "{:?}",
        decision.actions
    );
}

#[test]
fn who_takes_a_pin_off_is_named() {
    let world = a_rollout().releasing(Quality::Good).at_weight(20);
    let mut seen = world.observed().unwrap();
    seen.services[0].selector = labels();
    seen.services[0].manager = Some("kubectl".to_owned());
    let notes: Vec<_> = decide(&seen, world.now)
        .events
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        notes
            .iter()
            .any(|note| note.contains("the selector of Service checkout")
                && note.contains("kubectl")),
        "{notes:?}"
    );
}

#[test]
fn a_write_of_ours_that_failed_is_nobodys_drift() {
    let world = a_rollout().releasing(Quality::Good).at_weight(20);
    let mut seen = world.observed().unwrap();
    seen.routes[0].state.as_mut().unwrap().weight = Some(Weight::from_hundredths(500));
    let decision = decide(&seen, world.now);
    assert!(
        !format!("{:?}", decision.events).contains("DriftCorrected"),
        "{:?}",
        decision.events
    );
    assert!(
        format!("{:?}", decision.actions).contains("SetRoute"),
        "{:?}",
        decision.actions
    );
}

#[test]
fn what_is_in_the_way_of_a_release_is_not_in_the_way_of_knowing_what_is_stable() {
    let mut world = a_rollout().begins();
    world.commit(
        "rev-A",
        crate::rollout::template('A', Quality::Good),
        "commit",
    );
    world.run_for(jiff::SignedDuration::from_secs(5));
    let mut seen = world.observed().unwrap();
    seen.status.stable = None;
    seen.candidate.as_mut().unwrap().comparison = Comparison::Same;
    let stable = |seen: &Observed| decide(seen, world.now).status.stable;
    for conflict in [false, true] {
        let mut seen = seen.clone();
        seen.conflicting_rollouts.push("older".to_owned());
        seen.workload_conflict = conflict;
        let decision = decide(&seen, world.now);
        assert_eq!(decision.status.phase, tidegate_api::status::Phase::Stalled);
        assert_eq!(
            decision.status.stable.is_some(),
            !conflict,
            "a workload that another Rollout governs is the other's"
        );
    }
    seen.spec.steps.clear();
    assert!(stable(&seen).is_some(), "with an invalid spec, too");
}

fn basket() -> OtherWorkload {
    OtherWorkload {
        workload: WorkloadRef::new(WorkloadKind::Deployment, "basket"),
        pod_labels: labels(),
    }
}

/// A Service over two workloads, which is none that callers use.
fn over_two_workloads(seen: &mut Observed, of: impl FnOnce(&mut Service)) {
    let mut service = Service {
        name: "checkout-metrics".to_owned(),
        ..late_service()
    };
    of(&mut service);
    seen.services.push(service);
    // Those of the world select another label of their pods as well.
    for service in &mut seen.services[..2] {
        service.selector.insert("own".to_owned(), "1".to_owned());
    }
    let workload = seen.workload.as_mut().unwrap();
    workload.pod_labels.insert("own".to_owned(), "1".to_owned());
    let candidate = seen.candidate.as_mut().unwrap();
    candidate
        .pod_labels
        .insert("own".to_owned(), "1".to_owned());
    seen.other_workloads.push(basket());
}

#[test]
fn a_service_over_several_workloads_blocks_unless_it_is_for_peers_or_exempt() {
    let refused = said(|seen| over_two_workloads(seen, |_| ()));
    assert!(
        refused.contains("Service checkout-metrics selects the pods of"),
        "{refused}"
    );
    assert!(refused.contains("tidegate.io/pin: Disabled"), "{refused}");
    let unknown = said(|seen| {
        over_two_workloads(seen, |service| {
            service.pin_setting = Some("disabled".to_owned());
        });
    });
    assert!(unknown.contains("checkout-metrics"), "{unknown}");

    let for_peers = message(|seen| over_two_workloads(seen, |service| service.for_peers = true));
    assert!(!for_peers.contains("checkout-metrics"), "{for_peers}");
    let disabled = message(|seen| {
        over_two_workloads(seen, |service| {
            service.pin_setting = Some("Disabled".to_owned());
        });
    });
    assert!(!disabled.contains("checkout-metrics"), "{disabled}");

    let callers = said(|seen| {
        seen.services[0].pin_setting = Some("Disabled".to_owned());
        seen.services[0].for_peers = true;
        seen.other_workloads.push(basket());
    });
    assert!(callers.contains("Service checkout selects"), "{callers}");
}

#[test]
fn what_is_not_pinned_is_not_held_to_a_pin() {
    let mut seen = a_rollout().at_rest().observed().unwrap();
    let pinned = |seen: &Observed| seen.pinned_services().count();
    let all = pinned(&seen);
    seen.services[1].pin_setting = Some("Disabled".to_owned());
    assert_eq!(pinned(&seen), all - 1);
    seen.services[1]
        .selector
        .insert("tidegate.io/track".to_owned(), "canary".to_owned());
    assert_eq!(pinned(&seen), all, "a pin that is there is taken off");
}

#[test]
fn an_overlap_is_said_before_anything_is_released() {
    let mut seen = a_rollout().at_rest().observed().unwrap();
    let stalled = |seen: &Observed| decide(seen, world_time()).status.message;
    assert!(!stalled(&seen).contains("selects"));
    seen.services[0].foreign_pod = Some("debug".to_owned());
    assert!(
        !stalled(&seen).contains("selects"),
        "it may be gone by then"
    );
    seen.other_workloads.push(basket());
    assert!(
        stalled(&seen).contains("selects the pods of Deployment"),
        "{}",
        stalled(&seen)
    );
}

fn late_service() -> Service {
    Service {
        name: "late".to_owned(),
        selector: labels(),
        epoch: None,
        external: false,
        for_peers: false,
        pin_setting: None,
        foreign_pod: None,
        waiting: None,
        manager: None,
    }
}

#[test]
fn nothing_begins_before_a_commit_has_been_applied_whole() {
    let mut world = a_rollout().at_rest();
    world.commit(
        "rev-B",
        crate::rollout::template('B', Quality::Good),
        "commit",
    );
    world.shell.cache = world.live.clone().into();
    let mut seen = world.observed().unwrap();
    seen.candidate.as_mut().unwrap().comparison = Comparison::Different;
    seen.candidate.as_mut().unwrap().admission = Admission::Admitted { at: world.now };
    seen.queries = QueryCheck::Usable { at: world.now };
    seen.finalizer = true;
    seen.applying = true;
    let half = decide(&seen, world.now);
    assert_eq!(half.status.attempts, 0);
    assert!(
        half.requeue_at.is_some_and(|at| at > world.now),
        "it looks again"
    );
    seen.applying = false;
    assert_eq!(decide(&seen, world.now).status.attempts, 1);
    let later = decide(&seen, world.now + jiff::SignedDuration::from_secs(6));
    assert_eq!(
        (
            later.status.attempts,
            later.actions.contains(&Action::CheckQueries)
        ),
        (0, true),
        "an old answer"
    );
}

#[test]
fn what_the_api_server_refuses_is_said_and_the_attempt_goes_on() {
    let world = a_rollout().releasing(Quality::Good).at_weight(20);
    let mut seen = world.observed().unwrap();
    let before = decide(&seen, world.now);
    seen.refused = Some("cannot apply the canary: exceeded quota".to_owned());
    let after = decide(&seen, world.now);
    assert_eq!(after.actions, before.actions);
    let stalled = Condition::find(&after.status.conditions, ConditionType::Stalled).unwrap();
    assert_eq!(
        (stalled.reason.as_str(), stalled.message.as_str()),
        ("WriteDenied", seen.refused.as_deref().unwrap())
    );
    assert!(after.status.attempt.is_some());
}

#[test]
fn a_service_that_spans_others_before_it_is_pinned_ends_the_attempt_before_there_is_a_canary() {
    let mut world = a_rollout()
        .at_rest()
        .with_denial(Group::Services, 10)
        .with_commit('B', Quality::Good)
        .at_stage(Stage::Pinning);
    world.live.services[1].spans = true;
    world.happens("span", "the Service selects other pods, too");
    let world = world.after(20);
    assert!(world.live.canary.is_none(), "{}", world.story);
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
    let ending = world.status().last_outcome.unwrap().ending;
    assert!(ending.message.contains("basket-1"), "{}", ending.message);
}
