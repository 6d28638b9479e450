//! What comes next in a Rollout: when it can be promoted at the earliest, and who must act.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use ratatui::{style::Stylize as _, text::Line};
use tidegate_api::{
    Condition, Rollout,
    intervention::Action,
    reason::{ConditionType, ReasonCode as _, StallReason},
    status::{Attempt, Phase, RolloutStatus, Shortcut},
};
use tidegate_engine::plan::Plan;

use crate::cli::{age, command, least_time};

/// Person whose turn it is, with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Turn {
    /// Sentence that names who must act.
    pub(in crate::cli) who: String,
    /// Commands of which one is to be run; none where it takes something else.
    pub(in crate::cli) commands: Vec<String>,
}

/// Returns the lines on what comes next.
pub(in crate::cli) fn lines(rollout: &Rollout, now: Timestamp) -> Vec<Line<'static>> {
    let mut lines: Vec<_> = countdown(rollout, now)
        .into_iter()
        .map(Line::from)
        .collect();
    match turn(rollout) {
        None if waits(rollout) => {}
        None => lines.push(Line::from("Nobody has to act.").dim()),
        Some(Turn { who, commands }) => {
            lines.push(Line::from(who).yellow().bold());
            lines.extend(
                commands
                    .into_iter()
                    .map(|command| Line::from(format!("  {command}"))),
            );
        }
    }
    lines
}

/// Returns true where the message alone says what is missing, or nobody has said anything yet.
fn waits(rollout: &Rollout) -> bool {
    let status = rollout.status.as_ref();
    status.is_none_or(|status| status.phase == Phase::Waiting)
}

/// Returns the sentence on the earliest promotion; `None` where no attempt is on its way there.
pub(in crate::cli) fn countdown(rollout: &Rollout, now: Timestamp) -> Option<String> {
    let attempt = rollout.status.as_ref()?.attempt.as_ref()?;
    if !attempt.stage.is_before_promotion() || attempt.ending.is_some() {
        return None;
    }
    let plan = Plan::parse(&rollout.name_any(), &attempt.plan).ok()?;
    let left = left(attempt, &plan, now);
    let at = now.checked_add(left).ok()?;
    let needs = needs(attempt, &plan);
    let condition = if needs.is_empty() {
        String::new()
    } else {
        format!(", if {}", needs.join(" and "))
    };
    Some(format!(
        "Promotion in {} at the earliest ({}){condition}.",
        age::length(left),
        at.strftime("%H:%M:%S UTC"),
    ))
}

/// Names what has to happen meanwhile.
fn needs(attempt: &Attempt, plan: &Plan) -> Vec<String> {
    let mut needs = Vec::new();
    if attempt.shortcut.is_none() && plan.gates.iter().any(|gate| gate.enforced) {
        needs.push("every gate passes".to_owned());
    }
    match attempt.shortcut {
        None | Some(Shortcut::KnownGood) => needs.extend(approvals(attempt, plan)),
        Some(Shortcut::Promote) => {}
    }
    if attempt.paused {
        needs.push("it is resumed".to_owned());
    }
    needs
}

/// Returns the least time until the last step has passed.
fn left(attempt: &Attempt, plan: &Plan, now: Timestamp) -> SignedDuration {
    if attempt.shortcut.is_some() {
        return SignedDuration::ZERO;
    }
    let current = attempt.step as usize;
    let of_current = match plan.step(attempt.step) {
        None => SignedDuration::ZERO,
        Some(step) => {
            let least = least_time::of_step(plan, step);
            let entered = current
                .checked_sub(1)
                .and_then(|index| attempt.steps.get(index));
            let confirmed = entered.and_then(|step| step.confirmed_at);
            let stayed = confirmed.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
            (least - stayed).max(SignedDuration::ZERO)
        }
    };
    let later = plan.steps.get(current..).unwrap_or_default();
    of_current.saturating_add(least_time::of_steps(plan, later))
}

/// Names the steps that still have to be approved.
fn approvals(attempt: &Attempt, plan: &Plan) -> Option<String> {
    let first = attempt.step.max(1) as usize;
    let steps = plan.steps.iter().enumerate().skip(first - 1);
    let numbers: Vec<_> = steps
        .filter(|(index, step)| {
            let entered = attempt.steps.get(*index);
            let is_approved = entered.is_some_and(|step| step.approved_by.is_some());
            step.approval.is_some() && !is_approved
        })
        .map(|(index, _)| (index + 1).to_string())
        .collect();
    match numbers.as_slice() {
        [] => None,
        [one] => Some(format!("step {one} is approved")),
        several => Some(format!("steps {} are approved", several.join(" and "))),
    }
}

