//! `tidegate get`: a table of Rollouts with their phase, step, weight and message.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::{ResourceExt as _, api::ListParams};
use tidegate_api::{Rollout, status::RolloutStatus};

use super::{
    age,
    connection::{Target, answered, rollouts},
    output,
};
use crate::clock;

/// The heads of the table's columns.
const HEADS: [&str; 7] = [
    "ROLLOUT", "PHASE", "STEP", "WEIGHT", "REVISION", "SINCE", "MESSAGE",
];

/// The heads of the columns that the wide table has before the message.
const WIDE_HEADS: [&str; 4] = ["WORKLOAD", "STABLE", "WANTED COMMIT", "LAST OUTCOME"];

/// Arguments of `tidegate get`.
#[derive(Args, Debug)]
pub struct GetArgs {
    /// Name of the Rollout (default: all of the namespace)
    name: Option<String>,
    #[command(flatten)]
    target: Target,
    /// Show Rollouts of all namespaces; overrides `--namespace` and its variable
    // No conflict with the namespace: clap takes a variable for something that was typed.
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Output format.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// Table
    #[default]
    Table,
    /// Table with workload, stable revision, wanted commit and last outcome, too
    Wide,
    /// Objects as JSON
    Json,
    /// Objects as YAML
    Yaml,
}

/// Columns of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Columns {
    Usual,
    Wide,
}

/// Prints the Rollouts.
pub(super) async fn run(args: &GetArgs) -> anyhow::Result<()> {
    let rollouts = fetch(args).await?;
    let text = match (args.output, &args.name) {
        (Output::Table | Output::Wide, _) if rollouts.is_empty() => {
            eprintln!("No Rollouts found.");
            return Ok(());
        }
        (Output::Table, _) => table(&rollouts, args.all_namespaces, Columns::Usual, clock::now()),
        (Output::Wide, _) => table(&rollouts, args.all_namespaces, Columns::Wide, clock::now()),
        (Output::Json, Some(_)) => output::json(&rollouts[0])?,
        (Output::Json, None) => output::json(&rollouts)?,
        (Output::Yaml, Some(_)) => output::yaml(&rollouts[0])?,
        (Output::Yaml, None) => output::yaml(&rollouts)?,
    };
    output::print(&text)?;
    Ok(())
}

/// The Rollouts that were asked for; exactly one where a name was given.
async fn fetch(args: &GetArgs) -> anyhow::Result<Vec<Rollout>> {
    let (client, namespace) = args.target.connect().await?;
    let api = rollouts(client, &namespace, args.all_namespaces);
    match &args.name {
        Some(name) => Ok(vec![answered(api.get(name)).await?]),
        None => Ok(answered(api.list(&ListParams::default())).await?.items),
    }
}

/// The Rollouts as lines with aligned columns.
fn table(rollouts: &[Rollout], with_namespace: bool, columns: Columns, now: Timestamp) -> String {
    let mut rows = vec![heads(columns)];
    rows.extend(
        rollouts
            .iter()
            .map(|rollout| row(rollout, with_namespace, columns, now)),
    );
    let mut widths = vec![0; rows[0].len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(line.join("   ").trim_end());
        text.push('\n');
    }
    text
}

fn dash() -> String {
    "-".to_owned()
}

fn heads(columns: Columns) -> Vec<String> {
    let mut heads = HEADS.map(str::to_owned).to_vec();
    if columns == Columns::Wide {
        let message = heads.len() - 1;
        heads.splice(message..message, WIDE_HEADS.map(str::to_owned));
    }
    heads
}

/// Returns a cell for each head.
fn row(rollout: &Rollout, with_namespace: bool, columns: Columns, now: Timestamp) -> Vec<String> {
    let status = rollout.status.as_ref();
    let mut row = vec![name(rollout, with_namespace)];
    row.extend(progress(status, now));
    if columns == Columns::Wide {
        row.push(rollout.spec.workload.kubectl_name());
        row.extend(versions(status));
    }
    row.push(status.map_or_else(
        || "not reconciled yet".to_owned(),
        |status| status.message.clone(),
    ));
    row
}

fn name(rollout: &Rollout, with_namespace: bool) -> String {
    match rollout.namespace() {
        Some(namespace) if with_namespace => format!("{namespace}/{}", rollout.name_any()),
        _ => rollout.name_any(),
    }
}

