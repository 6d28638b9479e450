//! The live screen's text.

use jiff::Timestamp;
use ratatui::{
    style::Stylize as _,
    text::{Line, Text},
};
use tidegate_api::Rollout;

use super::changes::Lost;
use crate::cli::story::{self, attempt, next, observed, part};

/// Returns the whole text; a lost connection comes first.
pub(super) fn text(
    rollout: Option<&Rollout>,
    lost: Option<&Lost>,
    now: Timestamp,
) -> Text<'static> {
    let mut lines: Vec<_> = lost
        .map(|lost| Line::from(lost.to_string()).red().bold())
        .into_iter()
        .collect();
    lines.extend(rollout.into_iter().flat_map(|rollout| of(rollout, now)));
    lines.extend([Line::default(), Line::from("press q to quit").dim()]);
    Text::from(lines)
}

fn of(rollout: &Rollout, now: Timestamp) -> Vec<Line<'static>> {
    let status = rollout.status.clone().unwrap_or_default();
    let mut lines = story::head(rollout, &status, now);
    if let Some(running) = &status.attempt {
        lines.push(attempt::bar(running.weight));
    }
    part(&mut lines, "Next", next::lines(rollout, now));
    if let Some(running) = &status.attempt {
        part(&mut lines, "Steps", attempt::steps(running, now));
        let gates = attempt::gates(&running.plan, &running.gates, now);
        part(&mut lines, "Gates", gates);
    }
    observed::parts(&mut lines, &status, now);
    part(&mut lines, "Conditions", story::conditions(&status, now));
    let last = status.last_outcome.iter();
    let last = last.map(|last| story::outcome(last, now));
    part(&mut lines, "Last outcome", last.collect());
    lines.extend(story::pending(&status));
    lines
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::cli::story::tests::at_step_two;

    #[test]
    fn the_screen_shows_the_progress() {
        let now = "2026-11-25T10:04:12Z".parse().unwrap();
        insta::assert_snapshot!(text(Some(&at_step_two()), None, now).to_string(), @r"
        shop/checkout   Progressing   step 2/4   weight 10%   revision 4f1c2d   for 4m12s
        2m of step 2 left
        canary ████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 10%

        Next
        Promotion in 22m at the earliest (10:26:12 UTC), if every gate passes and step 4 is approved.
        Nobody has to act.

        Steps
          ✓  1      1%     1m   entered 4m2s ago, passed after 61s
          ▶  2     10%     5m   entered 3m1s ago, 2m of hold left
             3     50%    10m
             4             0s   needs approval

        Gates
          errors               Pass      0.002 (max 0.01), 12 readings, 12s ago
          slow                 Pending   max 0.8, 3 bad readings allowed in 5m, 0 readings

        Conditions
          Ready            False    Progressing   4m12s   attempt 4 runs

        Last outcome
          attempt 3 RolledBack 2h4m ago (GateBreached): errors was 0.2, above 0.01

        press q to quit
        ");
    }

    #[test]
    fn a_rollout_without_a_status_can_be_shown() {
        let mut rollout = at_step_two();
        rollout.status = None;
        let now = "2026-11-25T10:04:12Z".parse().unwrap();
        assert!(
            text(Some(&rollout), None, now)
                .to_string()
                .contains("Waiting")
        );
    }
}
