//! Releases where no route splits traffic: replicas share it.

use serde_json::json;
use tidegate_api::{intervention::Action as Ask, status::Stage};
use tidegate_engine::{pin::Pin, weight::Weight};

use crate::{
    deployment::Quality,
    metrics::PrometheusBehavior,
    rollout::{a_rollout_by_replicas, template},
    world::World,
};

fn pins(world: &World) -> Vec<Option<Pin>> {
    let services = world.live.services.iter();
    services.map(|service| service.pin.clone()).collect()
}

fn replicas(world: &World) -> u32 {
    let canary = world.live.canary.as_ref();
    canary.map_or(0, |canary| canary.replicas)
}

fn shown(world: &World) -> String {
    world.status().weight.unwrap_or_default()
}

#[test]
fn a_good_release_goes_by_its_shares_and_is_promoted() {
    let world = a_rollout_by_replicas()
        .releasing(Quality::Good)
        .at_weight(25);
    assert_eq!((pins(&world), replicas(&world)), (vec![None; 2], 1));
    assert_eq!(shown(&world), "25%");
    let world = world.at_weight(40);
    assert_eq!((replicas(&world), shown(&world).as_str()), (2, "40%"));
    let world = world.at_weight(100);
    assert_eq!(pins(&world), vec![Some(Pin::Canary); 2]);
    let world = world.until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 Promoted", 'B')
    );
    assert_eq!(
        pins(&world),
        vec![None; 2],
        "nothing is left: {}",
        world.story
    );
    insta::assert_snapshot!("by_replicas_good", world.story);
}

#[test]
fn a_breach_pins_services_to_stable_in_the_same_turn_and_the_canary_goes_without_a_drain() {
    let world = a_rollout_by_replicas()
        .releasing(Quality::Good)
        .at_weight(40);
    let world = world
        .with_breach("errors")
        .read_now()
        .at_stage(Stage::RollingBack);
    let stable = world.status().stable.unwrap().pod_template_hash;
    assert_eq!(
        pins(&world),
        vec![Some(Pin::Version(stable)); 2],
        "{}",
        world.story
    );
    let world = world.after(2);
    assert!(world.live.canary.is_none(), "{}", world.story);
    let world = world.until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 RolledBack", 'A')
    );
    insta::assert_snapshot!("by_replicas_bad", world.story);
}

#[test]
fn blue_and_green_switch_at_once_and_go_back_at_once() {
    let steps = json!([{ "weight": 0 }, { "approval": {} }, { "weight": 100, "hold": "10m" }]);
    let draft = a_rollout_by_replicas().with("steps", steps);
    let green = draft.releasing(Quality::Good).after(60);
    let stable = Some(Pin::Version(
        green.status().stable.unwrap().pod_template_hash,
    ));
    assert_eq!(
        pins(&green),
        vec![stable.clone(); 2],
        "nobody has approved: {}",
        green.story
    );
    assert!(
        green.live.canary_service,
        "it can be looked at by its own Service"
    );
    let green = green.with_ask(Ask::Approve).after(60);
    assert_eq!(
        (pins(&green), replicas(&green)),
        (vec![Some(Pin::Canary); 2], 3)
    );
    let ready = green.live.ready_of_workload(green.now);
    assert_eq!(ready, 3, "stable stays ready for the whole hold");
    let back = green
        .with_breach("errors")
        .read_now()
        .at_stage(Stage::RollingBack);
    assert_eq!(pins(&back), vec![stable; 2], "{}", back.story);
    assert_eq!(back.until_rest().outcomes(), "1 RolledBack");
}

#[test]
fn what_three_replicas_cannot_share_is_refused_with_what_they_can() {
    let steps = json!([{ "weight": 10, "hold": "1m" }]);
    let world = a_rollout_by_replicas()
        .with("steps", steps)
        .releasing(Quality::Good)
        .after(60);
    assert_eq!(world.stage(), None);
    assert_eq!(
        world.status().message,
        "step 1 has the weight 10%, and beside the 3 replicas of Deployment checkout the canary would have \
         25%; write weight: 25%, or give it at least 4 replicas"
    );
    let world = world.with_scale(4).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_revert_does_not_wait_for_replicas() {
    let steps = json!([{ "weight": 20, "hold": "1m" }]);
    let draft = a_rollout_by_replicas().with("steps", steps);
    let world = draft.releasing(Quality::Good).until_rest();
    let mut world = world.with_scale(1).after(60);
    world.commit("rev-A", template('A', Quality::Good), "revert");
    assert_eq!(world.until_rest().outcomes(), "1 Promoted, 2 Promoted");
}

#[test]
fn while_stable_is_dead_the_canary_has_everybody_and_then_its_share_again() {
    let world = a_rollout_by_replicas()
        .releasing(Quality::Good)
        .at_weight(25);
    let world = world.with_unready(false, 3, 120).after(20);
    assert_eq!(world.share(), Weight::FULL, "{}", world.story);
    assert_eq!(pins(&world), vec![Some(Pin::Canary); 2], "{}", world.story);
    let world = world.after(180);
    assert_eq!(
        (pins(&world), replicas(&world)),
        (vec![None; 2], 1),
        "{}",
        world.story
    );
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn a_stable_that_is_down_for_a_moment_leaves_the_canary_its_share() {
    let steps = json!([{ "weight": 25, "hold": "1h" }]);
    let world = a_rollout_by_replicas()
        .with("steps", steps)
        .releasing(Quality::Good)
        .at_weight(25);
    let world = world.with_unready(false, 3, 8).after(5);
    assert_eq!(replicas(&world), 3, "it may have to stand in");
    let world = world.after(30);
    assert_eq!((replicas(&world), shown(&world).as_str()), (1, "25%"));
}

#[test]
fn the_canary_follows_stable_that_is_scaled_so_that_its_share_stays() {
    let steps = json!([{ "weight": 25, "hold": "1h" }]);
    let world = a_rollout_by_replicas()
        .with("steps", steps)
        .releasing(Quality::Good)
        .at_weight(25);
    let world = world.with_scale(9).after(60);
    assert_eq!((replicas(&world), shown(&world).as_str()), (3, "25%"));
    let world = world.with_autoscaler().with_scale(3).after(60);
    assert_eq!((replicas(&world), shown(&world).as_str()), (1, "25%"));
}

#[test]
fn gates_are_read_while_replicas_share() {
    let world = a_rollout_by_replicas()
        .releasing(Quality::Erroring)
        .until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    let world = a_rollout_by_replicas()
        .releasing(Quality::Good)
        .at_stage(Stage::Stepping);
    let world = world
        .with_readings(PrometheusBehavior::Empty, 3600)
        .until_rest();
    assert_ne!(
        world.outcomes(),
        "1 Promoted",
        "no data promotes nothing: {}",
        world.story
    );
}
