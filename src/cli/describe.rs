//! `tidegate describe`: the story of a Rollout, from its status and its events.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use ratatui::text::Line;
use tidegate_api::{Rollout, status::RolloutStatus};

use super::{
    connection::{Target, answered},
    output,
    story::{self, attempt, next, observed, part, print},
};
use crate::clock;

mod events;
mod facts;

/// Arguments of `tidegate describe`.
#[derive(Args, Debug)]
pub struct DescribeArgs {
    /// Name of the Rollout
    name: String,
    #[command(flatten)]
    target: Target,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Output format.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// The story
    #[default]
    Text,
    /// Object as JSON
    Json,
    /// Object as YAML
    Yaml,
}

/// Prints the story of the Rollout.
pub(super) async fn run(args: &DescribeArgs) -> anyhow::Result<()> {
    let (client, namespace) = args.target.connect().await?;
    let api: Api<Rollout> = Api::namespaced(client.clone(), &namespace);
    let rollout = answered(api.get(&args.name)).await?;
    match args.output {
        Output::Json => output::print(&output::json(&rollout)?)?,
        Output::Yaml => output::print(&output::yaml(&rollout)?)?,
        Output::Text => {
            let found = read_events(client, &namespace, &rollout).await;
            print::print(&story(&rollout, &found, clock::now()))?;
        }
    }
    Ok(())
}

/// Reads the Rollout's events. They are an addition: who may not list them sees the rest.
async fn read_events(client: Client, namespace: &str, rollout: &Rollout) -> Vec<Event> {
    let api: Api<Event> = Api::namespaced(client, namespace);
    let found = answered(api.list(&events_of(rollout))).await;
    found.map(|list| list.items).unwrap_or_default()
}

fn events_of(rollout: &Rollout) -> ListParams {
    let object = format!(
        "involvedObject.name={},involvedObject.kind=Rollout",
        rollout.name_any()
    );
    ListParams::default().fields(&object)
}

/// Returns the whole story.
fn story(rollout: &Rollout, found: &[Event], now: Timestamp) -> Vec<Line<'static>> {
    let status = rollout.status.clone().unwrap_or_default();
    let mut lines = story::head(rollout, &status, now);
    part(&mut lines, "Next", next::lines(rollout, now));
    part(&mut lines, "Wanted", facts::wanted(&status, now));
    part(&mut lines, "Stable", facts::stable(&status, now));
    attempt_parts(&mut lines, &status, now);
    observed::parts(&mut lines, &status, now);
    part(&mut lines, "Conditions", story::conditions(&status, now));
    let last = status
        .last_outcome
        .iter()
        .map(|last| story::outcome(last, now));
    part(&mut lines, "Last outcome", last.collect());
    part(&mut lines, "Rejected", facts::rejected(&status, now));
    part(&mut lines, "Backoff", facts::backoff(&status, now));
    part(
        &mut lines,
        "Interventions",
        facts::interventions(&status, now),
    );
    part(
        &mut lines,
        "Records pending for git",
        facts::pending(&status),
    );
    part(&mut lines, "Events", events::lines(found, now));
    lines
}

fn attempt_parts(lines: &mut Vec<Line<'static>>, status: &RolloutStatus, now: Timestamp) {
    let Some(running) = &status.attempt else {
        return;
    };
    part(lines, "Attempt", facts::attempt(running, now));
    lines.push(attempt::bar(running.weight));
    part(lines, "Steps", attempt::steps(running, now));
    let gates = attempt::gates(&running.plan, &running.gates, now);
    part(lines, "Gates", gates);
    part(lines, "Failovers", facts::failovers(running, now));
    part(
        lines,
        "Readiness of the canary lost",
        facts::readiness_losses(running, now),
    );
}

#[cfg(test)]
mod tests;
