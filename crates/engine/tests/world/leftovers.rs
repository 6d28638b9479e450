//! What is left behind where somebody works against the finalizer or the ConfigRepo, and what becomes of it.

use serde_json::json;
use tidegate_api::{intervention::Action as Ask, record::Outcome, status::Stage};

use crate::{deployment::Quality, rollout::a_rollout, shell::Group, world::World};

/// Returns true if nothing in the cluster bears a mark of Tidegate's.
fn is_clean(world: &World) -> bool {
    let live = &world.live;
    let workload = live.workload.as_ref().unwrap();
    let is_free = live
        .services
        .iter()
        .all(|one| one.pin.is_none() && one.epoch.is_none());
    let is_whole = live
        .routes
        .iter()
        .all(|route| route.canary.is_none() && route.epoch.is_none());
    is_free && is_whole && !workload.paused && workload.epoch.is_none() && live.canary.is_none()
}

/// At 20 %, and the Rollout is deleted without its finalizer and created again.
fn replaced() -> World {
    let draft = a_rollout();
    let world = draft.releasing(Quality::Good).at_weight(20);
    world.with_forced_deletion(&draft)
}

#[test]
fn leftovers_are_put_right_though_the_new_spec_is_invalid() {
    let invalid = a_rollout().with("steps", json!([]));
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_forced_deletion(&invalid)
        .after(60);
    assert!(is_clean(&world), "{}", world.story);
}

#[test]
fn a_deletion_puts_leftovers_right_first() {
    let world = replaced().after(0).with_deletion(false).until_gone();
    assert!(is_clean(&world), "{}", world.story);
}

#[test]
fn leftover_pins_stay_on_ready_pods_while_the_workload_rolls() {
    let draft = a_rollout();
    let world = draft
        .releasing(Quality::Good)
        .at_stage(Stage::Starting)
        .with_forced_deletion(&draft)
        .with_foreign_template();
    // The invariants ask whether callers are served all the way.
    let world = world.when("the adoption", |world| world.status().stable.is_some());
    assert!(is_clean(&world), "{}", world.story);
}

#[test]
fn a_finalizer_that_is_removed_from_a_running_attempt_is_put_back() {
    let mut world = a_rollout().releasing(Quality::Good).at_weight(20);
    world.remove_finalizer();
    let world = world.after(1);
    assert!(world.rollout.as_ref().unwrap().finalizer, "{}", world.story);
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn the_finalizer_is_put_back_though_another_effect_is_denied() {
    let world = a_rollout().releasing(Quality::Good).at_weight(20);
    let mut world = world.with_denial(Group::Revisions, 600);
    world.live.kept.clear();
    world.happens("revisions", "the ControllerRevisions are deleted");
    world.remove_finalizer();
    let world = world.after(5);
    assert!(world.rollout.as_ref().unwrap().finalizer, "{}", world.story);
}

#[test]
fn traffic_goes_back_though_the_finalizer_was_removed_in_the_same_moment() {
    let mut world = a_rollout().releasing(Quality::Good).at_weight(20);
    world.remove_finalizer();
    let world = world.with_ask(Ask::Abort).after(1);
    let story = world.story.to_string();
    let back = story.rfind("checkout: 0% to the canary").expect(&story);
    let kept = story.rfind("finalizer: on").expect(&story);
    assert!(back < kept, "{story}");
    assert_eq!(world.until_rest().outcomes(), "1 Aborted");
}

#[test]
fn stable_is_put_back_for_a_deletion_though_its_revision_was_lost() {
    let mut world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::ShiftingToStable);
    world.live.kept.clear();
    world.happens("revisions", "the ControllerRevisions are deleted");
    let world = world.with_deletion(false).until_gone();
    assert_eq!(world.runs(), 'A', "{}", world.story);
}

#[test]
fn an_attempt_comes_to_its_end_while_its_config_repo_is_gone() {
    for (quality, outcome) in [
        (Quality::Good, Outcome::Promoted),
        (Quality::Erroring, Outcome::RolledBack),
    ] {
        let mut world = a_rollout().releasing(quality).at_stage(Stage::Starting);
        world.delete_repo();
        let world = world.when("the end", |world| world.stage().is_none());
        assert!(world.git.outcomes.is_empty(), "nobody says where to");
        let mut world = world;
        world.create_repo();
        let world = world.after(5);
        assert_eq!(world.git.outcomes, [(1, outcome)], "{}", world.story);
    }
}

#[test]
fn a_service_that_comes_to_span_other_pods_holds_the_next_attempt_and_nothing_else() {
    let mut world = a_rollout().releasing(Quality::Good).at_weight(20);
    world.live.services[1].spans = true;
    world.happens(
        "span",
        "the Service checkout-internal selects other pods, too",
    );
    let world = world.with_ask(Ask::Abort).after(60);
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
    assert!(is_clean(&world), "{}", world.story);
    let mut world = world.with_commit('C', Quality::Good).after(60);
    assert_eq!(world.stage(), None, "{}", world.story);
    world.live.services[1].spans = false;
    world.happens(
        "span",
        "the Service checkout-internal selects no other pods",
    );
    assert_eq!(world.until_rest().runs(), 'C');
}

#[test]
fn leftover_pins_follow_a_workload_that_is_restarted_while_the_canary_serves() {
    let draft = a_rollout();
    let world = draft
        .releasing(Quality::Good)
        .at_stage(Stage::ShiftingToStable)
        .with_forced_deletion(&draft)
        .with_restart();
    let mut world = world;
    world.run_for(jiff::SignedDuration::from_millis(1500));
    // The invariants ask whether callers are served all the way.
    let world = world
        .with_restart()
        .when("the adoption", |world| world.status().stable.is_some());
    assert!(is_clean(&world), "{}", world.story);
}

#[test]
fn leftovers_go_though_the_workload_is_scaled_to_zero() {
    let draft = a_rollout();
    let world = draft
        .releasing(Quality::Good)
        .at_weight(20)
        .with_scale(0)
        .with_forced_deletion(&draft)
        .after(60);
    assert!(is_clean(&world), "{}", world.story);
}

#[test]
fn a_mark_goes_from_a_route_of_which_somebody_took_the_canary() {
    let world = replaced().with_foreign_route(None);
    let world = world.when("the adoption", |world| world.status().stable.is_some());
    assert!(is_clean(&world), "{}", world.story);
}

#[test]
fn a_deletion_waits_for_leftovers_no_longer_than_the_progress_deadline() {
    let mut world = replaced().with_unready(false, 3, 360_000).after(5);
    world.happens("delete", "and nobody is there who could take the callers");
    let world = world.with_deletion(false).after(660);
    assert!(world.rollout.is_none(), "{}", world.story);
}