/// Returns whose turn it is; `None` while Tidegate goes on by itself.
pub(in crate::cli) fn turn(rollout: &Rollout) -> Option<Turn> {
    let status = rollout.status.as_ref()?;
    match status.phase {
        Phase::AwaitingApproval => Some(Turn {
            who: "Somebody who may approve has to look at the gates and say if it goes on:"
                .to_owned(),
            commands: intervene(rollout, &[Action::Approve, Action::Abort]),
        }),
        Phase::Paused => Some(Turn {
            who: "It is paused: somebody has to resume or abort it:".to_owned(),
            commands: intervene(rollout, &[Action::Resume, Action::Abort]),
        }),
        Phase::Suspended => Some(Turn {
            who: "It is suspended: somebody has to set spec.suspend to false, where the Rollout is declared, or:"
                .to_owned(),
            commands: vec![format!(
                "kubectl patch rollout {} --namespace {} --type merge --patch '{{\"spec\":{{\"suspend\":false}}}}'",
                rollout.name_any(),
                rollout.namespace().unwrap_or_default()
            )],
        }),
        Phase::Waiting
        | Phase::Initial
        | Phase::Stable
        | Phase::Observing
        | Phase::Progressing
        | Phase::Promoting
        | Phase::RollingBack
        | Phase::CleaningUp
        | Phase::Stalled => stalled(rollout, status).or_else(|| degraded(rollout, status)),
    }
}

/// Returns who must act where a release goes on, and not as it should.
fn degraded(rollout: &Rollout, status: &RolloutStatus) -> Option<Turn> {
    let holds = |type_| Condition::find(&status.conditions, type_).is_some_and(Condition::is_true);
    if holds(ConditionType::StableDegraded) {
        let attempt = status.attempt.as_ref();
        let may_promote = attempt.is_some_and(|attempt| attempt.stage.is_before_promotion());
        return Some(if may_promote {
            Turn {
                who: "Pods of stable are missing: somebody has to look at them, or to go on without them:".to_owned(),
                commands: intervene(rollout, &[Action::Promote]),
            }
        } else {
            Turn {
                who: "Pods of stable are missing: somebody has to look at them.".to_owned(),
                commands: Vec::new(),
            }
        });
    }
    if holds(ConditionType::FieldConflict) {
        return Some(Turn {
            who:
                "Another writer keeps changing a field that Tidegate sets: somebody has to stop it."
                    .to_owned(),
            commands: Vec::new(),
        });
    }
    None
}

fn stalled(rollout: &Rollout, status: &RolloutStatus) -> Option<Turn> {
    let stalled = Condition::find(&status.conditions, ConditionType::Stalled)?;
    if !stalled.is_true() {
        return None;
    }
    let reasons = StallReason::ALL.iter();
    let reason = reasons
        .copied()
        .find(|reason| reason.as_str() == stalled.reason);
    let author = author(status);
    Some(match reason {
        Some(StallReason::Rejected) => Turn {
            who: format!("{author} has to commit a fix or a revert, or to have it tried again:"),
            commands: intervene(rollout, &[Action::Retry]),
        },
        Some(StallReason::Inconclusive) => Turn {
            who: "Whoever runs the metrics has to have the gates read, and then somebody to try again or let it in without them:".to_owned(),
            commands: intervene(rollout, &[Action::Retry, Action::Promote]),
        },
        Some(StallReason::InitialFailed | StallReason::RevisionLost) => Turn {
            who: format!("{author} has to commit the template again, with a fix where it needs one."),
            commands: Vec::new(),
        },
        Some(StallReason::WriteDenied) => Turn {
            who: "Whoever administers the cluster has to grant the right or change the policy that the message names."
                .to_owned(),
            commands: Vec::new(),
        },
        Some(
            StallReason::InvalidSpec
            | StallReason::PreflightFailed
            | StallReason::InvalidQuery
            | StallReason::NotStalled,
        )
        | None => Turn {
            who: "The Rollout's owner has to change what the message names.".to_owned(),
            commands: Vec::new(),
        },
    })
}

/// Names who wrote the commit that is asked for.
fn author(status: &RolloutStatus) -> String {
    let wanted = status.wanted.as_ref();
    wanted
        .and_then(|wanted| wanted.author.clone())
        .unwrap_or_else(|| "The author of the revision".to_owned())
}

