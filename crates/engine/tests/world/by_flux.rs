//! Releases of a workload that Flux applies: it writes its own state again and again, and passes by what it is told to.

use tidegate_api::status::Stage;
use tidegate_engine::{
    decide::decide,
    decision::{Action, Hold},
    observed::Appliers,
};

use crate::{
    deployment::Quality,
    rollout::{Draft, a_rollout},
    world::World,
};

fn by_flux() -> Draft {
    a_rollout().applied_by_flux()
}

fn appliers(world: &World) -> Appliers {
    world.live.workload.as_ref().unwrap().appliers
}

/// Nothing of an attempt is left, not even the ownership of a field.
#[track_caller]
fn is_its_appliers_own(world: &World) {
    let live = &world.live;
    assert_eq!(appliers(world), Appliers::Apply, "{}", world.story);
    let is_owned = live.services.iter().any(|service| service.owned)
        || live.routes.iter().any(|route| route.owned)
        || live
            .workload
            .iter()
            .any(|workload| workload.owner.is_some());
    assert!(!is_owned, "{}", world.story);
}

#[test]
fn while_it_promotes_the_workload_is_passed_by() {
    let world = by_flux().releasing(Quality::Good).at_weight(20);
    assert_eq!(appliers(&world), Appliers::Apply, "it is held");
    let world = world.at_stage(Stage::UpdatingStable).after(1);
    assert_eq!(appliers(&world), Appliers::PassBy, "{}", world.story);
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    is_its_appliers_own(&world);
}

#[test]
fn what_comes_while_it_promotes_waits_in_git_and_is_the_next_candidate() {
    let world = by_flux()
        .releasing(Quality::Good)
        .at_stage(Stage::UpdatingStable);
    let world = world.after(1).with_commit('C', Quality::Erroring).after(2);
    assert_eq!(world.runs(), 'B', "{}", world.story);
    let world = world.until_rest();
    let outcomes = world.outcomes();
    assert_eq!(outcomes, "1 Promoted, 2 RolledBack", "{}", world.story);
    let story = world.story.to_string();
    assert!(!story.contains("of C (0 ready) of checkout"), "{story}");
    is_its_appliers_own(&world);
}

#[test]
fn what_comes_once_it_has_rolled_out_is_left_where_it_is() {
    let world = by_flux().releasing(Quality::Good).at_stage(Stage::Draining);
    let mut world = world.with_commit('C', Quality::Good).after(1);
    assert_eq!(world.runs(), 'C', "{}", world.story);
    world.run_until(jiff::SignedDuration::from_mins(1), |world| {
        world.stage() != Some(Stage::Draining)
    });
    assert_eq!(world.runs(), 'C', "{}", world.story);
    let world = world.until_rest();
    let outcomes = world.outcomes();
    assert_eq!(outcomes, "1 Promoted, 2 Promoted", "{}", world.story);
}

#[test]
fn what_was_rolled_back_is_written_again_and_not_tried_again() {
    let world = by_flux()
        .releasing(Quality::Good)
        .at_stage(Stage::UpdatingStable);
    let world = world.after(1).with_breach("errors").read_now().until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    assert_eq!(world.runs(), 'B', "git asks for it: {}", world.story);
    is_its_appliers_own(&world);
    let world = world.after(600);
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
}

#[test]
fn scaled_to_zero_nobody_fights_over_the_template() {
    let world = by_flux().releasing(Quality::Erroring).until_rest();
    let before = world.decisions;
    let world = world.with_scale(0).after(3_600);
    assert!(world.decisions - before < 50, "{}", world.story);
    let world = world.with_scale(3).after(60);
    assert_eq!(world.running(), "A", "{}", world.story);
}

#[test]
fn a_rollout_that_goes_leaves_its_applier_nothing_but_the_workload() {
    let world = by_flux().releasing(Quality::Erroring).until_rest();
    let world = world.with_deletion(false).until_gone();
    assert_eq!(world.runs(), 'A', "{}", world.story);
    is_its_appliers_own(&world);
    let world = world.after(60);
    assert_eq!(world.runs(), 'B', "git asks for it: {}", world.story);
}

#[test]
fn stables_version_is_made_again_without_what_waits() {
    let world = by_flux().releasing(Quality::Good).until_rest();
    let mut world = world.after(60);
    world.denies_canary = Some("exceeded quota".to_owned());
    let world = world.with_commit('E', Quality::Broken).after(2);
    let world = world.with_lost_version().after(60);
    assert_eq!(world.running(), "B", "{}", world.story);
    assert_eq!(world.runs(), 'E', "git asks for it: {}", world.story);
}

#[test]
fn one_that_goes_while_a_version_is_made_again_leaves_nothing_either() {
    let world = by_flux().releasing(Quality::Good).until_rest().after(60);
    let mut world = world.with_lost_version();
    world.run_until(jiff::SignedDuration::from_mins(1), |world| {
        appliers(world) == Appliers::PassBy
    });
    assert_eq!(appliers(&world), Appliers::PassBy, "{}", world.story);
    let world = world.with_deletion(false).until_gone();
    is_its_appliers_own(&world);
}

#[test]
fn one_whose_stable_template_is_denied_goes_all_the_same() {
    let world = by_flux().releasing(Quality::Erroring).until_rest();
    let world = world.with_deletion(false);
    let mut seen = world.observed().unwrap();
    seen.refused = Some("the policy denies the image".to_owned());
    let let_go = Action::SetWorkload {
        paused: false,
        hold: Hold::Off,
        epoch: None,
    };
    let decision = decide(&seen, world.now);
    assert!(
        !decision.actions.contains(&let_go),
        "{:?}",
        decision.actions
    );
    let later = world.now + jiff::SignedDuration::from_mins(20);
    let decision = decide(&seen, later);
    assert!(decision.actions.contains(&let_go), "{:?}", decision.actions);
}
