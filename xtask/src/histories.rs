//! `cargo xtask histories`: the engine in many random histories, optimized, on all cores.
//!
//! The test in `crates/engine/tests/world/histories.rs` tries them and says what it saw; this says how
//! many and from which seed, and how long it took. `cargo xtask test` tries a few without a build of
//! their own.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{progress::clock_time, shell};

/// Name of the test.
pub(crate) const TEST: &str = "histories::the_invariants_hold_in_random_histories";

/// Variable by which the test is told the number of histories.
pub(crate) const COUNT: &str = "TIDEGATE_HISTORIES";

/// The test's program, optimized.
const PROGRAM: [&str; 6] = [
    "test",
    "--release",
    "--package",
    "tidegate-engine",
    "--test",
    "world",
];

/// Which histories are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Options {
    count: u64,
    seed: u64,
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let Options { count, seed } = Options::parse(arguments)?;
    shell::run(shell::cargo().args(PROGRAM).arg("--no-run"))?;
    let started = Instant::now();
    let mut test = shell::cargo();
    test.args(PROGRAM)
        .args(["--quiet", "--", "--exact", TEST, "--nocapture"])
        .env(COUNT, count.to_string())
        .env("TIDEGATE_SEED", seed.to_string());
    shell::run(&mut test)?;
    let time = started.elapsed();
    let pace = count * 1000 / u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    eprintln!("{count} histories in {}, {pace} a second", clock_time(time));
    Ok(())
}

// === impl Options ===

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            count: 100_000,
            seed: 1,
        };
        let mut arguments = arguments.iter();
        while let Some(name) = arguments.next() {
            let value = arguments.next().map(|value| value.parse::<u64>());
            let value = value
                .with_context(|| format!("`histories {name}` wants a number after it"))?
                .with_context(|| format!("`histories {name}` wants a number after it"))?;
            match name.as_str() {
                "--count" if value > 0 => options.count = value,
                "--seed" => options.seed = value,
                _ => bail!("`histories` takes --count N and --seed S, but got `{name} {value}`"),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn options_are_numbers_after_their_names() {
        let options = parsed("--seed 7 --count 20").ok();
        assert_eq!(options, Some(Options { count: 20, seed: 7 }));
        for wrong in ["--count", "--count many", "--count 0", "7", "--worlds 3"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
