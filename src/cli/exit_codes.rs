//! Exit codes of the commands, for pipelines and for the reference.

use tidegate_api::intervention::Action;

/// Exit codes that every command has, with their meanings.
pub(super) const COMMON: [(u8, &str); 3] = [
    (0, "done"),
    (1, "it failed; the message on standard error says why"),
    (2, "the command line is not valid"),
];

/// Returns the exit codes of a command that has more, or others.
pub(super) fn of(command: &str) -> &'static [(u8, &'static str)] {
    match command {
        "lint" => &[
            (0, "nothing is wrong, or there are warnings alone"),
            (1, "something is wrong; with `--strict`, for a warning, too"),
            (2, "a file cannot be read, or the command line is not valid"),
        ],
        "wait" => &[
            (0, "the commit is stable"),
            (1, "it was rejected, or cannot be waited for"),
            (2, "the command line is not valid"),
            (3, "the time is over"),
        ],
        "off" => &[
            (0, "all Rollouts are at rest, with traffic on stable"),
            (1, "one is not, or there was no answer; its line says why"),
            (2, "the command line is not valid"),
        ],
        action if is_intervention(action) => &[
            (0, "the request was accepted"),
            (1, "it was rejected, or there was no answer"),
            (2, "the command line is not valid"),
        ],
        _ => &COMMON,
    }
}

fn is_intervention(command: &str) -> bool {
    Action::ALL.iter().any(|action| action.as_str() == command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn commands_with_codes_of_their_own_exist() {
        let cli = Cli::command();
        let special = cli
            .get_subcommands()
            .filter(|command| of(command.get_name()) != COMMON);
        assert_eq!(special.count(), 3 + Action::ALL.len());
    }
}
