//! A canary that the API server would deny: it is said before anything is pinned.

use tidegate_api::{intervention::Action as Ask, status::Phase};

use crate::{deployment::Quality, rollout::a_rollout, world::World};

const POLICY: &str = "policy teams denied request: label team is missing";

/// The world in which a policy denies the canary of B.
fn denied() -> World {
    let mut world = a_rollout().at_rest();
    world.denies_canary = Some(POLICY.to_owned());
    world.with_commit('B', Quality::Good).after(30)
}

#[test]
fn nothing_is_pinned_for_a_canary_that_would_be_denied() {
    let world = denied();
    let status = world.status();
    assert_eq!(
        (status.phase, status.attempts),
        (Phase::Stalled, 0),
        "{}",
        world.story
    );
    assert!(
        status.message.contains(POLICY) && status.message.contains("spec.canary.metadata"),
        "{}",
        status.message
    );
    assert!(
        world
            .live
            .services
            .iter()
            .all(|service| service.pin.is_none()),
        "{}",
        world.story
    );
}

#[test]
fn it_starts_by_itself_once_it_would_be_admitted() {
    let mut world = denied();
    world.denies_canary = None;
    let world = world.after(15);
    assert_eq!(world.status().attempts, 1, "{}", world.story);
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn a_person_may_try_it_all_the_same() {
    let world = denied().with_ask(Ask::Promote).until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 Promoted", 'B'),
        "{}",
        world.story
    );
}