/// Phase, step, weight, revision and their age.
fn progress(status: Option<&RolloutStatus>, now: Timestamp) -> [String; 5] {
    let Some(status) = status else {
        return std::array::from_fn(|_| dash());
    };
    [
        format!("{:?}", status.phase),
        status.step.clone().unwrap_or_else(dash),
        status.weight.clone().unwrap_or_else(dash),
        status.revision.clone().unwrap_or_else(dash),
        status
            .since
            .map_or_else(dash, |since| age::since(since, now)),
    ]
}

/// Stable revision, wanted commit and last outcome.
fn versions(status: Option<&RolloutStatus>) -> [String; 3] {
    let stable = status.and_then(|status| status.stable.as_ref());
    let commit = status.and_then(|status| status.wanted.as_ref()?.commit.as_ref());
    let last = status.and_then(|status| status.last_outcome.as_ref());
    [
        stable.map_or_else(dash, |stable| stable.revision.short().to_owned()),
        commit.map_or_else(dash, |commit| commit.short().to_owned()),
        last.map_or_else(dash, |last| format!("{:?}", last.ending.outcome)),
    ]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: GetArgs,
    }

    #[test]
    fn all_namespaces_wins_over_one_of_them_but_not_over_a_name() {
        let parsed =
            |words: &[&str]| Line::try_parse_from([&["get"], words].concat()).map(|line| line.args);
        assert!(parsed(&["-A", "-n", "shop"]).unwrap().all_namespaces);
        assert!(parsed(&["-A"]).unwrap().all_namespaces);
        parsed(&["checkout", "-A"]).unwrap_err();
    }

    fn rollout(name: &str, status: &serde_json::Value) -> Rollout {
        serde_json::from_value(json!({
            "apiVersion": "tidegate.io/v1alpha1",
            "kind": "Rollout",
            "metadata": { "name": name, "namespace": "shop" },
            "spec": {
                "workload": { "kind": "Deployment", "name": name },
                "traffic": { "routes": [{ "kind": "HTTPRoute", "name": name }] },
                "steps": [{ "weight": 10, "hold": "1m" }], "gates": [],
            },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn the_table_shows_each_rollout_with_its_progress() {
        let busy = json!({
            "phase": "Progressing", "step": "2/3", "weight": "10%", "revision": "4f1c2d",
            "since": "2026-11-25T10:00:00Z", "message": "gates pass, 2m left",
        });
        let rollouts = [
            rollout("checkout", &busy),
            rollout("cart", &serde_json::Value::Null),
        ];
        let now = "2026-11-25T10:03:00Z".parse().unwrap();
        insta::assert_snapshot!(table(&rollouts, true, Columns::Usual, now), @r"
        ROLLOUT         PHASE         STEP   WEIGHT   REVISION   SINCE   MESSAGE
        shop/checkout   Progressing   2/3    10%      4f1c2d     3m      gates pass, 2m left
        shop/cart       -             -      -        -          -       not reconciled yet
        ");
    }

    #[test]
    fn the_wide_table_shows_what_is_wanted_and_what_was() {
        let at = "2026-11-25T10:00:00Z";
        let status = json!({
            "phase": "Stable", "revision": "4f1c2d", "since": at, "message": "stable",
            "wanted": { "revision": "4f1c2d", "commit": "0123456789abcdef", "since": at },
            "stable": { "revision": "4f1c2d", "podTemplateHash": "1", "since": at },
            "lastOutcome": {
                "attempt": 3, "revision": "4f1c2d", "outcome": "Promoted", "reason": "StepsPassed", "message": "m", "at": at,
            },
        });
        let rollouts = [
            rollout("checkout", &status),
            rollout("cart", &serde_json::Value::Null),
        ];
        let now = "2026-11-25T10:03:00Z".parse().unwrap();
        insta::assert_snapshot!(table(&rollouts, false, Columns::Wide, now), @r"
        ROLLOUT    PHASE    STEP   WEIGHT   REVISION   SINCE   WORKLOAD              STABLE   WANTED COMMIT   LAST OUTCOME   MESSAGE
        checkout   Stable   -      -        4f1c2d     3m      deployment/checkout   4f1c2d   0123456789      Promoted       stable
        cart       -        -      -        -          -       deployment/cart       -        -               -              not reconciled yet
        ");
    }

    #[test]
    fn yaml_says_what_json_says() {
        let rollout = rollout(
            "checkout",
            &json!({ "phase": "Stable", "message": "on: yes" }),
        );
        let yaml = output::yaml(&rollout).unwrap();
        let read: Rollout = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read, rollout);
    }
}
