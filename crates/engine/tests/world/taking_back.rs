//! Ways out of an attempt over a stable that is dead: each ends within a bound.

use tidegate_api::{intervention::Action as Ask, status::Stage};
use tidegate_engine::{pin::Pin, weight::Weight};

use crate::{
    deployment::Quality, metrics::PrometheusBehavior, rollout::a_rollout, shell::Group,
    world::World,
};

/// Longer than any scenario lasts.
const FOR_GOOD: i64 = 360_000;

/// The progress deadline, and time for what comes before and after it, in seconds.
const BOUND: i64 = 660;

/// At 20 %, and stable is dead from then on.
fn dead() -> World {
    a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_unready(false, 3, FOR_GOOD)
}

/// The canary has breached, and stable is dead.
fn breached_over_dead() -> World {
    dead()
        .after(2)
        .with_breach("errors")
        .read_now()
        .at_stage(Stage::RollingBack)
        .after(30)
}

#[test]
fn an_abort_ends_though_stable_is_dead() {
    let world = dead().after(30).with_ask(Ask::Abort).after(60);
    assert_eq!(
        world.share(),
        Weight::FULL,
        "nobody else is ready: {}",
        world.story
    );
    let world = world.after(BOUND);
    assert_eq!(
        (world.stage(), world.outcomes().as_str()),
        (None, "1 Aborted"),
        "{}",
        world.story
    );
    insta::assert_snapshot!("abort_over_dead_stable", world.story);
}

#[test]
fn an_aborted_attempt_over_a_dead_stable_may_be_promoted_after_all() {
    let world = dead()
        .after(30)
        .with_ask(Ask::Abort)
        .after(60)
        .with_ask(Ask::Promote)
        .after(120);
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    assert_eq!(world.runs(), 'B');
}

#[test]
fn what_breached_is_not_promoted_though_stable_is_dead() {
    let world = breached_over_dead().with_ask(Ask::Promote).after(30);
    assert_eq!(world.stage(), Some(Stage::RollingBack), "{}", world.story);
    let world = world.with_ask(Ask::Abort).after(BOUND);
    assert_eq!(
        (world.stage(), world.outcomes().as_str()),
        (None, "1 RolledBack"),
        "{}",
        world.story
    );
}

#[test]
fn what_breached_gets_no_more_than_it_had_and_goes_with_the_first_ready_pod() {
    let world = breached_over_dead().after(60);
    assert_eq!(
        world.share(),
        Weight::from_hundredths(2000),
        "{}",
        world.story
    );
    let mut world = world;
    let now = world.now;
    let workload = world.live.workload.as_mut().unwrap();
    workload.sets[0].pods[0].ready_at = Some(now);
    world.happens("pod ready", "a pod of stable is ready again");
    let world = world.after(3);
    assert_eq!(world.share(), Weight::ZERO, "{}", world.story);
}

#[test]
fn a_newer_commit_gets_out_soon_though_stable_is_dead() {
    for world in [dead().after(2), breached_over_dead()] {
        let world = world
            .with_readings(PrometheusBehavior::Honest, 1)
            .with_commit('C', Quality::Good)
            .after(60);
        let attempt = world.status().attempt.unwrap();
        assert_eq!(
            (attempt.number, world.share()),
            (2, Weight::FULL),
            "{}",
            world.story
        );
        let world = world.until_rest();
        assert_eq!(world.runs(), 'C', "{}", world.story);
    }
}

#[test]
fn a_newer_commit_over_a_canary_that_serves_everybody_waits_a_while_for_stable() {
    let world = dead().after(30).with_commit('C', Quality::Good).after(300);
    assert_eq!(
        (world.stage(), world.share()),
        (Some(Stage::RollingBack), Weight::FULL)
    );
    let world = world.after(BOUND);
    assert_eq!(world.status().attempts, 2, "{}", world.story);
    assert_eq!(world.until_rest().outcomes(), "1 Superseded, 2 Promoted");
}

#[test]
fn a_deletion_ends_though_stable_is_dead() {
    for world in [dead().after(30), breached_over_dead()] {
        let world = world.with_deletion(false).after(BOUND);
        assert!(world.rollout.is_none(), "{}", world.story);
        assert!(!world.live.workload.as_ref().unwrap().paused);
    }
}

#[test]
fn a_deletion_ends_though_what_becomes_of_the_pins_is_not_seen() {
    let world = dead().after(30).with_denial(Group::Endpoints, FOR_GOOD);
    let world = world.with_deletion(false).after(2 * BOUND);
    assert!(world.rollout.is_none(), "{}", world.story);
    assert!(!world.live.workload.as_ref().unwrap().paused);
}

/// A breach while the workload rolls out the candidate, and stable's pods never become ready again.
fn template_is_put_back_and_stable_is_dead() -> World {
    a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::UpdatingStable)
        .after(3)
        .with_no_room(FOR_GOOD)
        .with_unready(false, 3, FOR_GOOD)
        .with_breach("errors")
        .read_now()
        .at_stage(Stage::RollingBack)
        .after(60)
}

#[test]
fn a_rollback_of_the_template_ends_in_every_way_though_stable_is_dead() {
    let ways: [fn(World) -> World; 3] = [
        |world| world.with_ask(Ask::Abort),
        |world| world.with_commit('C', Quality::Good),
        |world| world.with_deletion(false),
    ];
    for way in ways {
        let world = template_is_put_back_and_stable_is_dead();
        assert_eq!(world.stage(), Some(Stage::RollingBack), "{}", world.story);
        let world = way(world).after(BOUND);
        let status = world.status();
        assert_ne!(
            status.attempt.map(|attempt| attempt.number),
            Some(1),
            "{}",
            world.story
        );
        let others = &world.live.workload.as_ref().unwrap().sets;
        let left = others.iter().filter(|set| set.template.letter == 'B');
        assert_eq!(
            left.map(|set| set.pods.len()).sum::<usize>(),
            0,
            "{}",
            world.story
        );
    }
}

