//! Recipients of traffic, and their shares.

use tidegate_api::{rollout::FailoverPolicy, status::Stage};

use super::{
    ALLOWANCE, Author, Moment, RECENT, ServiceSeen, Snapshot, ensure,
    exits::{is_to_end, is_to_make_room},
    ownership::inherits_leftovers,
    working::is_without_service,
};
use crate::{context::plan_of, pin::Pin, stage::FAILOVER_AFTER, weight::Weight};

pub(super) fn weights_sum_to_100(moment: Moment<'_>) -> Result<(), String> {
    for route in &moment.now.routes {
        let sum = route.stable.hundredths() + route.canary.hundredths();
        ensure(sum == Weight::FULL.hundredths(), || {
            format!(
                "the route {} has {} for stable and {} for the canary",
                route.name, route.stable, route.canary
            )
        })?;
    }
    Ok(())
}

pub(super) fn no_weight_without_a_ready_canary(moment: Moment<'_>) -> Result<(), String> {
    let (now, Some(last)) = (moment.now, moment.last()) else {
        return Ok(());
    };
    if now.by != Author::Effect || now.canary_ready > 0 {
        return Ok(());
    }
    // Endpoints that were ready a moment ago could not be known to be gone.
    let mut recent = moment.recent();
    if recent.any(|past| past.canary_ready > 0) {
        return Ok(());
    }
    for route in &now.routes {
        let before = last.route(&route.name);
        let raised = before.is_some_and(|before| route.canary > before.canary);
        ensure(!raised, || {
            format!(
                "the canary got {} in the route {} and has no ready endpoint",
                route.canary, route.name
            )
        })?;
    }
    Ok(())
}

/// Weights are not raised while stable has lost pods since the attempt started.
pub(super) fn no_raise_on_a_stable_that_lost_pods(moment: Moment<'_>) -> Result<(), String> {
    let now = moment.now;
    let Some(attempt) = now
        .attempt()
        .filter(|attempt| attempt.stage == Stage::Stepping && attempt.shortcut.is_none())
        .filter(|attempt| attempt.failover().is_none())
    else {
        return Ok(());
    };
    let wanted = now
        .workload
        .as_ref()
        .map_or(0, |workload| workload.replicas);
    let needed = attempt
        .stable_ready_replicas
        .map_or(0, |before| before.min(wanted));
    // Pods that were ready a moment ago could not be known to be lost, and one that is ready now is an endpoint soon.
    let mut recent = moment.recent();
    if now.by != Author::Effect
        || now.stable_ready.max(now.ready_of_stable()) >= needed
        || recent.any(|past| past.stable_ready >= needed)
    {
        return Ok(());
    }
    for route in &now.routes {
        let writes: Vec<_> = moment.canary_weight_writes(&route.name).collect();
        let Some(((at, after), earlier)) = writes.split_last() else {
            continue;
        };
        let before = earlier
            .last()
            .map(|(_, weight)| *weight)
            .unwrap_or_default();
        // Less than it had is no raise, whoever had given it that.
        let last = moment.last().and_then(|last| last.route(&route.name));
        let had_less = last.is_none_or(|last| last.canary < *after);
        let raised = std::ptr::eq(*at, now) && *after > before && had_less;
        ensure(!raised, || {
            format!(
                "the canary got {after} while stable had {} of {needed} ready pods",
                now.stable_ready
            )
        })?;
    }
    Ok(())
}

/// Where stable has no ready endpoint for long enough, a canary that has, has not breached and is
/// approved gets all traffic.
pub(super) fn traffic_goes_to_whoever_is_ready(moment: Moment<'_>) -> Result<(), String> {
    let now = moment.now;
    let open = moment
        .before
        .iter()
        .rev()
        .take_while(|past| is_left_to_a_dead_stable(past))
        .last();
    let Some(open) = open.filter(|_| is_left_to_a_dead_stable(now)) else {
        return Ok(());
    };
    let lasted = now.at.duration_since(open.at);
    ensure(lasted <= FAILOVER_AFTER + ALLOWANCE, || {
        format!(
            "stable had no ready endpoint for {lasted:?}, and the canary, which has {}, got {}",
            now.canary_ready,
            now.canary_share()
        )
    })
}

