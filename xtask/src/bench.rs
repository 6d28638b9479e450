//! `cargo xtask bench`: what can be measured, and measuring it.

use anyhow::{Result, bail};

/// One thing that can be measured.
struct Bench {
    name: &'static str,
    help: &'static str,
}

/// None yet: the times of the end-to-end scenarios are printed by `cargo xtask e2e`.
const BENCHES: &[Bench] = &[];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments.first() {
        None => {
            list();
            Ok(())
        }
        Some(name) => bail!("there is no bench `{name}`; `cargo xtask bench` lists them"),
    }
}

fn list() {
    for bench in BENCHES {
        println!("  {:<20} {}", bench.name, bench.help);
    }
    println!("{} benches", BENCHES.len());
}
