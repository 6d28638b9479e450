//! The command line: one file per command.
//!
//! Owns the arguments and the output. It decides nothing about a release: a request becomes an
//! `Intervention`, and the engine answers it.

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub mod age;
mod command;
pub mod completion;
pub mod connection;
pub mod crds;
pub mod describe;
mod exit_codes;
pub mod explain;
pub mod get;
pub mod intervene;
mod least_time;
pub mod lint;
pub mod off;
mod output;
mod placeholders;
pub mod restart;
pub mod run;
mod story;
pub mod wait;
pub mod watch;

use intervene::{ApproveArgs, Intervene};
use tidegate_api::intervention::Action;

/// The program's name as a plugin of kubectl.
const PLUGIN: &str = "kubectl-tidegate";

/// The program's own name.
const PROGRAM: &str = "tidegate";

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
    /// Print the custom resource definitions or their reference
    Crds(crds::CrdsArgs),
    /// Find mistakes in manifests, without a cluster; exit 1 if there are any, 2 if a file cannot be read
    Lint(lint::LintArgs),
    /// Explain what a Rollout will do, step by step, before it does it
    Explain(explain::ExplainArgs),
    /// Show Rollouts with their phase, step, weight and message
    Get(get::GetArgs),
    /// Describe the present attempt of a Rollout and its last outcome, and who must act
    Describe(describe::DescribeArgs),
    /// Watch a Rollout live
    Watch(watch::WatchArgs),
    /// Wait until a commit is released; exit 1 if it was rejected, 3 if the time is over
    Wait(wait::WaitArgs),
    /// Suspend all Rollouts of a namespace, with all traffic on stable
    Off(off::OffArgs),
    /// Have Rollouts go on that `off` has suspended
    On(off::OnArgs),
    /// Replace the pods of stable by others of the same content, without a release
    Restart(restart::RestartArgs),
    #[command(about = intervene::about(Action::Approve))]
    Approve(ApproveArgs),
    #[command(flatten)]
    Intervene(Intervene),
    /// Print a script by which a shell completes commands and arguments
    Completion(completion::CompletionArgs),
}

/// Parses the command line; exits with help or an error if it is not valid.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Cli {
    try_parse(arguments).unwrap_or_else(|error| error.exit())
}

/// Runs a command.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(args) => run::run(*args).await.map(|()| ExitCode::SUCCESS),
        Command::Crds(args) => crds::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Lint(args) => lint::run(&args),
        Command::Explain(args) => explain::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Get(args) => get::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Describe(args) => describe::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Watch(args) => watch::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Wait(args) => wait::run(&args).await,
        Command::Off(args) => off::off(&args).await,
        Command::On(args) => off::on(&args).await,
        Command::Restart(args) => restart::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Approve(args) => intervene::approve(&args).await,
        Command::Intervene(intervene) => intervene::run(&intervene).await,
        Command::Completion(args) => {
            completion::run(&args, Cli::command(), called()).map(|()| ExitCode::SUCCESS)
        }
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

/// Returns the name by which the program was called, of the two that it has.
fn called() -> &'static str {
    let program = std::env::args_os().next();
    if program.as_ref().is_some_and(is_plugin) {
        PLUGIN
    } else {
        PROGRAM
    }
}

/// Returns true if kubectl has started the program: it finds its plugins by their names.
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
    fn an_intervention_without_a_reason_is_rejected() {
        for action in Action::ALL.map(Action::as_str) {
            assert!(help(&format!("tidegate {action} checkout")).contains("--reason"));
            parse_line(&format!("tidegate {action} checkout -n shop --reason why")).unwrap();
        }
    }

    #[test]
    fn every_command_and_argument_has_a_help_text() {
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