/// Returns true if a share of the traffic is sent to nobody though the canary could stand in.
fn is_left_to_a_dead_stable(snapshot: &Snapshot) -> bool {
    if is_without_service(snapshot) {
        return false;
    }
    let wants_pods = snapshot
        .workload
        .as_ref()
        .is_some_and(|workload| workload.replicas > 0);
    let is_left = wants_pods
        && snapshot.leading
        && snapshot.stable_ready == 0
        && snapshot.canary_ready > 0
        && snapshot.canary_share() < Weight::FULL;
    if !is_left {
        return false;
    }
    let Some((attempt, plan)) = snapshot
        .attempt()
        .filter(|attempt| attempt.stage == Stage::Stepping && attempt.ending.is_none())
        .and_then(|attempt| Some((attempt, plan_of("invariants", attempt)?)))
    else {
        return false;
    };
    let approved = attempt
        .steps
        .last()
        .is_some_and(|step| step.approved_by.is_some());
    let may = plan
        .step(attempt.step)
        .is_some_and(|step| step.weight > Weight::ZERO && (step.approval.is_none() || approved));
    may && attempt.shortcut.is_none() && plan.failover == FailoverPolicy::WhenStableIsDown
}

/// No caller is left to a version without a ready pod while pods of stable's, or of the revision that it is
/// brought to, are ready in the workload.
pub(super) fn callers_leave_who_is_not_ready(moment: Moment<'_>) -> Result<(), String> {
    let now = moment.now;
    let past = moment.before.iter().rev();
    let open = past.take_while(|past| is_left_to_nobody(past)).last();
    let Some(open) = open.filter(|_| is_left_to_nobody(now)) else {
        return Ok(());
    };
    let lasted = now.at.duration_since(open.at);
    ensure(lasted <= FAILOVER_AFTER + ALLOWANCE, || {
        format!(
            "for {lasted:?} callers were left to {} endpoints of the Service and {} of the canary, whose \
             share is {}, while pods of the workload were ready",
            now.stable_ready,
            now.canary_ready,
            now.canary_share()
        )
    })
}

/// Returns true if a share of the callers reaches nobody though ready pods are there that may serve.
fn is_left_to_nobody(snapshot: &Snapshot) -> bool {
    let attempt = snapshot.attempt().filter(|_| snapshot.leading);
    let Some(attempt) = attempt.filter(|_| !is_without_service(snapshot)) else {
        return false;
    };
    let promoted = attempt.promoted_pod_template_hash.as_ref();
    let promoted = promoted.and_then(|version| snapshot.version(version));
    let is_ready = snapshot.ready_of_stable() > 0 || promoted.is_some_and(|seen| seen.ready > 0);
    let is_canary_dead = snapshot.canary_share() > Weight::ZERO && snapshot.canary_ready == 0;
    is_ready && (is_canary_dead || snapshot.stable_ready == 0)
}

/// A canary that breached keeps traffic only while stable, untouched, has no ready pod.
pub(super) fn what_has_breached_serves_only_alone(moment: Moment<'_>) -> Result<(), String> {
    let now = moment.now;
    let breached = now
        .attempt()
        .is_some_and(|attempt| !attempt.stable_template_updated && attempt.is_breached());
    if !breached || now.by != Author::Decision || now.canary_share() == Weight::ZERO {
        return Ok(());
    }
    // A pod that has just become ready is not an endpoint yet.
    let ready_since = moment
        .before
        .iter()
        .rev()
        .take_while(|past| past.ready_of_stable() > 0)
        .last();
    ensure(
        now.ready_of_stable() == 0
            || ready_since.is_none_or(|since| now.at.duration_since(since.at) <= RECENT),
        || {
            format!(
                "the canary breached and kept {} while stable had {} ready pods",
                now.canary_share(),
                now.ready_of_stable()
            )
        },
    )
}

pub(super) fn an_unready_canary_gets_nothing(moment: Moment<'_>) -> Result<(), String> {
    let now = moment.now;
    let stepping = now
        .attempt()
        .is_some_and(|attempt| attempt.stage == Stage::Stepping);
    if now.by != Author::Decision || !stepping || now.canary_ready > 0 {
        return Ok(());
    }
    ensure(now.canary_share() == Weight::ZERO, || {
        format!(
            "the canary has no ready endpoint and kept {}",
            now.canary_share()
        )
    })
}

