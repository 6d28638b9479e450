//! Newer revisions that come while an attempt runs.

use serde_json::json;

use crate::{
    deployment::Quality,
    rollout::{Draft, a_rollout},
    world::World,
};

fn a_long_rollout() -> Draft {
    a_rollout().with("steps", json!([{ "weight": 20, "hold": "10m" }]))
}

/// Commits B, C, D and E, two minutes apart.
fn storm(draft: &Draft) -> World {
    let letters = ['B', 'C', 'D', 'E'];
    let mut world = draft.at_rest();
    for letter in letters {
        world = world.with_commit(letter, Quality::Good).after(120);
    }
    world
}

#[test]
fn it_is_said_that_commits_come_faster_than_attempts_end() {
    let world = storm(&a_long_rollout());
    let status = world.status();
    assert!(
        status
            .message
            .contains("superseded 3 times since 2026-03-01T12:"),
        "{}",
        status.message
    );
    let world = world.until_rest();
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 Superseded, 2 Superseded, 3 Superseded, 4 Promoted", 'E'),
        "{}",
        world.story
    );
    assert_eq!(world.status().superseded, None);
}

#[test]
fn an_attempt_ends_before_the_next_where_the_spec_has_it_so() {
    let world = storm(&a_long_rollout().with("onNewRevision", json!("Wait")));
    let status = world.status();
    assert!(
        status.message.contains("waits for the end of this attempt"),
        "{}",
        status.message
    );
    let world = world.after(3 * 3600);
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 Promoted, 2 Promoted", 'E'),
        "only the newest is tried: {}",
        world.story
    );
}

#[test]
fn a_breach_ends_an_attempt_that_is_not_superseded() {
    let world = a_long_rollout()
        .with("onNewRevision", json!("Wait"))
        .releasing(Quality::Good)
        .at_weight(20)
        .with_commit('C', Quality::Good)
        .with_readings(crate::metrics::PrometheusBehavior::Breach, 5)
        .after(3600);
    assert_eq!(
        (world.outcomes().as_str(), world.runs()),
        ("1 RolledBack, 2 Promoted", 'C'),
        "{}",
        world.story
    );
}
