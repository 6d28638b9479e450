//! Runs the parts of the end-to-end harness.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tidegate_e2e::{
    demo_app, http_client,
    node_agent::{self, NodeAgentSpec},
};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be the demo app of one pod.
    DemoApp,
    /// Run the pods of the Node, until ended.
    NodeAgent {
        /// The folder for the containers' logs.
        #[arg(long)]
        logs: PathBuf,
    },
}

fn main() -> ExitCode {
    http_client::install_tls_provider();
    let done = match Cli::parse().command {
        Command::DemoApp => demo_app::run_as_process().map_err(Into::into),
        Command::NodeAgent { logs } => run_node_agent(logs),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_node_agent(logs: PathBuf) -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let spec = NodeAgentSpec::new(std::env::current_exe()?, logs);
    tokio::runtime::Runtime::new()?.block_on(async {
        let client = kube::Client::try_default().await.context("no cluster")?;
        let stop = CancellationToken::new();
        let asked = stop.clone();
        tokio::spawn(async move {
            let _ = tokio::signal::ctrl_c().await;
            asked.cancel();
        });
        node_agent::run(client, spec, stop).await?;
        Ok(())
    })
}