pub(super) fn the_canary_is_pinned_out(moment: Moment<'_>) -> Result<(), String> {
    let now = moment.now;
    if !now.by.is_tidegate() || now.attempt().is_none() && inherits_leftovers(moment) {
        return Ok(());
    }
    let verified = now.attempt().is_some_and(|attempt| {
        attempt.stable_template_updated
            || attempt.stage.is_past_steps()
            || !attempt.failovers.is_empty()
    });
    // One that has just come could not be known, or written.
    let was_there = |name: &str| {
        let mut recent = moment.since(ALLOWANCE);
        recent.all(|past| past.leading && past.services.iter().any(|service| service.name == name))
    };
    for service in &now.services {
        let is_known = !now.canary || was_there(&service.name);
        let is_share = is_of_its_share(moment, service);
        let is_out = !now.canary || service.pin.is_some() || !is_known;
        ensure(is_out || is_share, || {
            format!(
                "the Service {} has no pin while the canary is there",
                service.name
            )
        })?;
        let may_be_canarys = verified || is_share;
        ensure(may_be_canarys || service.pin != Some(Pin::Canary), || {
            format!(
                "the Service {} is pinned to a canary that has not passed its steps",
                service.name
            )
        })?;
    }
    Ok(())
}

/// Returns true if replicas split traffic, and the pin is none that an effect has set beside the attempt's
/// weight.
fn is_of_its_share(moment: Moment<'_>, service: &ServiceSeen) -> bool {
    let now = moment.now;
    let attempt = now.attempt();
    let Some(attempt) = attempt.filter(|attempt| attempt.plan.splits_by_replicas()) else {
        return false;
    };
    let before = moment.last().into_iter().flat_map(|last| &last.services);
    let mut before = before.filter(|before| before.name == service.name);
    let is_new = now.by == Author::Effect && !before.any(|before| before.pin == service.pin);
    let is_right = match service.pin {
        Some(Pin::Version(_)) => true,
        Some(Pin::Canary) => attempt.weight == Weight::FULL,
        None => attempt.weight > Weight::ZERO && attempt.weight < Weight::FULL,
    };
    is_right || !is_new
}

/// A share that another writer took from the canary may be given back, as long as stable cannot
/// serve.
pub(super) fn a_failed_attempt_gets_no_more_traffic(moment: Moment<'_>) -> Result<(), String> {
    let attempt = moment.now.attempt().filter(|attempt| attempt.has_failed());
    let Some(attempt) = attempt.filter(|_| moment.now.by == Author::Effect) else {
        return Ok(());
    };
    // Callers of a Service go to whichever version has enough pods, until stable has.
    if attempt.plan.splits_by_replicas() && attempt.stable_template_updated {
        return Ok(());
    }
    // By Services that are pinned to the canary it has everybody, whatever its share in a route.
    let mut services = moment.last().into_iter().flat_map(|last| &last.services);
    if services.any(|service| service.pin == Some(Pin::Canary)) {
        return Ok(());
    }
    for route in &moment.now.routes {
        let writes: Vec<_> = moment.canary_weight_writes(&route.name).collect();
        let [.., (_, before), (at, after)] = writes[..] else {
            continue;
        };
        let raised = std::ptr::eq(at, moment.now) && after > before;
        ensure(!raised, || {
            format!(
                "the canary of a failed attempt got {} in the route {}",
                route.canary, route.name
            )
        })?;
    }
    Ok(())
}

pub(super) fn a_failed_attempt_ends_on_stable(moment: Moment<'_>) -> Result<(), String> {
    if moment.now.by != Author::Decision {
        return Ok(());
    }
    let over = match moment.now.attempt() {
        Some(attempt) => attempt.has_failed() && attempt.stage.is_cleaning_up(),
        None => !inherits_leftovers(moment),
    };
    ensure(!over || moment.now.canary_share() == Weight::ZERO, || {
        format!(
            "the attempt is over and the canary has {}",
            moment.now.canary_share()
        )
    })
}

/// Traffic that is served stays served, whatever Tidegate or a controller does.
pub(super) fn traffic_is_never_sent_to_nobody(moment: Moment<'_>) -> Result<(), String> {
    let (now, Some(last)) = (moment.now, moment.last()) else {
        return Ok(());
    };
    let concerned = now.by.is_tidegate() || now.by == Author::Controllers;
    if !concerned
        || now.is_served()
        || !last.is_served()
        || is_excused(now)
        || stable_is_given_up(now)
    {
        return Ok(());
    }
    // Nobody pauses a workload that somebody else has made roll while writes are denied, or has pins follow it.
    // And a deletion waits for the workload as long as for an attempt's stable, and no longer.
    let rolls = now
        .workload
        .as_ref()
        .is_some_and(|workload| !workload.paused);
    let is_bound = now.by == Author::Controllers && !now.leading;
    let deleting = now.rollout.as_ref().is_some_and(|rollout| rollout.deleting);
    let is_left = now.attempt().is_none() && inherits_leftovers(moment);
    if is_bound && (is_left || rolls) || deleting && is_left {
        return Ok(());
    }
    if was_given_by_others(moment, last.canary_share()) {
        return Ok(());
    }
    let mut recent = moment.recent();
    ensure(
        recent.any(|past| {
            is_excused(past) || stable_is_given_up(past) || is_served_by_unverified_pods(past)
        }),
        || {
            format!(
                "{} took the traffic from ready endpoints: stable has {} and the canary {}, and the canary's share is {}",
                now.what,
                now.stable_ready,
                now.canary_ready,
                now.canary_share()
            )
        },
    )
}

