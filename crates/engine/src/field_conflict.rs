//! Fields of ours that somebody else keeps writing: putting them back again and again is a quarrel
//! that only people can end.

use jiff::SignedDuration;
use tidegate_api::status::{DriftCorrection, RolloutStatus};

use crate::{context::DecisionContext, event::Event};

/// How far back overrulings count.
const WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// From how many on there is a quarrel.
const TIMES: usize = 3;

/// What was put back, and shows again this soon, was written once: a write of ours may have failed.
const ONE_WRITE: SignedDuration = SignedDuration::from_secs(10);

/// The most that is remembered.
const REMEMBERED: usize = 20;

/// Remembers what this turn overrules, and forgets what no longer counts.
pub(crate) fn remember(ctx: &mut DecisionContext<'_>) {
    let now = ctx.now;
    if ctx.observed.refused.is_some() {
        // What cannot be put back is seen again and again.
        return;
    }
    let news: Vec<_> = ctx
        .events
        .iter()
        .filter_map(|note| overruling(note, now))
        .collect();
    // Between quarrels, forgetting is not worth a write.
    if news.is_empty() && ctx.status.overruled.len() < TIMES {
        return;
    }
    let past = &mut ctx.status.overruled;
    past.retain(|past| now.duration_since(past.at) < WITHIN);
    for new in news {
        let same = |past: &DriftCorrection| past.what == new.what && past.manager == new.manager;
        if !past
            .iter()
            .any(|past| same(past) && now.duration_since(past.at) < ONE_WRITE)
        {
            past.push(new);
        }
    }
    past.drain(..past.len().saturating_sub(REMEMBERED));
    let ends = past
        .first()
        .and_then(|oldest| oldest.at.checked_add(WITHIN).ok());
    if let Some(ends) = ends.filter(|_| ctx.status.overruled.len() >= TIMES) {
        ctx.requeue_at(ends);
    }
}

/// Who quarrels about what, in a sentence.
pub(crate) fn conflict(status: &RolloutStatus) -> Option<String> {
    let times = |this: &DriftCorrection| {
        status
            .overruled
            .iter()
            .filter(|past| past.what == this.what && past.manager == this.manager)
            .count()
    };
    let (this, times) = status
        .overruled
        .iter()
        .map(|this| (this, times(this)))
        .find(|(_, times)| *times >= TIMES)?;
    Some(format!(
        "{} was changed by {} {times} times in five minutes and put back each time: have whoever runs it leave that alone",
        this.what,
        this.manager
            .as_deref()
            .unwrap_or("an unknown field manager")
    ))
}

fn overruling(note: &Event, at: jiff::Timestamp) -> Option<DriftCorrection> {
    let Event::DriftCorrected { what, manager } = note else {
        return None;
    };
    Some(DriftCorrection {
        what: what.clone(),
        manager: manager.clone(),
        at,
    })
}
