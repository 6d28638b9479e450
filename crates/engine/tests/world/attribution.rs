//! Approvals where anybody can write another's name into an Intervention.

use tidegate_api::{intervention::Action as Ask, status::Stage};
use tidegate_engine::observed::Attribution;

use crate::{deployment::Quality, rollout::a_rollout, world::World};

/// A release that waits for its approval, where no policy denies another's name.
fn waiting_without_a_policy() -> World {
    let mut world = a_rollout()
        .with_approval_at(2)
        .releasing(Quality::Good)
        .after(600);
    assert_eq!(world.stage(), Some(Stage::Stepping), "{}", world.story);
    world.attribution = Attribution::Missing { said: None };
    world
}

#[test]
fn an_approval_is_not_believed_where_no_policy_denies_another_name() {
    let world = waiting_without_a_policy()
        .with_ask(Ask::Approve)
        .with_ask(Ask::Promote)
        .after(600);
    assert_eq!(world.stage(), Some(Stage::Stepping), "{}", world.story);
    let story = world.story.to_string();
    for action in ["approve", "promote"] {
        let answer = format!(
            "{action} is taken only where the API server denies Interventions that bear another's name; \
             install the chart with admissionPolicy.enabled: true"
        );
        assert!(story.contains(&answer), "{story}");
    }
}

#[test]
fn an_approval_is_taken_again_once_there_is_a_policy() {
    let mut world = waiting_without_a_policy().with_ask(Ask::Approve).after(5);
    world.attribution = Attribution::Enforced;
    let world = world.with_ask(Ask::Approve).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn what_takes_traffic_back_is_taken_from_anybody() {
    let world = waiting_without_a_policy()
        .with_ask(Ask::Pause)
        .after(5)
        .with_ask(Ask::Abort)
        .until_rest();
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
    assert!(
        !world.story.to_string().contains("another's name"),
        "{}",
        world.story
    );
}

#[test]
fn what_waits_for_an_answer_is_overtaken_by_an_abort() {
    let mut world = waiting_without_a_policy();
    world.attribution = Attribution::Unknown;
    let mut world = world
        .with_ask(Ask::Promote)
        .after(30)
        .with_ask(Ask::Abort)
        .after(5);
    world.attribution = Attribution::Enforced;
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
    let overtaken = "abort was requested by grace meanwhile; create it again if it still holds";
    assert!(
        world.story.to_string().contains(overtaken),
        "{}",
        world.story
    );
}