/// Returns true if somebody else gave the canary this share: it is taken back, whoever is ready.
fn was_given_by_others(moment: Moment<'_>, share: Weight) -> bool {
    let past = moment.before.iter().rev();
    let first = past.take_while(|past| past.canary_share() == share).last();
    first.is_some_and(|first| first.by == Author::Others && share > Weight::ZERO)
}

/// Returns true if callers reach only pods of another version that came before anything was pinned: they go
/// where stable was dead before them, though nobody else serves.
fn is_served_by_unverified_pods(snapshot: &Snapshot) -> bool {
    let stable = snapshot.status().and_then(|status| status.stable.as_ref());
    let pinned = snapshot
        .attempt()
        .is_some_and(|attempt| attempt.stage != Stage::Pinning);
    let Some(stable) = stable.filter(|_| !pinned) else {
        return false;
    };
    let mut versions = snapshot
        .workload
        .iter()
        .flat_map(|workload| &workload.versions);
    snapshot.ready_of_stable() == 0
        && versions.any(|seen| seen.id != stable.pod_template_hash && seen.ready > 0)
}

/// Returns true if pods failed right then, which could not be known, or if the workload is scaled
/// to zero, so that nothing can serve.
fn is_excused(snapshot: &Snapshot) -> bool {
    snapshot.by == Author::PodFailure || snapshot.is_scaled_to_zero()
}

/// Returns true if somebody wants a way out and stable has had its time: a newer revision, an abort or a
/// deletion ends the wait for a dead stable at the progress deadline, and a newer revision at once where
/// waiting saves nobody: the canary breached, stable was degraded when the attempt started, or routed callers
/// reach nobody already.
fn stable_is_given_up(snapshot: &Snapshot) -> bool {
    let Some(attempt) = snapshot.attempt() else {
        return false;
    };
    let saves_nobody = attempt.is_breached()
        || attempt.stable_ready_replicas.is_none()
        || snapshot.canary_share() < Weight::FULL;
    if is_to_make_room(snapshot) && saves_nobody && !attempt.stable_template_updated {
        return true;
    }
    let is_wanted = is_to_make_room(snapshot) || is_to_end(snapshot);
    // Where nothing is left for the canary any more, what follows the wait is a next stage.
    let since = match (attempt.stage, &attempt.ending) {
        (Stage::RollingBack, _) => attempt.stage_since,
        (Stage::Draining | Stage::RemovingCanary, Some(ending)) => ending.at,
        _ => return false,
    };
    is_wanted
        && plan_of("invariants", attempt)
            .is_some_and(|plan| snapshot.at.duration_since(since) >= plan.progress_deadline)
}

pub(super) fn stable_is_replaced_when_the_canary_carries_all(
    moment: Moment<'_>,
) -> Result<(), String> {
    let (now, Some(last)) = (moment.now, moment.last()) else {
        return Ok(());
    };
    let (Some(workload), Some(before)) = (&now.workload, &last.workload) else {
        return Ok(());
    };
    let updating = now
        .attempt()
        .is_some_and(|attempt| attempt.stage == Stage::UpdatingStable && attempt.ending.is_none());
    if now.by != Author::Effect || workload.template == before.template || !updating {
        return Ok(());
    }
    for route in &now.routes {
        // What another writer has just changed could not be known.
        let mut recent = moment.recent().filter_map(|past| past.route(&route.name));
        let carries_all = recent.any(|past| past.canary == Weight::FULL);
        ensure(carries_all || route.canary == Weight::FULL, || {
            format!(
                "stable's template was updated while the route {} gave the canary {}",
                route.name, route.canary
            )
        })?;
    }
    Ok(())
}
