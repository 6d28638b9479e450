//! Config that is released with a revision: when stable's pods get it, and when it is put back.

use jiff::SignedDuration;
use tidegate_api::{intervention::Action as Ask, status::Stage};

use crate::{
    deployment::Quality,
    rollout::a_rollout,
    shell::{Fault, Group},
    world::World,
};

/// Letter of the template whose config stable's pods read.
fn config(world: &World) -> char {
    world.live.config.unwrap()
}

/// A release that is being promoted: stable's template and config are about to be written.
fn promoting() -> World {
    let world = a_rollout().with_config().releasing(Quality::Good);
    world.at_stage(Stage::Stepping).with_ask(Ask::Promote)
}

#[test]
fn stable_keeps_its_config_until_the_canary_is_promoted() {
    let world = a_rollout()
        .with_config()
        .releasing(Quality::Good)
        .at_weight(50);
    assert_eq!(config(&world), 'A');
    let released = world.status().attempt.unwrap().config.unwrap();
    assert_eq!(released.copies[0].copy, "checkout-canary-B");
    let world = world.until_rest();
    assert_eq!(
        (world.outcomes().as_str(), config(&world)),
        ("1 Promoted", 'B')
    );
    let stable = world.status().stable.unwrap();
    assert_eq!(stable.config.as_deref(), Some("B"));
    insta::assert_snapshot!("released_config_good", world.story);
}

#[test]
fn a_rollback_before_promotion_touches_no_config() {
    let world = a_rollout()
        .with_config()
        .releasing(Quality::Good)
        .at_weight(50);
    let world = world.with_breach("errors").until_rest();
    assert_eq!(
        (world.outcomes().as_str(), config(&world)),
        ("1 RolledBack", 'A')
    );
    assert!(
        !world.story.to_string().contains("the config of"),
        "{}",
        world.story
    );
    assert_eq!(world.status().stable.unwrap().config, None);
}

#[test]
fn a_rollback_in_promotion_puts_config_back_before_the_template() {
    let world = promoting().at_stage(Stage::UpdatingStable).after(1);
    assert_eq!(config(&world), 'B');
    let world = world.with_ask(Ask::Abort).until_rest();
    assert_eq!(
        (world.outcomes().as_str(), config(&world)),
        ("1 Aborted", 'A')
    );
    assert_eq!(world.runs(), 'A');
    let story = world.story.to_string();
    let at = |what: &str| story.rfind(what).unwrap();
    let put_back = at("the config of rev-A is written");
    assert!(
        put_back < at("Deployment checkout: the template of rev-A"),
        "{story}"
    );
}

#[test]
fn a_crash_at_any_write_of_a_promotion_leaves_no_template_without_its_config() {
    for write in 0..30 {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::Swallowed] {
            let mut world = promoting().at_stage(Stage::PinningToCanary);
            world.shell.fault = Some((write, fault));
            let world = world.until_rest();
            assert_eq!(
                (world.runs(), config(&world)),
                ('B', 'B'),
                "{}",
                world.story
            );
        }
    }
}

#[test]
fn config_that_cannot_be_written_stops_a_promotion_and_says_so() {
    let mut world = promoting().at_stage(Stage::PinningToCanary);
    world.shell.denied = Some((Group::Workloads, world.now + SignedDuration::from_mins(5)));
    world.run_for(SignedDuration::from_mins(2));
    assert_eq!(
        (world.runs(), config(&world)),
        ('A', 'A'),
        "{}",
        world.story
    );
    let message = world.status().message;
    assert!(message.contains("forbidden"), "{message}");
    let world = world.until_rest();
    assert_eq!(
        (world.outcomes().as_str(), config(&world)),
        ("1 Promoted", 'B')
    );
}
