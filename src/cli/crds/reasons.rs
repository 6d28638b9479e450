//! The page of conditions, reasons and events, made from the catalogue in `tidegate-api`.

use std::fmt::Write as _;

use tidegate_api::reason::{
    AvailableReason, ConditionType, EventReason, FieldConflictReason, Finding, NotificationType,
    Phase, ReadyReason, Reason, ReasonCode, RecordsReason, RepoEventReason, StableDegradedReason,
    StallReason, SuspendedReason, SyncReason,
};

const INTRODUCTION: &str = "
# Conditions, reasons and events

Conditions, events, records in git and `kubectl tidegate watch` use the same words; programs may
read them. The message beside a word says what it is about and, where manual action is required,
what to do.

Conditions follow the rules of kstatus: `Ready` is true only of the wanted state, and each condition
says which generation it is about. `kubectl wait --for=condition=Ready` returns once the wanted
revision is stable and callers are served.
";

const REPO_INTRODUCTION: &str = "
A ConfigRepo has the conditions `Ready` and, from the first record that git did not take,
`RecordsWritten`.
";

const INTERVENTION: &str = "
## Intervention

`status.state` is `Accepted` or `Rejected`, and `status.message` says what is done, or why not.
";

/// Conditions of a Rollout, in the order of its status.
const ROLLOUT_CONDITIONS: [ConditionType; 6] = [
    ConditionType::Available,
    ConditionType::Ready,
    ConditionType::Reconciling,
    ConditionType::Stalled,
    ConditionType::StableDegraded,
    ConditionType::FieldConflict,
];

/// Conditions of a ConfigRepo, in the order of its status.
const REPO_CONDITIONS: [ConditionType; 2] = [ConditionType::Ready, ConditionType::RecordsWritten];

/// Returns the page.
pub(super) fn page() -> String {
    let mut text = INTRODUCTION.to_owned();
    heading(&mut text, "Rollout: conditions");
    conditions(&mut text, &ROLLOUT_CONDITIONS);
    reasons::<AvailableReason>(&mut text, "Reasons of `Available`");
    reasons::<ReadyReason>(&mut text, "Reasons of `Ready`");
    reasons::<Phase>(&mut text, "Phases, and reasons of `Reconciling`");
    reasons::<StallReason>(&mut text, "Reasons of `Stalled`");
    reasons::<StableDegradedReason>(&mut text, "Reasons of `StableDegraded`");
    reasons::<SuspendedReason>(&mut text, "Reasons of `Suspended`");
    reasons::<FieldConflictReason>(&mut text, "Reasons of `FieldConflict`");
    heading(&mut text, "Rollout: outcomes");
    outcomes(&mut text);
    heading(&mut text, "Rollout: events");
    events(&mut text);
    heading(&mut text, "Rollout: findings");
    findings(&mut text);
    heading(&mut text, "Rollout: notifications");
    notifications(&mut text);
    heading(&mut text, "ConfigRepo");
    text.push_str(REPO_INTRODUCTION);
    conditions(&mut text, &REPO_CONDITIONS);
    reasons::<SyncReason>(&mut text, "Reasons of `Ready`");
    reasons::<RecordsReason>(&mut text, "Reasons of `RecordsWritten`");
    reasons::<RepoEventReason>(&mut text, "Events");
    text.push_str(INTERVENTION);
    text
}

fn heading(text: &mut String, title: &str) {
    let _ = write!(text, "\n## {title}\n");
}

fn conditions(text: &mut String, types: &[ConditionType]) {
    text.push_str("\n| type | `True` when |\n|---|---|\n");
    for type_ in types {
        let _ = writeln!(text, "| `{}` | {} |", type_.as_str(), type_.meaning());
    }
}

fn reasons<R: ReasonCode>(text: &mut String, title: &str) {
    let _ = write!(text, "\n### {title}\n\n| reason | meaning |\n|---|---|\n");
    for reason in R::ALL {
        let _ = writeln!(text, "| `{}` | {} |", reason.as_str(), reason.meaning());
    }
}

fn outcomes(text: &mut String) {
    text.push_str(
        "\nAn attempt's outcome and its reason stand in `status.lastOutcome`, in the record in git, \
         and in its\nevents: one when traffic goes back, with the reason, and one at the end, with the \
         outcome as its reason.\n\n| outcome | reason | meaning |\n|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let outcome = reason.outcome();
        let _ = writeln!(text, "| `{outcome}` | `{reason}` | {} |", reason.meaning());
    }
}

fn events(text: &mut String) {
    text.push_str(
        "\nBeside these, each reason of `Stalled`, each outcome, and each reason of an outcome is one of an event.\n\n| reason | \
         type | meaning |\n|---|---|---|\n",
    );
    for reason in EventReason::ALL {
        let type_ = if reason.is_warning() {
            "Warning"
        } else {
            "Normal"
        };
        let _ = writeln!(text, "| `{reason}` | {type_} | {} |", reason.meaning());
    }
}

fn findings(text: &mut String) {
    text.push_str(
        "\nWith [`spec.mode: Observe`](../guides/observe.md) a release has a finding, which stands in\n\
         `status.observation.findings` and is the reason of an event.\n\n| reason | type | meaning |\n|---|---|---|\n",
    );
    for finding in Finding::ALL {
        let type_ = if finding.is_warning() {
            "Warning"
        } else {
            "Normal"
        };
        let _ = writeln!(text, "| `{finding}` | {type_} | {} |", finding.meaning());
    }
}

fn notifications(text: &mut String) {
    text.push_str(
        "\n[Notifications](../guides/notifications.md) have one of these types.\n\n| type | meaning |\n|---|---|\n",
    );
    for type_ in NotificationType::ALL {
        let _ = writeln!(text, "| `{type_}` | {} |", type_.meaning());
    }
}
