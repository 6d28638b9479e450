//! `tidegate get`: a table of Rollouts with their phase, step, weight and message.

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _, api::ListParams};
use tidegate_api::Rollout;

use super::{
    age,
    connection::{Target, answered},
};
use crate::clock;

/// The heads of the table's columns.
const HEADS: [&str; 7] = [
    "ROLLOUT", "PHASE", "STEP", "WEIGHT", "REVISION", "SINCE", "MESSAGE",
];

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
    /// Objects as JSON
    Json,
}

/// Prints the Rollouts.
pub(super) async fn run(args: &GetArgs) -> anyhow::Result<()> {
    let rollouts = fetch(args).await?;
    let text = match (args.output, args.name.is_some()) {
        (Output::Table, _) if rollouts.is_empty() => {
            eprintln!("No Rollouts found.");
            return Ok(());
        }
        (Output::Table, _) => table(&rollouts, args.all_namespaces, clock::now()),
        (Output::Json, true) => serde_json::to_string_pretty(&rollouts[0])? + "\n",
        (Output::Json, false) => serde_json::to_string_pretty(&rollouts)? + "\n",
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// The Rollouts that were asked for; exactly one where a name was given.
async fn fetch(args: &GetArgs) -> anyhow::Result<Vec<Rollout>> {
    let (client, namespace) = args.target.connect().await?;
    let api: Api<Rollout> = if args.all_namespaces {
        Api::all(client)
    } else {
        Api::namespaced(client, &namespace)
    };
    match &args.name {
        Some(name) => Ok(vec![answered(api.get(name)).await?]),
        None => Ok(answered(api.list(&ListParams::default())).await?.items),
    }
}

/// The Rollouts as lines with aligned columns.
fn table(rollouts: &[Rollout], with_namespace: bool, now: Timestamp) -> String {
    let rows: Vec<[String; HEADS.len()]> = std::iter::once(HEADS.map(str::to_owned))
        .chain(
            rollouts
                .iter()
                .map(|rollout| row(rollout, with_namespace, now)),
        )
        .collect();
    let mut widths = [0; HEADS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths);
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

fn row(rollout: &Rollout, with_namespace: bool, now: Timestamp) -> [String; HEADS.len()] {
    let name = match rollout.namespace() {
        Some(namespace) if with_namespace => format!("{namespace}/{}", rollout.name_any()),
        _ => rollout.name_any(),
    };
    let Some(status) = &rollout.status else {
        let message = "not reconciled yet".to_owned();
        return [name, dash(), dash(), dash(), dash(), dash(), message];
    };
    [
        name,
        format!("{:?}", status.phase),
        status.step.clone().unwrap_or_else(dash),
        status.weight.clone().unwrap_or_else(dash),
        status.revision.clone().unwrap_or_else(dash),
        status
            .since
            .map_or_else(dash, |since| age::since(since, now)),
        status.message.clone(),
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
        insta::assert_snapshot!(table(&rollouts, true, now), @r"
        ROLLOUT         PHASE         STEP   WEIGHT   REVISION   SINCE   MESSAGE
        shop/checkout   Progressing   2/3    10%      4f1c2d     3m      gates pass, 2m left
        shop/cart       -             -      -        -          -       not reconciled yet
        ");
    }
}
