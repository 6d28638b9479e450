//! Provenance: the commit that asked for what another tool has applied.
//!
//! A repository that Tidegate does not apply is read beside the reconciles. What is found there comes later than the
//! template, and may come after the attempt has begun.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::status::Source;

use crate::{
    context::DecisionContext,
    observed::{Candidate, Provenance},
    waiting::WaitingOn,
};

/// Wait of an attempt for the commit of its revision: long enough for a look at a git server, and nothing that a
/// release should suffer from where that is down. What is found later is still recorded with the outcome.
const SOUGHT_FOR: SignedDuration = SignedDuration::from_secs(15);

/// Notes commits that were found since, for the running attempt and for stable.
pub(crate) fn follow(ctx: &mut DecisionContext<'_>) {
    let observed = ctx.observed;
    if let (Some(attempt), Some(candidate)) = (&mut ctx.status.attempt, &observed.candidate)
        && attempt.sequence == candidate.sequence
        && attempt.revision == candidate.revision
    {
        learn(&mut attempt.source, &candidate.source);
    }
    if let (Some(stable), Some(source)) = (&mut ctx.status.stable, &observed.stable_source) {
        learn(&mut stable.source, source);
    }
}

/// Returns the wait for the commit of a candidate, with its end, while it is looked for.
pub(crate) fn sought(
    ctx: &DecisionContext<'_>,
    candidate: &Candidate,
) -> Option<(WaitingOn, Timestamp)> {
    let Provenance::Sought { config_repos } = &candidate.provenance else {
        return None;
    };
    let wanted = ctx.status.wanted.as_ref();
    let same = wanted.filter(|wanted| wanted.revision == candidate.revision);
    let since = same.map_or(ctx.now, |wanted| wanted.since);
    let until = since.saturating_add(SOUGHT_FOR).unwrap_or(since);
    let on = WaitingOn::Commit {
        revision: candidate.revision.clone(),
        config_repos: config_repos.clone(),
    };
    if ctx.now < until {
        Some((on, until))
    } else {
        None
    }
}

fn learn(known: &mut Source, found: &Source) {
    if known.commit.is_none() && found.commit.is_some() {
        known.clone_from(found);
    }
}
