//! `tidegate completion`: scripts by which a shell completes commands and arguments.

use std::io::{self, Write as _};

use clap::{Args, Command};
use clap_complete::{Shell, generate};

/// Arguments of `tidegate completion`.
#[derive(Args, Debug)]
pub struct CompletionArgs {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script for the program under this name.
pub(super) fn run(args: &CompletionArgs, command: Command, name: &str) -> anyhow::Result<()> {
    io::stdout().write_all(&script(args.shell, command, name))?;
    Ok(())
}

fn script(shell: Shell, mut command: Command, name: &str) -> Vec<u8> {
    let mut script = Vec::new();
    generate(shell, &mut command, name, &mut script);
    script
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use clap::{CommandFactory as _, ValueEnum as _};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_shell_completes_the_commands_under_both_names() {
        for shell in Shell::value_variants() {
            for name in ["tidegate", "kubectl-tidegate"] {
                let script = String::from_utf8(script(*shell, Cli::command(), name)).unwrap();
                for word in [name, "lint", "describe", "approve", "--strict", "--reason"] {
                    // fish has long options without their dashes.
                    let word = word.trim_start_matches('-');
                    assert!(script.contains(word), "{shell}: {word}");
                }
            }
        }
    }
}
