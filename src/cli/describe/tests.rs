//! The story of a Rollout whose status has all that there can be.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::json;

use super::*;
use crate::{
    cli::story::tests::at_step_two,
    kubernetes::testing::{Answer, Script},
};

const AT: &str = "2026-11-25T10:00:00Z";

fn event(reason: &str, type_: &str, at: &str) -> Event {
    serde_json::from_value(json!({
        "metadata": {}, "involvedObject": {}, "type": type_, "reason": reason, "message": "so it is",
        "eventTime": at.replace('Z', ".000000Z"),
    }))
    .unwrap()
}

#[test]
fn all_that_is_known_is_told() {
    let mut rollout = serde_json::to_value(at_step_two()).unwrap();
    let more = json!({ "status": {
        "wanted": { "revision": "4f1c2d", "commit": "0123456789abcdef", "author": "Ada <ada@example.com>", "since": AT },
        "stable": { "revision": "99aa", "podTemplateHash": "1", "since": AT, "source": { "commit": "fedcba9876543210" } },
        "attempt": {
            "images": ["shop/checkout:2"], "unreadySince": AT, "readinessLostAt": [AT],
            "failovers": [{ "step": 1, "since": AT, "until": "2026-11-25T10:01:00Z" }, { "step": 2, "since": AT }],
        },
        "rejected": [{ "revision": "77bb", "commit": "abcdef", "attempt": 2, "message": "errors", "at": AT }],
        "backoff": { "revision": "77bb", "tries": 2, "message": "no data", "until": "2026-11-25T10:09:12Z" },
        "interventions": [{ "attempt": 4, "step": 1, "action": "Approve", "by": "ada", "reason": "fine", "at": AT }],
    } });
    json_patch::merge(&mut rollout, &more);
    let rollout: Rollout = serde_json::from_value(rollout).unwrap();
    let events = [
        event("Late", "Warning", "2026-11-25T10:04:00Z"),
        event("Early", "Normal", AT),
    ];
    let now = "2026-11-25T10:04:12Z".parse().unwrap();
    let lines = story(&rollout, &events, now);
    let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    shop/checkout   Progressing   step 2/4   weight 10%   revision 4f1c2d   for 4m12s
    2m of step 2 left

    Next
    Promotion in 22m at the earliest (10:26:12 UTC), if every gate passes and step 4 is approved.
    Nobody has to act.

    Wanted
      revision 4f1c2d from commit 0123456789 by Ada <ada@example.com>, for 4m12s

    Stable
      revision 99aa from commit fedcba9876, for 4m12s

    Attempt
      attempt 4 of revision 4f1c2d, started 4m12s ago
      stage Stepping for 4m2s
      images shop/checkout:2
      the canary lacks ready endpoints for 4m12s
    canary ████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 10%

    Steps
      ✓  1      1%     1m   entered 4m2s ago, passed after 61s
      ▶  2     10%     5m   entered 3m1s ago, 2m of hold left
         3     50%    10m
         4             0s   needs approval

    Gates
      errors               Pass      0.002 (max 0.01), 12 readings, 12s ago
      slow                 Pending   max 0.8, 3 bad readings allowed in 5m, 0 readings

    Failovers
      in step 1, 4m12s ago: lasted 60s
      in step 2, 4m12s ago: stable has no ready endpoint

    Readiness of the canary lost
      4m12s ago

    Conditions
      Ready            False    Progressing   4m12s   attempt 4 runs

    Last outcome
      attempt 3 RolledBack 2h4m ago (GateBreached): errors was 0.2, above 0.01

    Rejected
      revision 77bb from commit abcdef in attempt 2, 4m12s ago: errors

    Backoff
      revision 77bb is tried again in 5m (2 tries): no data

    Interventions
      Approve of step 1 in attempt 4, 4m12s ago, by ada: fine

    Events
      4m12s   Early                so it is
      12s     Late                 so it is
    ");
}

#[test]
fn a_rollout_that_nobody_has_seen_yet_is_told_too() {
    let mut rollout = at_step_two();
    rollout.status = None;
    let lines = story(&rollout, &[], AT.parse().unwrap());
    assert!(
        lines[0].to_string().starts_with("shop/checkout"),
        "{}",
        lines[0]
    );
}

#[tokio::test]
async fn events_are_those_of_the_rollout_and_an_addition() {
    let script = Script::default();
    let list = json!({
        "apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": [event("Promoted", "Normal", AT)],
    });
    script.once("GET events", Answer::Json(list));
    let found = read_events(script.client(), "shop", &at_step_two()).await;
    assert_eq!(found[0].reason.as_deref(), Some("Promoted"));
    let asked = script.history().remove(0).query;
    assert!(asked.contains("involvedObject.name%3Dcheckout"), "{asked}");
    script.always("GET events", Answer::Refused(403, "no".to_owned()));
    assert!(
        read_events(script.client(), "shop", &at_step_two())
            .await
            .is_empty()
    );
}
