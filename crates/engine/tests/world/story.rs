//! Event log: one line per event, decision and effect.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use tidegate_engine::{decision::Decision, waiting::WaitingOn};

/// A readable log of a world.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    start: Timestamp,
    lines: Vec<String>,
    /// False where nobody will read it.
    pub(crate) is_told: bool,
    /// True where it tells all that was decided, and every status in full.
    pub(crate) is_detailed: bool,
}

impl Story {
    pub(crate) fn new(start: Timestamp) -> Self {
        Self {
            start,
            lines: Vec::new(),
            is_told: true,
            is_detailed: false,
        }
    }

    /// Tells all of a decision that no effect shows.
    pub(crate) fn detail(&mut self, now: Timestamp, decision: &Decision) {
        if !self.is_detailed {
            return;
        }
        let waits = decision.waiting.as_ref().map(WaitingOn::label);
        let again = decision.requeue_at;
        let sampling = decision.sampling;
        self.tell(
            now,
            "decision",
            format_args!("waits for {waits:?}, looks again at {again:?}, samples {sampling:?}"),
        );
        if decision.persist {
            let status = serde_json::to_string(&decision.status).unwrap();
            self.tell(now, "decision", status);
        }
    }

    /// Tells one line.
    pub(crate) fn tell(&mut self, now: Timestamp, who: &str, what: impl fmt::Display) {
        if !self.is_told {
            return;
        }
        let since = now.duration_since(self.start).as_millis();
        let (minutes, seconds, millis) = (since / 60_000, since / 1_000 % 60, since % 1_000);
        self.lines.push(format!(
            "{minutes:>4}:{seconds:02}.{millis:03}  {who:<9} {what}"
        ));
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| {
            f.write_str(line)?;
            f.write_char('\n')
        })
    }
}
