//! The reference of the command line, made from its own definition.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use crate::cli::{Cli, exit_codes};

/// The first line of the file.
const HEAD: &str = "<!-- Generated from src/cli by `cargo xtask codegen`: do not edit. -->\n";

/// Introduction of the page.
const ABOUT: &str = "
# Command line

The same program is the controller, `tidegate`, and a plugin of kubectl: on the path as `kubectl-tidegate` it is
`kubectl tidegate`. Colors are left out where standard output is no terminal, or `NO_COLOR` is set.

";

/// Returns the page.
pub(super) fn page() -> String {
    let mut cli = Cli::command();
    cli.build();
    let commands: Vec<_> = cli
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .collect();
    let mut text = HEAD.to_owned() + ABOUT + "| command | what it does |\n|---|---|\n";
    for command in &commands {
        let name = command.get_name();
        let _ = writeln!(
            text,
            "| [`{name}`](#tidegate-{name}) | {} |",
            about(command)
        );
    }
    for command in commands {
        section(&mut text, command);
    }
    text
}

fn section(text: &mut String, command: &Command) {
    let name = command.get_name();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = write!(
        text,
        "\n## tidegate {name}\n\n{}.\n\n```\n{usage}\n```\n",
        about(command)
    );
    text.push_str("\n| argument | meaning |\n|---|---|\n");
    for argument in command
        .get_arguments()
        .filter(|argument| argument.get_id() != "help")
    {
        let _ = writeln!(text, "| {} | {} |", signature(argument), meaning(argument));
    }
    text.push_str("\n| exit code | meaning |\n|---|---|\n");
    for (code, meaning) in exit_codes::of(name) {
        let _ = writeln!(text, "| {code} | {meaning} |");
    }
}

fn about(command: &Command) -> String {
    command
        .get_about()
        .map(|about| cell(&about.to_string()))
        .unwrap_or_default()
}

/// The argument as it is typed: `-n`, `--namespace NAMESPACE`.
fn signature(argument: &Arg) -> String {
    let value = argument
        .get_value_names()
        .into_iter()
        .flatten()
        .map(ToString::to_string);
    let value = value.collect::<Vec<_>>().join(" ");
    let takes_value = argument.get_action().takes_values();
    let value = if takes_value { value.as_str() } else { "" };
    let value = &value.replace('|', "\\|");
    let short = argument.get_short().map(|short| format!("`-{short}`, "));
    match argument.get_long() {
        Some(long) => {
            let typed = format!("--{long} {value}");
            format!("{}`{}`", short.unwrap_or_default(), typed.trim_end())
        }
        None => format!("`{value}`"),
    }
}

/// The argument's help, with its values, its default and its variable.
fn meaning(argument: &Arg) -> String {
    let mut meaning = argument
        .get_help()
        .map(|help| cell(&help.to_string()))
        .unwrap_or_default();
    let takes_value = argument.get_action().takes_values();
    let values = argument.get_possible_values();
    if takes_value && !values.is_empty() {
        let values: Vec<_> = values
            .iter()
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let _ = write!(meaning, ": {}", values.join(", "));
    }
    let defaults = argument.get_default_values();
    if let Some(default) = defaults.first().filter(|_| takes_value) {
        let _ = write!(meaning, "; by default `{}`", default.to_string_lossy());
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(meaning, "; also by `{}`", variable.to_string_lossy());
    }
    meaning
}

/// A text on one line, without what would end a table's cell.
fn cell(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|").replace('<', "&lt;")
}
