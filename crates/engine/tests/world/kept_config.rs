//! Config that stable's pods need: kept from being pruned while the workload is held.

use std::collections::BTreeSet;

use tidegate_api::config::{ConfigKind, ConfigRef};
use tidegate_engine::{
    decide::decide,
    decision::{Action, Decision},
    observed::{Brake, Observed, WorkloadObstacle},
};

use crate::{deployment::Quality, rollout::a_rollout, world::World};

fn config_map(name: &str) -> ConfigRef {
    ConfigRef {
        kind: ConfigKind::ConfigMap,
        name: name.to_owned(),
    }
}

fn maps(names: &[&str]) -> BTreeSet<ConfigRef> {
    names.iter().map(|name| config_map(name)).collect()
}

/// A held workload at rest, whose stable template names `needed`, and whose status notes `noted`.
fn at_rest(needed: &[&str], noted: &[&str]) -> (World, Observed) {
    let world = a_rollout().applied_by_flux().at_rest();
    let mut seen = world.observed().unwrap();
    seen.config = Some(maps(needed));
    seen.status.kept_config = maps(noted).into_iter().collect();
    (world, seen)
}

fn noted(decision: &Decision) -> BTreeSet<ConfigRef> {
    decision.status.kept_config.iter().cloned().collect()
}

/// What is to be kept, and what to be let go.
fn asked(decision: &Decision) -> Option<(BTreeSet<ConfigRef>, Vec<ConfigRef>)> {
    decision.actions.iter().find_map(|action| {
        let Action::KeepConfig { keep, release, .. } = action else {
            return None;
        };
        Some((keep.clone(), release.clone()))
    })
}

#[test]
fn what_stable_needs_is_noted_and_kept_until_that_is_done() {
    let (world, mut seen) = at_rest(&["web-1"], &[]);
    let decision = decide(&seen, world.now);
    assert_eq!(noted(&decision), maps(&["web-1"]));
    assert_eq!(asked(&decision), Some((maps(&["web-1"]), Vec::new())));
    seen.status = decision.status;
    seen.kept_config = Some(maps(&["web-1"]));
    assert_eq!(asked(&decide(&seen, world.now)), None);
}

#[test]
fn what_it_needs_no_longer_stays_noted_until_it_is_let_go() {
    let (world, mut seen) = at_rest(&["web-2"], &["web-1"]);
    let decision = decide(&seen, world.now);
    assert_eq!(noted(&decision), maps(&["web-1", "web-2"]));
    let release = vec![config_map("web-1")];
    assert_eq!(asked(&decision), Some((maps(&["web-2"]), release)));
    seen.status = decision.status;
    seen.kept_config = Some(maps(&["web-2"]));
    assert_eq!(noted(&decide(&seen, world.now)), maps(&["web-2"]));
}

#[test]
fn what_another_rollout_needs_is_let_go_by_whoever_needs_it_last() {
    let (world, mut seen) = at_rest(&["web-2"], &["web-1"]);
    seen.config_of_others = maps(&["web-1"]);
    let decision = decide(&seen, world.now);
    assert_eq!(
        asked(&decision),
        Some((maps(&["web-1", "web-2"]), Vec::new()))
    );
    seen.deleted_at = Some(world.now);
    assert_eq!(
        asked(&decide(&seen, world.now)),
        Some((maps(&[]), Vec::new()))
    );
}

#[test]
fn a_rollout_that_goes_lets_go_of_it_first() {
    let (world, mut seen) = at_rest(&["web-1"], &["web-1"]);
    seen.kept_config = Some(maps(&["web-1"]));
    seen.deleted_at = Some(world.now);
    let decision = decide(&seen, world.now);
    let first = decision.actions.first();
    let release = vec![config_map("web-1")];
    let expected = Action::KeepConfig {
        keep: maps(&[]),
        release,
        prune: false,
    };
    assert_eq!(first, Some(&expected));
}

#[test]
fn what_is_not_known_changes_nothing() {
    let (world, mut seen) = at_rest(&[], &["web-1"]);
    seen.config = None;
    let decision = decide(&seen, world.now);
    assert_eq!(
        (noted(&decision), asked(&decision)),
        (maps(&["web-1"]), None)
    );
    seen.brake = Brake::Unknown;
    let decision = decide(&seen, world.now);
    assert_eq!(
        (noted(&decision), asked(&decision)),
        (maps(&["web-1"]), None)
    );
}

#[test]
fn in_an_attempt_it_is_kept_too() {
    let world = a_rollout()
        .applied_by_flux()
        .releasing(Quality::Good)
        .at_weight(20);
    let mut seen = world.observed().unwrap();
    seen.config = Some(maps(&["web-1", "web-2"]));
    let decision = decide(&seen, world.now);
    assert_eq!(noted(&decision), maps(&["web-1", "web-2"]));
}

#[test]
fn one_that_cannot_be_held_any_more_lets_go_of_it_before_its_finalizer_goes() {
    let (world, mut seen) = at_rest(&["web-1"], &["web-1"]);
    let workload = seen.workload.as_mut().unwrap();
    workload.held = None;
    workload.hold_obstacle = Some(WorkloadObstacle::NoRevisionHistory);
    let decision = decide(&seen, world.now);
    assert_eq!(
        asked(&decision),
        Some((maps(&[]), vec![config_map("web-1")]))
    );
    assert!(!decision.actions.contains(&Action::RemoveFinalizer));
    seen.status = decision.status;
    seen.kept_config = Some(maps(&[]));
    let decision = decide(&seen, world.now);
    assert_eq!(noted(&decision), maps(&[]));
}
