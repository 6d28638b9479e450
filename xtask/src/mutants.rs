//! `cargo xtask mutants`: whether the engine's tests find mistakes.
//!
//! A mistake is planted on purpose, as a patch in `crates/engine/tests/mutants/`, or is one of those
//! that cargo-mutants would make (`--sample N`). Each is made in a copy of the sources under `target/`,
//! and the engine's tests are run there, the cheapest first, until one fails.
//!
//! | module | what it owns |
//! |---|---|
//! | `planted` | the patches |
//! | `sampled` | a sample of cargo-mutants' mistakes |
//! | `scratch` | the copy, its builds and its tests |

mod planted;
mod sampled;
mod scratch;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use self::scratch::{Finder, Scratch, Verdict};
use crate::progress::clock_time;

/// The greatest share of sampled mistakes that may survive.
const MAX_SURVIVING_PERCENT: usize = 5;

/// A mistake.
struct Mutant {
    name: String,
    /// A unified diff.
    patch: String,
}

/// Mistakes that are asked for.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// Patches whose name contains this.
    Planted { filter: String },
    /// So many of cargo-mutants' own, without the first ones of the sample: those that were tried before.
    Sampled {
        count: usize,
        seed: u64,
        skip: usize,
    },
}

/// Number of mistakes with each verdict.
#[derive(Default)]
struct Tally {
    by_tests: usize,
    by_golden: usize,
    by_histories: usize,
    unviable: usize,
    survivors: Vec<String>,
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let choice = Choice::parse(arguments)?;
    let mutants = match &choice {
        Choice::Planted { filter } => planted::mutants(filter)?,
        Choice::Sampled { count, seed, skip } => sampled::mutants(*count, *seed, *skip)?,
    };
    let scratch = Scratch::make()?;
    eprintln!("the engine's tests without a mistake");
    // Tests that fail anyway would find everything.
    match scratch.judge(true)? {
        Verdict::Survived => {}
        Verdict::Found(finder) => bail!("the engine's tests fail as it is: {finder}"),
        Verdict::Unviable(said) => bail!("the engine does not build as it is:\n{said}"),
    }
    let started = Instant::now();
    // What is planted has to be found for what it does, and not for being another program.
    let with_golden = matches!(choice, Choice::Sampled { .. });
    let tally = try_out(&scratch, &mutants, with_golden)?;
    println!("{} in {}", tally.summary(), clock_time(started.elapsed()));
    match choice {
        Choice::Planted { .. } => {
            ensure!(
                tally.survivors.is_empty() && tally.unviable == 0,
                "a mistake that is planted has to build, and to be found"
            );
        }
        Choice::Sampled { .. } => {
            let viable = mutants.len() - tally.unviable;
            ensure!(
                tally.survivors.len() * 100 <= viable * MAX_SURVIVING_PERCENT,
                "more than {MAX_SURVIVING_PERCENT} % of {viable} survive"
            );
        }
    }
    Ok(())
}

fn try_out(scratch: &Scratch, mutants: &[Mutant], with_golden: bool) -> Result<Tally> {
    let mut tally = Tally::default();
    for mutant in mutants {
        let started = Instant::now();
        let verdict = scratch
            .find(mutant, with_golden)
            .with_context(|| format!("the mistake {}", mutant.name))?;
        report(&mutant.name, started.elapsed(), &verdict);
        tally.count(&mutant.name, &verdict);
    }
    Ok(tally)
}

fn report(name: &str, time: Duration, verdict: &Verdict) {
    let time = clock_time(time);
    match verdict {
        Verdict::Found(finder) => println!("{name:<48} {time:>6}  {finder}"),
        Verdict::Survived => println!("{name:<48} {time:>6}  NOT FOUND"),
        Verdict::Unviable(said) => {
            let error = said.lines().find(|line| line.starts_with("error"));
            let error = error.unwrap_or_default();
            println!("{name:<48} {time:>6}  does not build: {error}");
        }
    }
}

// === impl Choice ===

impl Choice {
    fn parse(arguments: &[String]) -> Result<Self> {
        let words: Vec<_> = arguments.iter().map(String::as_str).collect();
        let number = |word: &str| {
            word.parse::<u64>()
                .with_context(|| format!("`mutants` wants a number and got `{word}`"))
        };
        let (count, seed, skip) = match words[..] {
            [] => {
                return Ok(Self::Planted {
                    filter: String::new(),
                });
            }
            [filter] if !filter.starts_with('-') => {
                return Ok(Self::Planted {
                    filter: filter.to_owned(),
                });
            }
            ["--sample", count] => (number(count)?, 1, 0),
            ["--sample", count, "--seed", seed] => (number(count)?, number(seed)?, 0),
            ["--sample", count, "--seed", seed, "--skip", skip] => {
                (number(count)?, number(seed)?, number(skip)?)
            }
            _ => bail!("`mutants` takes a part of a name, or --sample N, --seed S and --skip K"),
        };
        Ok(Self::Sampled {
            count: usize::try_from(count)?,
            seed,
            skip: usize::try_from(skip)?,
        })
    }
}

// === impl Tally ===

impl Tally {
    fn count(&mut self, name: &str, verdict: &Verdict) {
        match verdict {
            Verdict::Found(Finder::Test(_) | Finder::Hang) => self.by_tests += 1,
            Verdict::Found(Finder::Golden) => self.by_golden += 1,
            Verdict::Found(Finder::History(_)) => self.by_histories += 1,
            Verdict::Survived => self.survivors.push(name.to_owned()),
            Verdict::Unviable(_) => self.unviable += 1,
        }
    }

    fn summary(&self) -> String {
        let mut summary = format!(
            "{} found by tests, {} by golden histories, {} by random ones, {} not found, {} do not build",
            self.by_tests,
            self.by_golden,
            self.by_histories,
            self.survivors.len(),
            self.unviable
        );
        for survivor in &self.survivors {
            summary.push_str("\nnot found: ");
            summary.push_str(survivor);
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Choice> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Choice::parse(&words)
    }

    #[test]
    fn a_part_of_a_name_chooses_patches_and_a_number_a_sample() {
        let planted = |filter: &str| {
            Some(Choice::Planted {
                filter: filter.to_owned(),
            })
        };
        let sampled = |count, seed, skip| Some(Choice::Sampled { count, seed, skip });
        assert_eq!(parsed("").ok(), planted(""));
        assert_eq!(parsed("old-evidence").ok(), planted("old-evidence"));
        assert_eq!(parsed("--sample 30").ok(), sampled(30, 1, 0));
        assert_eq!(parsed("--sample 30 --seed 7").ok(), sampled(30, 7, 0));
        let later = parsed("--sample 30 --seed 7 --skip 20");
        assert_eq!(later.ok(), sampled(30, 7, 20));
        for wrong in ["--sample", "--sample many", "--seed 7", "one two"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
