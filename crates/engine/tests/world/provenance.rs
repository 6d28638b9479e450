//! Records and restores of what another tool applies, from a repository that is only read.

use jiff::SignedDuration;
use tidegate_api::{CommitId, record::Record, status::Source};

use crate::{
    deployment::Quality,
    rollout::{Draft, a_rollout},
    world::{Reader, World},
};

/// Longer than an attempt waits for its commit.
const LONG: SignedDuration = SignedDuration::from_secs(60);

fn read(reader: Reader) -> Draft {
    a_rollout().applied_by_people().read_by(reader)
}

/// Sources in the records of an attempt: of its start, and of its outcome.
fn recorded(world: &World, attempt: u32) -> Vec<Source> {
    let of_attempt = world.git.facts.values().filter_map(|record| {
        let head = record.head();
        let is_outcome = matches!(record, Record::Outcome(_));
        (head.attempt == attempt).then(|| (is_outcome, head.source.clone()))
    });
    let mut sources: Vec<_> = of_attempt.collect();
    sources.sort_by_key(|(is_outcome, _)| *is_outcome);
    sources.into_iter().map(|(_, source)| source).collect()
}

fn commits(sources: &[Source]) -> Vec<Option<&str>> {
    let commits = sources.iter().map(|source| source.commit.as_ref());
    commits.map(|commit| commit.map(CommitId::as_str)).collect()
}

#[test]
fn records_name_the_commit_of_what_another_tool_applied() {
    let world = read(Reader::Answers).releasing(Quality::Good).until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    let sources = recorded(&world, 1);
    assert_eq!(commits(&sources), [Some("commit-2"), Some("commit-2")]);
    let stable = world.status().stable.unwrap();
    assert_eq!(stable.source.commit.unwrap().as_str(), "commit-2");
}

#[test]
fn a_rollback_restores_the_commit_of_what_was_adopted() {
    let world = read(Reader::Answers)
        .releasing(Quality::Erroring)
        .until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    let order = world.git.orders.first().expect("an order to restore");
    assert_eq!(order.good_commit.as_str(), "commit-1");
    assert_eq!(order.written_as.as_ref().unwrap().as_str(), "written-B");
    assert_eq!((world.running().as_str(), world.runs()), ("A", 'A'));
}

#[test]
fn an_attempt_waits_for_its_commit_and_not_for_long() {
    let mut world = read(Reader::Silent).releasing(Quality::Good);
    let looks = |world: &World| {
        let message = world.status().message;
        message.contains("looking for the commit") && message.contains("ConfigRepo shop")
    };
    assert!(world.run_until(SignedDuration::from_secs(5), looks));
    let goes_on = |world: &World| !looks(world);
    assert!(!world.run_until(SignedDuration::from_secs(14), goes_on));
    assert!(world.run_until(SignedDuration::from_secs(16), goes_on));
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    assert_eq!(commits(&recorded(&world, 1)), [None, None]);
}

#[test]
fn a_commit_that_is_found_in_the_attempt_is_recorded_with_its_outcome() {
    let mut world = read(Reader::Silent).releasing(Quality::Erroring);
    assert!(world.run_until(LONG, |world| world.status().attempt.is_some()));
    world.find_commits();
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    assert_eq!(commits(&recorded(&world, 1)), [None, Some("commit-2")]);
    assert_eq!(world.git.orders.len(), 1, "{}", world.story);
}

#[test]
fn a_commit_that_is_found_after_the_rejection_asks_for_nothing_again() {
    let mut world = read(Reader::Silent)
        .releasing(Quality::Erroring)
        .until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    assert_eq!(world.runs(), 'B', "no commit was known to restore");
    world.find_commits();
    world.run_for(LONG);
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    assert!(world.status().attempt.is_none());
    let world = world.with_commit('C', Quality::Good).until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack, 2 Promoted");
}
