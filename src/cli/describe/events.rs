//! Events of a Rollout, oldest first.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use ratatui::{style::Stylize as _, text::Line};

use crate::cli::age;

/// Number of events that are shown: the last ones.
const SHOWN: usize = 20;

/// Returns a line for each of the last events.
pub(super) fn lines(events: &[Event], now: Timestamp) -> Vec<Line<'static>> {
    let mut events: Vec<_> = events.iter().map(|event| (time(event), event)).collect();
    events.sort_by_key(|(time, _)| *time);
    let first = events.len().saturating_sub(SHOWN);
    events[first..]
        .iter()
        .map(|(time, event)| line(*time, event, now))
        .collect()
}

fn line(time: Option<Timestamp>, event: &Event, now: Timestamp) -> Line<'static> {
    let age = time.map_or_else(|| "-".to_owned(), |time| age::since(time, now));
    let reason = event.reason.as_deref().unwrap_or_default();
    let message = event.message.as_deref().unwrap_or_default();
    let line = Line::from(format!("  {age:<7} {reason:<20} {message}"));
    if event.type_.as_deref() == Some("Warning") {
        line.yellow()
    } else {
        line
    }
}

/// Returns the time of the last occurrence, whichever API wrote the event.
fn time(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref());
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let series = series.map(|time| time.0);
    let event_time = event.event_time.as_ref().map(|time| time.0);
    series.or(last).or(event_time)
}
