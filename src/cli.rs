//! The command line: one file per command.
//!
//! Owns the arguments and what is printed. It decides nothing about a release: a person's wish
//! becomes an `Intervention`, and the engine answers it.

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub mod age;
pub mod connection;
pub mod crds;
pub mod get;
pub mod intervene;
pub mod run;
pub mod watch;

use intervene::{ApproveArgs, InterveneArgs};
use tidegate_api::intervention::Action;

/// The program's name as a plugin of kubectl.
const PLUGIN: &str = "kubectl-tidegate";

/// Progressive delivery for Kubernetes that keeps git true.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller
    Run(Box<run::RunArgs>),
    /// Print the custom resource definitions, or their reference
    Crds(crds::CrdsArgs),
    /// List Rollouts with their phase and progress
    Get(get::GetArgs),
    /// Watch a Rollout live
    Watch(watch::WatchArgs),
    /// Approve the step that awaits approval
    Approve(ApproveArgs),
    /// Skip remaining holds and approvals (breaches still roll back)
    Promote(InterveneArgs),
    /// Pause a release at the current step (gates are still evaluated)
    Pause(InterveneArgs),
    /// Resume a paused release
    Resume(InterveneArgs),
    /// Abort the release and shift traffic back to stable
    Abort(InterveneArgs),
    /// Retry a rejected revision that the branch still requests
    Retry(InterveneArgs),
}

/// Reads the command line; ends the program with help or a sentence where it cannot be used.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Cli {
    try_parse(arguments).unwrap_or_else(|error| error.exit())
}

/// Does what was asked for.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(args) => run::run(*args).await.map(|()| ExitCode::SUCCESS),
        Command::Crds(args) => crds::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Get(args) => get::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Watch(args) => watch::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Approve(args) => intervene::approve(&args).await,
        Command::Promote(args) => intervene::run(Action::Promote, &args).await,
        Command::Pause(args) => intervene::run(Action::Pause, &args).await,
        Command::Resume(args) => intervene::run(Action::Resume, &args).await,
        Command::Abort(args) => intervene::run(Action::Abort, &args).await,
        Command::Retry(args) => intervene::run(Action::Retry, &args).await,
    }
}

fn try_parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = Cli::command();
    if arguments.first().is_some_and(is_plugin) {
        command = command.bin_name("kubectl tidegate");
    }
    let matches = command.try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

/// Whether kubectl has started the program: it finds its plugins by their names.
fn is_plugin(program: &OsString) -> bool {
    Path::new(program)
        .file_stem()
        .is_some_and(|name| name == PLUGIN)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn parse_line(line: &str) -> Result<Cli, clap::Error> {
        try_parse(line.split(' ').map(OsString::from))
    }

    fn help(line: &str) -> String {
        parse_line(line).unwrap_err().to_string()
    }

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn as_a_plugin_help_names_kubectl() {
        assert!(help("/usr/bin/kubectl-tidegate get --help").contains("kubectl tidegate get"));
        assert!(help("target/debug/tidegate get --help").contains("Usage: tidegate get"));
    }

    #[test]
    fn an_intervention_without_a_reason_is_refused() {
        for action in ["approve", "promote", "pause", "resume", "abort", "retry"] {
            assert!(help(&format!("tidegate {action} checkout")).contains("--reason"));
            parse_line(&format!("tidegate {action} checkout -n shop --reason why")).unwrap();
        }
    }

    #[test]
    fn every_command_and_argument_says_what_it_is() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
        }
    }
}
