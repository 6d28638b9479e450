//! A line for each change, for logs and pipes.

use std::{io::Write, iter};

use futures::Stream;
use jiff::Timestamp;
use tidegate_api::status::RolloutStatus;

use super::changes::{Change, Ended, Lost, next};
use crate::{
    cli::{age, story::position},
    clock,
};

/// Writes changes until the watch ends. The loss of the connection, and its return, go to `err`.
pub(super) async fn follow(
    changes: &mut (impl Stream<Item = Result<Change, Ended>> + Unpin),
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<()> {
    let began = clock::now();
    let mut before = RolloutStatus::default();
    let mut is_lost = false;
    loop {
        match next(changes).await? {
            Change::Lost(_) if is_lost => {}
            Change::Lost(why) => {
                writeln!(err, "{}", Lost::on(None, why, clock::now()))?;
                is_lost = true;
            }
            Change::Now(rollout) => {
                if std::mem::take(&mut is_lost) {
                    writeln!(err, "connection restored")?;
                }
                let status = rollout.status.unwrap_or_default();
                write_lines(out, &lines(&before, &status), began, clock::now())?;
                before = status;
            }
        }
    }
}

fn write_lines(
    out: &mut impl Write,
    lines: &[String],
    began: Timestamp,
    now: Timestamp,
) -> std::io::Result<()> {
    for line in lines {
        writeln!(out, "+{:<7} {line}", age::since(began, now))?;
    }
    out.flush()
}

/// Returns a line for each difference of `after` from `before`.
fn lines(before: &RolloutStatus, after: &RolloutStatus) -> Vec<String> {
    let mut lines = Vec::new();
    let (old, new) = (place(before), place(after));
    if old != new {
        lines.push(new);
    }
    lines.extend(gates(before, after));
    for condition in &after.conditions {
        let same = before.conditions.iter().any(|old| {
            old.type_ == condition.type_
                && old.status == condition.status
                && old.reason == condition.reason
        });
        if !same {
            lines.push(format!(
                "condition {} is {:?}: {} {}",
                condition.type_, condition.status, condition.reason, condition.message
            ));
        }
    }
    if let Some(last) = after.last_outcome.as_ref()
        && before.last_outcome.as_ref() != Some(last)
    {
        lines.push(format!(
            "attempt {} ended {:?} ({:?}): {}",
            last.attempt, last.ending.outcome, last.ending.reason, last.ending.message
        ));
    }
    lines
}

/// Describes the position of a Rollout, without the parts that change by the second.
fn place(status: &RolloutStatus) -> String {
    let message = Some(status.message.clone()).filter(|message| !message.is_empty());
    let parts = iter::once(format!("{:?}", status.phase))
        .chain(position(status))
        .chain(message);
    parts.collect::<Vec<_>>().join("  ")
}

/// Returns a line for each gate with a new verdict.
fn gates(before: &RolloutStatus, after: &RolloutStatus) -> Vec<String> {
    let mut lines = Vec::new();
    for gate in after.attempt.iter().flat_map(|attempt| &attempt.gates) {
        let old = before
            .attempt
            .iter()
            .flat_map(|attempt| &attempt.gates)
            .find(|old| old.name == gate.name)
            .map(|old| old.verdict);
        if old.unwrap_or_default() != gate.verdict {
            let line = format!("gate {}: {:?} {}", gate.name, gate.verdict, gate.message);
            lines.push(line.trim_end().to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::cli::story::tests::at_step_two;

    #[test]
    fn only_what_changed_is_written() {
        let before = at_step_two().status.unwrap();
        let mut after = before.clone();
        assert!(lines(&before, &after).is_empty());

        after.weight = Some("50%".to_owned());
        let attempt = after.attempt.as_mut().unwrap();
        attempt.gates[0].message = "0.5 (max 0.01)".to_owned();
        attempt.gates[0].verdict = tidegate_api::gate::Verdict::Breach;
        insta::assert_snapshot!(lines(&before, &after).join("\n"), @r"
        Progressing  step 2/4  weight 50%  revision 4f1c2d  2m of step 2 left
        gate errors: Breach 0.5 (max 0.01)
        ");
    }

    #[test]
    fn what_stands_there_at_first_is_written_once() {
        let status = at_step_two().status.unwrap();
        let lines = lines(&RolloutStatus::default(), &status);
        insta::assert_snapshot!(lines.join("\n"), @r"
        Progressing  step 2/4  weight 10%  revision 4f1c2d  2m of step 2 left
        gate errors: Pass 0.002 (max 0.01)
        condition Ready is False: Progressing attempt 4 runs
        attempt 3 ended RolledBack (GateBreached): errors was 0.2, above 0.01
        ");
    }

    #[test]
    fn a_line_begins_with_the_time_since_the_watch_began() {
        let began: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
        let now = "2026-11-25T10:03:05Z".parse().unwrap();
        let mut out = Vec::new();
        write_lines(&mut out, &["Stable".to_owned()], began, now).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "+3m5s    Stable\n");
    }

    fn lost() -> Change {
        Change::Lost("refused".to_owned())
    }

    fn now() -> Change {
        Change::Now(Box::new(at_step_two()))
    }

    #[tokio::test]
    async fn a_lost_connection_is_one_line_for_those_who_wait() {
        let seen = [now(), lost(), lost(), now(), lost()].into_iter().map(Ok);
        let mut changes = futures::stream::iter(seen.chain([Err(Ended::Gone)]));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ended = follow(&mut changes, &mut out, &mut err).await.unwrap_err();
        assert_eq!(ended.to_string(), "the Rollout was deleted");
        let err = String::from_utf8(err).unwrap();
        let err: Vec<_> = err
            .lines()
            .map(|line| line.split(" since ").next().unwrap())
            .collect();
        assert_eq!(
            err,
            ["connection lost", "connection restored", "connection lost"]
        );
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 4);
    }
}
