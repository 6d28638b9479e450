//! `cargo xtask bench`: what can be measured, and measuring it.

use anyhow::{Result, bail};

use crate::{
    e2e::{self, Profile},
    tools::Parts,
};

/// One thing that can be measured.
struct Bench {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Result<()>,
}

/// The time of each end-to-end scenario is printed by `cargo xtask e2e`.
const BENCHES: &[Bench] = &[
    Bench {
        name: "breach",
        arguments: "",
        help: "From the first breach that Prometheus could show to the route written",
        run: |_| e2e::run(&["bad_release".to_owned(), "breach_in_a_step".to_owned()]),
    },
    Bench {
        name: "requests",
        arguments: "",
        help: "Requests to the API server of a release of five steps, and of a rollback",
        run: |arguments| measure(arguments, Parts::SCENARIOS),
    },
    Bench {
        name: "many",
        arguments: "[--apps N] [--namespaces N]",
        help: "Releases of many apps at once, and a breach of all of them",
        run: |arguments| measure(arguments, WITH_FAKE_PODS),
    },
    Bench {
        name: "idle",
        arguments: "[--apps N] [--namespaces N] [--minutes N]",
        help: "Memory, CPU and requests of many apps that nobody releases",
        run: |arguments| measure(arguments, WITH_FAKE_PODS),
    },
];

/// Parts of a cluster with more pods than the machine could run.
const WITH_FAKE_PODS: Parts = Parts {
    fake_pods: true,
    ..Parts::SCENARIOS
};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments.first() {
        None => {
            list();
            Ok(())
        }
        Some(name) => match BENCHES.iter().find(|bench| bench.name == name) {
            Some(bench) => (bench.run)(arguments),
            None => bail!("there is no bench `{name}`; `cargo xtask bench` lists them"),
        },
    }
}

/// Has the harness measure what the arguments name.
fn measure(arguments: &[String], parts: Parts) -> Result<()> {
    e2e::harness("bench", arguments, Profile::Release, parts)
}

fn list() {
    for bench in BENCHES {
        let call = format!("{} {}", bench.name, bench.arguments);
        println!("  {call:<48} {}", bench.help);
    }
    println!("{} benches", BENCHES.len());
}
