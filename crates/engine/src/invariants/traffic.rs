//! Who may get traffic, and how much.

use tidegate_api::{
    record::Outcome,
    status::{Attempt, Stage},
};

use super::{Author, Moment, Snapshot, ensure};
use crate::{pin::Pin, weight::Weight};

pub(super) fn weights_sum_to_100(moment: Moment<'_>) -> Result<(), String> {
    moment.now.routes.iter().try_for_each(|route| {
        let sum = route.stable.hundredths() + route.canary.hundredths();
        ensure(sum == Weight::FULL.hundredths(), || {
            format!(
                "the route {} has {} for stable and {} for the canary",
                route.name, route.stable, route.canary
            )
        })
    })
}

pub(super) fn no_weight_without_a_ready_canary(moment: Moment<'_>) -> Result<(), String> {
    let Some(last) = moment.last().filter(|_| moment.now.by == Author::Effect) else {
        return Ok(());
    };
    let rises = |name: &str, share| last.route(name).is_some_and(|before| share > before.canary);
    let raised = moment
        .now
        .routes
        .iter()
        .find(|route| rises(&route.name, route.canary));
    // What nobody could know yet is not held against it.
    let known = moment
        .before
        .iter()
        .rev()
        .take_while(|past| is_recent(past, moment.now))
        .all(|past| past.canary_ready == 0);
    raised.map_or(Ok(()), |route| {
        ensure(moment.now.canary_ready > 0 || !known, || {
            format!(
                "the canary got {} in the route {} and has no ready endpoint",
                route.canary, route.name
            )
        })
    })
}

pub(super) fn an_unready_canary_gets_nothing(moment: Moment<'_>) -> Result<(), String> {
    let stepping = moment
        .now
        .attempt()
        .is_some_and(|attempt| attempt.stage == Stage::Stepping);
    let looked = moment.now.by == Author::Decision && stepping && moment.now.canary_ready == 0;
    ensure(!looked || moment.now.canary_share() == Weight::ZERO, || {
        format!(
            "the canary has no ready endpoint and kept {}",
            moment.now.canary_share()
        )
    })
}

pub(super) fn the_canary_is_pinned_out(moment: Moment<'_>) -> Result<(), String> {
    let open = moment
        .now
        .services
        .iter()
        .find(|service| service.pin.is_none());
    let reached = open.filter(|_| moment.now.canary && moment.now.by.is_tidegate());
    reached.map_or(Ok(()), |service| {
        Err(format!(
            "the Service {} has no pin while the canary is there",
            service.name
        ))
    })?;
    let verified = moment
        .now
        .attempt()
        .is_some_and(|attempt| attempt.stable_template_updated || attempt.stage.is_past_steps());
    let unverified = moment.now.services.iter().find(|service| {
        service.pin == Some(Pin::Canary) && !verified && moment.now.by.is_tidegate()
    });
    unverified.map_or(Ok(()), |service| {
        Err(format!(
            "the Service {} is pinned to a canary that has not passed its steps",
            service.name
        ))
    })
}

/// What somebody else took from the canary it may get back, as long as stable cannot serve.
pub(super) fn a_failed_attempt_gets_no_more_traffic(moment: Moment<'_>) -> Result<(), String> {
    if moment.now.by != Author::Effect || !moment.now.attempt().is_some_and(failed) {
        return Ok(());
    }
    let more = moment.now.routes.iter().find(|route| {
        let gifts: Vec<_> = moment.gifts(&route.name).collect();
        matches!(gifts[..], [.., (_, before), (at, now)] if std::ptr::eq(at, moment.now) && now > before)
    });
    more.map_or(Ok(()), |route| {
        Err(format!(
            "the canary of a failed attempt got {} in the route {}",
            route.canary, route.name
        ))
    })
}

pub(super) fn a_failed_attempt_ends_on_stable(moment: Moment<'_>) -> Result<(), String> {
    if moment.now.by != Author::Decision {
        return Ok(());
    }
    let over = match moment.now.attempt() {
        Some(attempt) => failed(attempt) && attempt.stage.is_cleaning_up(),
        None => true,
    };
    ensure(!over || moment.now.canary_share() == Weight::ZERO, || {
        format!(
            "the attempt is over and the canary has {}",
            moment.now.canary_share()
        )
    })
}

/// What Tidegate or a controller does never turns traffic that is served into traffic that is not.
pub(super) fn traffic_is_never_sent_to_nobody(moment: Moment<'_>) -> Result<(), String> {
    let (now, Some(last)) = (moment.now, moment.last()) else {
        return Ok(());
    };
    if !(now.by.is_tidegate() || now.by == Author::Controllers)
        || now.is_served()
        || !last.is_served()
    {
        return Ok(());
    }
    // Pods that stopped being ready a moment ago could not be known to be gone, and a workload that
    // was switched off is served by nobody.
    let excused = |past: &Snapshot| past.by == Author::Misfortune || past.is_switched_off();
    let mut recent = moment
        .before
        .iter()
        .rev()
        .take_while(|past| is_recent(past, now));
    ensure(excused(now) || recent.any(excused), || {
        format!(
            "{} took the traffic from ready endpoints: stable has {} and the canary {}, and the canary's share is {}",
            now.what,
            now.stable_ready,
            now.canary_ready,
            now.canary_share()
        )
    })
}

pub(super) fn stable_is_replaced_when_the_canary_carries_all(
    moment: Moment<'_>,
) -> Result<(), String> {
    let (now, Some(last)) = (moment.now, moment.last()) else {
        return Ok(());
    };
    let changed = now.by == Author::Effect
        && now
            .workload
            .as_ref()
            .zip(last.workload.as_ref())
            .is_some_and(|(now, last)| now.template != last.template);
    let let_in = now
        .attempt()
        .is_some_and(|attempt| attempt.stage == Stage::UpdatingStable && attempt.ending.is_none());
    let before = now.routes.iter().find(|route| route.canary < Weight::FULL);
    before
        .filter(|_| changed && let_in)
        .map_or(Ok(()), |route| {
            Err(format!(
                "the template was let in while the route {} gave the canary {}",
                route.name, route.canary
            ))
        })
}

/// Whether the attempt ends, and not by promotion.
fn failed(attempt: &Attempt) -> bool {
    attempt
        .ending
        .as_ref()
        .is_some_and(|ending| ending.outcome != Outcome::Promoted)
}

/// Whether it is so short ago that caches may not have it.
fn is_recent(past: &Snapshot, now: &Snapshot) -> bool {
    now.at.duration_since(past.at) <= jiff::SignedDuration::from_secs(2)
}
