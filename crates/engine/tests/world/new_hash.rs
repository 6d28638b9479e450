//! Stable's template as another version: the workload's controller has made it again.

use tidegate_api::{intervention::Action as Ask, status::Stage, workload::VersionId};
use tidegate_engine::{
    decide::decide,
    decision::{Action, Decision},
    observed::{Comparison, Observed},
};

use crate::{deployment::Quality, rollout::a_rollout, world::World};

/// Returns the decision when the version of the workload's template is `new`.
fn decided(world: &World, stable: Comparison) -> Decision {
    let mut seen = world.observed().unwrap();
    let workload = seen.workload.as_mut().unwrap();
    let live = workload.template;
    workload.versions.retain(|version| version.template == live);
    workload
        .versions
        .iter_mut()
        .for_each(|version| version.id = VersionId::new("new"));
    let seen = Observed { stable, ..seen };
    decide(&seen, world.now)
}

fn writes_the_template(decision: &Decision) -> bool {
    decision
        .actions
        .iter()
        .any(|action| matches!(action, Action::WriteTemplate(_)))
}

fn stable_version(decision: &Decision) -> &str {
    let stable = decision.status.stable.as_ref().unwrap();
    stable.pod_template_hash.as_str()
}

#[test]
fn it_is_asked_whether_the_workload_still_has_stables_template() {
    let world = a_rollout().at_rest();
    let asked = decided(&world, Comparison::Unknown);
    assert!(
        asked.actions.contains(&Action::DryRunStable) && !writes_the_template(&asked),
        "{:?}",
        asked.actions
    );
    let known = decided(&world, Comparison::Same);
    assert_eq!(
        (stable_version(&known), known.persist, known.events.len()),
        ("new", true, 0)
    );
    let differs = decided(&world, Comparison::Different);
    assert!(
        stable_version(&differs) == "hashA" && writes_the_template(&differs),
        "{:?}",
        differs.actions
    );
}

#[test]
fn a_rollback_ends_at_the_version_that_has_stables_template() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::UpdatingStable)
        .with_ask(Ask::Abort);
    let world = world.when("the old template is back", |world| {
        world
            .live
            .workload
            .as_ref()
            .is_some_and(|workload| workload.template.letter == 'A')
            && world.shell.cache.workload.as_ref().is_some_and(|workload| {
                let back = workload.sets.iter().find(|set| set.template.letter == 'A');
                workload.template.letter == 'A'
                    && back.is_some_and(|back| back.ready(world.now) == 3)
            })
    });
    assert!(
        decided(&world, Comparison::Unknown)
            .actions
            .contains(&Action::DryRunStable)
    );
    let known = decided(&world, Comparison::Same);
    let pinned = |action: &Action| format!("{action:?}").contains("pin: Some(Version(new))");
    assert!(
        stable_version(&known) == "new" && known.actions.iter().any(pinned),
        "{:?}",
        known.actions
    );
}
