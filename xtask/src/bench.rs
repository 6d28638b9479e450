//! `cargo xtask bench`: what can be measured, and measuring it.

use anyhow::{Result, bail};

use crate::e2e;

/// One thing that can be measured.
struct Bench {
    name: &'static str,
    help: &'static str,
    run: fn() -> Result<()>,
}

/// The time of each end-to-end scenario is printed by `cargo xtask e2e`.
const BENCHES: &[Bench] = &[Bench {
    name: "breach",
    help: "From the first breach that Prometheus could show to the route written",
    run: || e2e::run(&["bad_release".to_owned(), "breach_in_a_step".to_owned()]),
}];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments.first() {
        None => {
            list();
            Ok(())
        }
        Some(name) => match BENCHES.iter().find(|bench| bench.name == name) {
            Some(bench) => (bench.run)(),
            None => bail!("there is no bench `{name}`; `cargo xtask bench` lists them"),
        },
    }
}

fn list() {
    for bench in BENCHES {
        println!("  {:<20} {}", bench.name, bench.help);
    }
    println!("{} benches", BENCHES.len());
}
