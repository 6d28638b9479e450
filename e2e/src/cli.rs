//! The command line of the harness.
//!
//! Owns the subcommands, the runtime and the signals that end them; the cluster and the scenarios
//! know of none of these.

use std::{fs, future::Future, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use crate::{
    bench::Bench,
    cluster::{Cluster, GatewayKind, Options, RunDir, ToolsArgs},
    demo, demo_app, manifests,
    scenario::{self, Group, Selection},
    scenarios,
};

/// Tidegate against a real control plane, gateway, Prometheus and git server.
#[derive(Debug, Parser)]
#[command(name = "tidegate-e2e")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the scenarios.
    Run(RunArgs),
    /// Show a good release and a bad one, live in the terminal.
    Demo(ClusterArgs),
    /// Measure, and print what came out.
    Bench(BenchArgs),
    /// Start the cluster alone and keep it until Ctrl-C.
    Up(ClusterArgs),
    /// List the scenarios.
    List,
    /// Check that the API server would know every document of these files.
    CheckManifests {
        /// YAML files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Be the demo app of one pod: the node agent starts this.
    #[command(hide = true)]
    DemoApp,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Only the scenarios of these names, or whose names contain them.
    filters: Vec<String>,
    /// The group of scenarios to run; without one those that are in none.
    #[arg(long, value_enum)]
    group: Option<Group>,
    /// Leave the cluster up afterwards, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Number of scenarios that run side by side.
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Kill Tidegate at every write of a release, not only at every fifth.
    #[arg(long, env = "TIDEGATE_E2E_ALL_WRITES", value_parser = clap::builder::BoolishValueParser::new())]
    all_writes: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Args)]
struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Args)]
struct ClusterArgs {
    #[command(flatten)]
    tools: ToolsArgs,
    /// The folder in which each run gets one for its logs.
    #[arg(long, env = "TIDEGATE_E2E_RUNS", default_value = "target/e2e")]
    runs: PathBuf,
}

// === impl Cli ===

impl Cli {
    /// Does what was asked; the code says whether it went well.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Run(args) => in_runtime(args.run()),
            Command::Bench(args) => in_runtime(args.run()),
            Command::Up(args) => in_runtime(args.up()),
            Command::Demo(args) => in_runtime(args.demo()),
            Command::List => {
                for scenario in scenarios::all() {
                    println!("{scenario}");
                }
                Ok(ExitCode::SUCCESS)
            }
            Command::CheckManifests { files } => {
                for file in files {
                    let checked = manifests::check(&file)?;
                    println!("{}: {checked} objects", file.display());
                }
                Ok(ExitCode::SUCCESS)
            }
            Command::DemoApp => {
                demo_app::run_as_process()?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

// === impl RunArgs ===

impl RunArgs {
    async fn run(self) -> Result<ExitCode> {
        let selection = Selection::new(scenarios::all(), self.group, &self.filters)?;
        let selection = selection.thorough(self.all_writes);
        let of_gateways = GatewayKind::ALL
            .into_iter()
            .filter_map(|gateway| Some((gateway, selection.on(gateway)?)));
        let of_gateways: Vec<_> = of_gateways.collect();
        let (mut passed, mut failed) = (0, 0);
        for (index, (gateway, selection)) in of_gateways.iter().enumerate() {
            let keep = self.keep && index + 1 == of_gateways.len();
            let Some((well, badly)) = self.run_on(*gateway, selection, keep).await? else {
                return Ok(ExitCode::FAILURE);
            };
            passed += well;
            failed += badly;
        }
        println!("\n{passed} passed, {failed} failed");
        Ok(if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// Runs scenarios on a cluster with this gateway. The answer is how many passed, and how many failed;
    /// `None` where a signal came first.
    async fn run_on(
        &self,
        gateway: GatewayKind,
        selection: &Selection,
        keep: bool,
    ) -> Result<Option<(u32, u32)>> {
        let (run_dir, options) = self.cluster.prepare()?;
        let flux = match self.group {
            Some(Group::Beside) => Some(options.tools.flux()?),
            None => None,
        };
        let options = Options {
            gateway,
            flux,
            ..options
        };
        let mut counts = None;
        let result = until_signal(async {
            let cluster = Cluster::start(options).await?;
            counts = Some(scenario::run(selection, &cluster, self.jobs).await?);
            if keep {
                println!("{}", cluster.how_to_reach());
                std::future::pending::<()>().await;
            }
            cluster.stop().await
        })
        .await;
        run_dir.close(counts.is_some_and(|(_, failed)| failed == 0))?;
        result?;
        Ok(counts)
    }
}

// === impl BenchArgs ===

impl BenchArgs {
    async fn run(self) -> Result<ExitCode> {
        let (run_dir, options) = self.cluster.prepare()?;
        let result = until_signal(async {
            let cluster = Cluster::start(options).await?;
            self.bench.run(&cluster).await
        })
        .await;
        run_dir.close(result.is_ok())?;
        result?;
        Ok(ExitCode::SUCCESS)
    }
}

// === impl ClusterArgs ===

impl ClusterArgs {
    async fn up(self) -> Result<ExitCode> {
        let (run_dir, options) = self.prepare()?;
        let result = until_signal(async {
            let cluster = Cluster::start(options).await?;
            println!("{}", cluster.how_to_reach());
            std::future::pending::<()>().await;
            Ok(())
        })
        .await;
        run_dir.close(result.is_ok())?;
        result?;
        Ok(ExitCode::SUCCESS)
    }

    async fn demo(self) -> Result<ExitCode> {
        let (run_dir, options) = self.prepare()?;
        let mut shown = false;
        let result = until_signal(async {
            let cluster = Cluster::start(options).await?;
            Box::pin(demo::run(cluster)).await?;
            shown = true;
            Ok(())
        })
        .await;
        run_dir.close(shown)?;
        result?;
        Ok(if shown {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn prepare(&self) -> Result<(RunDir, Options)> {
        fs::create_dir_all(&self.runs)
            .with_context(|| format!("{} cannot be made", self.runs.display()))?;
        let run_dir = RunDir::create(&self.runs)?;
        let tools = self.tools.clone().tools();
        let options = Options {
            gateway: tools.gateway,
            flux: None,
            tools,
            dir: run_dir.path().to_owned(),
        };
        Ok((run_dir, options))
    }
}

/// Runs `work` with a log on standard error, whose level `RUST_LOG` sets.
fn in_runtime(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
        .with_writer(std::io::stderr)
        .init();
    let runtime = Runtime::new().context("no runtime can be started")?;
    runtime.block_on(work)
}

/// Awaits `work` until it is done, or until SIGINT or SIGTERM.
///
/// `work` is dropped before this returns, and with it every process that it started.
async fn until_signal(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("no SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("no SIGTERM")?;
    tokio::select! {
        result = work => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}
