//! Worlds with a plot, and their golden logs.

use tidegate_api::{intervention::Action as Ask, status::Stage};

use crate::{
    deployment::Quality,
    rollout::a_rollout,
    world::{Mood, World},
};

/// The golden log, and how it ended.
fn golden(name: &str, world: &World, outcomes: &str, runs: char) {
    assert_eq!(world.outcomes(), outcomes, "{}", world.story);
    assert_eq!(world.runs(), runs, "{}", world.story);
    insta::assert_snapshot!(name, world.story);
}

#[test]
fn a_good_release_is_promoted() {
    let world = a_rollout().releasing(Quality::Good).until_rest();
    golden("good", &world, "1 Promoted", 'B');
}

#[test]
fn a_release_that_breaches_at_20_percent_goes_back() {
    let world = a_rollout().releasing(Quality::Good).at_weight(20).with_breach("errors").until_rest();
    golden("bad", &world, "1 RolledBack", 'A');
}
