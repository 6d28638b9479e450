//! Fields of ours that somebody else keeps writing: putting them back again and again is a quarrel
//! that only people can end.

use jiff::SignedDuration;
use tidegate_api::status::{Overruling, RolloutStatus};

use crate::{note::Note, turn::Turn};

/// How far back overrulings count.
const WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// From how many on there is a quarrel.
const TIMES: usize = 3;

/// What was put back, and shows again this soon, was written once: a write of ours may have failed.
const ONE_WRITE: SignedDuration = SignedDuration::from_secs(10);

/// The most that is remembered.
const REMEMBERED: usize = 20;

/// Remembers what this turn overrules, and forgets what no longer counts.
pub(crate) fn remember(turn: &mut Turn<'_>) {
    let now = turn.now;
    if turn.seen.refused.is_some() {
        // What cannot be put back is seen again and again.
        return;
    }
    let news: Vec<_> = turn
        .notes
        .iter()
        .filter_map(|note| overruling(note, now))
        .collect();
    // Between quarrels, forgetting is not worth a write.
    if news.is_empty() && turn.status.overruled.len() < TIMES {
        return;
    }
    let past = &mut turn.status.overruled;
    past.retain(|past| now.duration_since(past.at) < WITHIN);
    for new in news {
        let same = |past: &Overruling| past.what == new.what && past.manager == new.manager;
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
    if let Some(ends) = ends.filter(|_| turn.status.overruled.len() >= TIMES) {
        turn.wake(ends);
    }
}

/// Who quarrels about what, in a sentence.
pub(crate) fn quarrel(status: &RolloutStatus) -> Option<String> {
    let times = |this: &Overruling| {
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

fn overruling(note: &Note, at: jiff::Timestamp) -> Option<Overruling> {
    let Note::Overruled { what, manager } = note else {
        return None;
    };
    Some(Overruling {
        what: what.clone(),
        manager: manager.clone(),
        at,
    })
}
