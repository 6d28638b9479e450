//! `tidegate explain`: what a Rollout will do, before it does it.
//!
//! Of a file, or of a Rollout in the cluster. What only a cluster knows (stable's replicas, the brake, the
//! pods' names) is read from it where there is one, and named by a stand-in elsewhere.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use kube::{Api, ResourceExt as _};
use serde_json::Value;
use tidegate_api::Rollout;
use tidegate_engine::plan::Plan;

use super::{
    connection::{Target, answered},
    lint::{files, object::Objects, schema::without_blanks},
    output,
};

mod explanation;
mod gate;
mod sentences;
mod surroundings;
#[cfg(test)]
mod tests;
mod text;

use explanation::Explanation;
use surroundings::Surroundings;

/// Arguments of `tidegate explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// File with Rollouts, or name of a Rollout in the cluster; what exists as a file is one
    #[arg(value_name = "FILE|NAME", required_unless_present = "file")]
    what: Option<String>,
    /// File with Rollouts, or `-` for standard input; a name beside it picks one of them
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// Number of stable's replicas, to count the canary's (default: that of the cluster)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    replicas: Option<u32>,
    #[command(flatten)]
    target: Target,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Output format.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// Sentences
    #[default]
    Text,
    /// The same as JSON
    Json,
}

/// Prints what the Rollouts will do.
pub(super) async fn run(args: &ExplainArgs) -> anyhow::Result<()> {
    let explanations = match from_file(args)? {
        Some(rollouts) => {
            let surroundings = Surroundings::of_file(args.replicas);
            let explained = rollouts
                .iter()
                .map(|rollout| explain(rollout, &surroundings));
            explained.collect::<anyhow::Result<Vec<_>>>()?
        }
        None => vec![from_cluster(args).await?],
    };
    match args.output {
        Output::Text => {
            let texts: Vec<_> = explanations.iter().map(text::text).collect();
            output::print(&texts.join("\n"))?;
        }
        Output::Json => output::print(&output::json(&explanations)?)?,
    }
    Ok(())
}

fn explain(rollout: &Rollout, surroundings: &Surroundings) -> anyhow::Result<Explanation> {
    let name = rollout.name_any();
    let plan = Plan::parse(&name, &rollout.spec)
        .with_context(|| format!("{name} cannot be released as it is written"))?;
    Explanation::of(rollout, &plan, surroundings)
}

async fn from_cluster(args: &ExplainArgs) -> anyhow::Result<Explanation> {
    let name = args.what.as_deref().unwrap_or_default();
    let (client, namespace) = args.target.connect().await?;
    let api: Api<Rollout> = Api::namespaced(client.clone(), &namespace);
    let rollout = answered(api.get(name)).await?;
    let surroundings = Surroundings::read(client, &namespace, &rollout, args.replicas).await;
    explain(&rollout, &surroundings)
}

/// Returns the Rollouts of a file, if one is meant.
fn from_file(args: &ExplainArgs) -> anyhow::Result<Option<Vec<Rollout>>> {
    let (path, name) = match (&args.file, &args.what) {
        (Some(path), name) => (path.clone(), name.as_deref()),
        (None, Some(what)) if is_path(what) => (PathBuf::from(what), None),
        (None, _) => return Ok(None),
    };
    let mut rollouts = read(&path)?;
    if let Some(name) = name {
        rollouts.retain(|rollout| rollout.name_any() == name);
    }
    ensure!(
        !rollouts.is_empty(),
        "no such Rollout is in {}",
        path.display()
    );
    Ok(Some(rollouts))
}

/// Returns true for what is a file rather than the name of an object, which has no slash.
fn is_path(what: &str) -> bool {
    what == "-" || what.contains('/') || Path::new(what).is_file()
}

/// Reads the Rollouts of a file or a folder.
fn read(path: &Path) -> anyhow::Result<Vec<Rollout>> {
    let read = files::read(&[path.to_owned()]);
    if let Some(unreadable) = read.unreadable.into_iter().next() {
        return Err(unreadable.into());
    }
    let mut rollouts = Vec::new();
    for file in &read.files {
        let Ok(objects) = Objects::read(&file.bytes) else {
            bail!(
                "{} is not plain YAML: `tidegate lint` says where",
                file.path
            );
        };
        for object in objects
            .objects
            .into_iter()
            .filter(|object| object.is_ours("Rollout"))
        {
            rollouts.push(parse(object.value, &file.path)?);
        }
    }
    Ok(rollouts)
}

fn parse(mut object: Value, path: &str) -> anyhow::Result<Rollout> {
    without_blanks(&mut object);
    // What a file says of the status is nothing that is.
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    let parsed = serde_json::from_value(object);
    parsed.with_context(|| {
        format!("{path} has a Rollout that is not valid: `tidegate lint {path}` says where")
    })
}