#[test]
fn direct_callers_go_back_once_enough_of_stable_is_ready() {
    let world = a_rollout().at_rest().with_scale(8).after(10);
    let world = world
        .with_commit('B', Quality::Good)
        .at_stage(Stage::PinningToStable)
        .with_breach("errors")
        .read_now()
        .at_stage(Stage::RollingBack);
    let mut world = world;
    let stable = world.status().stable.unwrap().pod_template_hash;
    // Two of them find room, and no more do before the deadline is over.
    world = world
        .when("two ready pods of stable", |world| ready(world) >= 2)
        .with_no_room(900);
    let world = world.after(700);
    assert!(ready(&world) < 6, "{}", world.story);
    let pins = |world: &World| world.live.services[0].pin.clone();
    assert_eq!(pins(&world), Some(Pin::Canary), "{}", world.story);
    assert_eq!(world.share(), Weight::FULL, "{}", world.story);
    let world = world.when("the pin", |world| {
        pins(world) == Some(Pin::Version(stable.clone()))
    });
    assert!(
        ready(&world) >= 6,
        "{} ready: {}",
        ready(&world),
        world.story
    );
    assert_eq!(world.until_rest().outcomes(), "1 RolledBack");
}

/// Number of ready pods of template A.
fn ready(world: &World) -> u32 {
    ready_of(world, 'A')
}

fn ready_of(world: &World, letter: char) -> u32 {
    let sets = &world.live.workload.as_ref().unwrap().sets;
    let set = sets.iter().find(|set| set.template.letter == letter);
    set.map_or(0, |set| set.ready(world.now))
}

#[test]
fn callers_stay_on_the_promoted_pods_while_those_of_stable_find_no_room() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::ShiftingToStable)
        .with_no_room(FOR_GOOD)
        .with_deletion(false)
        .until_gone()
        .after(60);
    let serving = world.live.stable_endpoints.ready();
    assert_eq!((world.runs(), serving), ('A', 3), "{}", world.story);
    let pins = world.live.services.iter().filter(|one| one.pin.is_some());
    assert_eq!(pins.count(), 0, "{}", world.story);
}

#[test]
fn a_canary_that_is_lost_while_stable_is_updated_leaves_callers_to_the_version_with_more_pods() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::UpdatingStable)
        .when("two new pods", |world| ready_of(world, 'B') == 2)
        .with_unready(true, 3, FOR_GOOD)
        .at_stage(Stage::RollingBack)
        .after(1);
    assert_eq!((ready(&world), ready_of(&world, 'B')), (1, 2));
    let serving = world.live.stable_endpoints.ready();
    assert_eq!(serving, 2, "{}", world.story);
    assert_eq!(world.until_rest().runs(), 'A');
}

#[test]
fn one_ready_pod_of_stable_does_not_take_all_callers_from_the_promoted_pods() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::ShiftingToStable)
        .with_no_room(599)
        .with_deletion(false)
        .after(599)
        .with_no_room(FOR_GOOD)
        .when("a ready pod of stable", |world| ready(world) == 1)
        .until_gone()
        .after(60);
    let serving = world.live.stable_endpoints.ready();
    assert_eq!((world.runs(), serving), ('A', 3), "{}", world.story);
}

#[test]
fn a_route_that_does_not_name_the_canary_yet_is_left_alone() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::Starting);
    let route = world.live.routes[0].version;
    let world = world.with_ask(Ask::Abort).until_rest();
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
    assert_eq!(world.live.routes[0].version, route, "{}", world.story);
}

#[test]
fn callers_stay_on_a_canary_that_somebody_takes_out_of_the_route_while_stable_is_dead() {
    let world = dead()
        .after(30)
        .with_ask(Ask::Abort)
        .after(30)
        .with_foreign_route(None)
        .after(60);
    let pins = world
        .live
        .services
        .iter()
        .map(|service| service.pin.clone());
    assert_eq!(
        pins.collect::<Vec<_>>(),
        [Some(Pin::Canary), Some(Pin::Canary)],
        "the Service's own pods are all that serves: {}",
        world.story
    );
    assert!(world.live.stable_endpoints.ready() > 0, "{}", world.story);
    let world = world.after(BOUND);
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
}

#[test]
fn nothing_to_go_back_to_leaves_what_runs_and_says_what_to_do() {
    let ends: [fn(World) -> World; 3] = [
        |world| world,
        |world| world.with_ask(Ask::Abort),
        |world| world.with_breach("errors").read_now(),
    ];
    for end in ends {
        let world = a_rollout()
            .releasing(Quality::Good)
            .at_stage(Stage::UpdatingStable)
            .with_no_room(4500)
            .after(5)
            .with_lost_version()
            .with_lost_revisions();
        let world = end(world).at_stage(Stage::RollingBack).after(30);
        let message = world.status().message;
        let what_to_do = "commit the template again";
        assert!(message.contains(what_to_do), "{message}: {}", world.story);
        assert_eq!(world.share(), Weight::FULL, "{}", world.story);
        let world = world.after(4500);
        assert_eq!((world.stage(), world.runs()), (None, 'B'));
        assert_eq!(world.live.stable_endpoints.ready(), 3, "{}", world.story);
        // The same template again is what it can be brought to.
        let world = world.with_commit('A', Quality::Good).until_rest();
        assert_eq!(world.runs(), 'A', "{}", world.story);
    }
}