fn intervene(rollout: &Rollout, actions: &[Action]) -> Vec<String> {
    let actions = actions.iter();
    actions
        .map(|action| command::intervene(*action, rollout))
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::story::tests::at_step_two;

    fn told(rollout: &Rollout) -> String {
        let lines = lines(rollout, "2026-11-25T10:04:12Z".parse().unwrap());
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    fn with_status(change: &Value) -> Rollout {
        let mut rollout = serde_json::to_value(at_step_two()).unwrap();
        json_patch::merge(&mut rollout, &json!({ "status": change }));
        serde_json::from_value(rollout).unwrap()
    }

    fn stalled(reason: &str) -> Rollout {
        with_status(&json!({
            "phase": "Stalled", "attempt": null,
            "wanted": { "revision": "ab", "author": "Ada <ada@example.com>", "since": "2026-11-25T10:00:00Z" },
            "conditions": [{
                "type": "Stalled", "status": "True", "reason": reason, "message": "m",
                "lastTransitionTime": "2026-11-25T10:00:00Z",
            }],
        }))
    }

    #[test]
    fn the_countdown_names_what_has_to_happen_meanwhile() {
        insta::assert_snapshot!(told(&at_step_two()), @r"
        Promotion in 22m at the earliest (10:26:12 UTC), if every gate passes and step 4 is approved.
        Nobody has to act.
        ");
        let paused = with_status(&json!({ "phase": "Paused", "attempt": { "paused": true } }));
        insta::assert_snapshot!(told(&paused), @r"
        Promotion in 22m at the earliest (10:26:12 UTC), if every gate passes and step 4 is approved and it is resumed.
        It is paused: somebody has to resume or abort it:
          kubectl tidegate resume checkout -n shop --reason WHY
          kubectl tidegate abort checkout -n shop --reason WHY
        ");
        let promoted = with_status(&json!({ "attempt": { "shortcut": "Promote" } }));
        assert!(
            told(&promoted).starts_with("Promotion in 0s at the earliest (10:04:12 UTC).\n"),
            "{}",
            told(&promoted)
        );
    }

    #[test]
    fn who_must_act_is_named_with_the_command() {
        let approval =
            with_status(&json!({ "phase": "AwaitingApproval", "attempt": { "step": 4 } }));
        insta::assert_snapshot!(told(&approval), @r"
        Promotion in 10m at the earliest (10:14:12 UTC), if every gate passes and step 4 is approved.
        Somebody who may approve has to look at the gates and say if it goes on:
          kubectl tidegate approve checkout -n shop --reason WHY
          kubectl tidegate abort checkout -n shop --reason WHY
        ");
        let all: Vec<_> = StallReason::ALL
            .iter()
            .map(|reason| told(&stalled(reason.as_str())))
            .collect();
        insta::assert_snapshot!(all.join("\n"), @r"
        The Rollout's owner has to change what the message names.
        The Rollout's owner has to change what the message names.
        The Rollout's owner has to change what the message names.
        Whoever administers the cluster has to grant the right or change the policy that the message names.
        Ada <ada@example.com> has to commit a fix or a revert, or to have it tried again:
          kubectl tidegate retry checkout -n shop --reason WHY
        Whoever runs the metrics has to have the gates read, and then somebody to try again or let it in without them:
          kubectl tidegate retry checkout -n shop --reason WHY
          kubectl tidegate promote checkout -n shop --reason WHY
        Ada <ada@example.com> has to commit the template again, with a fix where it needs one.
        Ada <ada@example.com> has to commit the template again, with a fix where it needs one.
        The Rollout's owner has to change what the message names.
        ");
        assert_eq!(
            told(&with_status(&json!({ "phase": "Stable", "attempt": null }))),
            "Nobody has to act."
        );
    }

    #[test]
    fn a_release_that_goes_on_badly_needs_somebody_too() {
        let with = |type_: &str| {
            with_status(&json!({ "conditions": [{
                "type": type_, "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-11-25T10:00:00Z",
            }] }))
        };
        assert!(told(&with("StableDegraded")).ends_with("promote checkout -n shop --reason WHY"));
        assert!(told(&with("FieldConflict")).ends_with("somebody has to stop it."));
        let waiting = with_status(&json!({ "phase": "Waiting", "attempt": null }));
        assert_eq!(told(&waiting), "");
    }
}
