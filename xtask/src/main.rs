//! The tasks of this repository: `cargo xtask` lists them, `cargo xtask TASK` runs one.
//!
//! Owns the list, and one file per task. It stays free of dependencies so that it builds in
//! seconds: whatever needs a Kubernetes client or an async runtime lives in `e2e` or in the
//! program, and is started from here as a process.

mod bench;
mod cache;
mod chart;
mod check;
mod codegen;
mod demo;
mod deny;
mod doc;
mod e2e;
mod histories;
mod isolation;
mod mutants;
mod progress;
mod shell;
mod test;
mod tools;

use std::{env, fmt::Write as _, process::ExitCode};

use anyhow::{Result, bail};

/// One thing that can be run.
struct Task {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const TASKS: &[Task] = &[
    Task {
        name: "check",
        arguments: "",
        help: "the inner loop, seconds: clippy and the engine's tests",
        run: check::run,
    },
    Task {
        name: "test",
        arguments: "",
        help: "format, clippy, generated files, unit and in-process tests",
        run: test::run,
    },
    Task {
        name: "e2e",
        arguments: "[FILTER] [--group beside] [--keep] [OPTIONS]",
        help: "the scenarios on a real cluster, or those beside Flux; builds what is missing",
        run: e2e::run,
    },
    Task {
        name: "histories",
        arguments: "[--count N] [--seed S]",
        help: "the engine in N random histories, all invariants asked after every write",
        run: histories::run,
    },
    Task {
        name: "mutants",
        arguments: "[FILTER] | --sample N [--seed S [--skip K]]",
        help: "make mistakes in a copy of the sources, and say which test or history finds each",
        run: mutants::run,
    },
    Task {
        name: "demo",
        arguments: "",
        help: "a good release, then a bad one, on a real cluster, live in the terminal",
        run: demo::run,
    },
    Task {
        name: "bench",
        arguments: "[NAME] [OPTIONS]",
        help: "measure; without a name, list what can be measured",
        run: bench::run,
    },
    Task {
        name: "doc",
        arguments: "",
        help: "rustdoc without a warning, and the links among the Markdown files",
        run: doc::run,
    },
    Task {
        name: "deny",
        arguments: "",
        help: "licenses, sources and duplicates of the dependencies (not advisories)",
        run: deny::run,
    },
    Task {
        name: "chart",
        arguments: "",
        help: "lint and render the Helm chart, and check the objects that come out",
        run: chart::run,
    },
    Task {
        name: "codegen",
        arguments: "[--check]",
        help: "write the generated files, or only say whether they are fresh",
        run: codegen::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", list());
        return Ok(());
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", list());
        return Ok(());
    }
    match TASKS.iter().find(|task| task.name == name) {
        Some(task) => (task.run)(rest),
        None => bail!("there is no task `{name}`\n\n{}", list()),
    }
}

/// The tasks, a line each.
fn list() -> String {
    let mut list = "Usage: cargo xtask TASK\n\n".to_owned();
    for Task {
        name,
        arguments,
        help,
        ..
    } in TASKS
    {
        let call = format!("{name} {arguments}");
        let _infallible = writeln!(list, "  {call:<48} {help}");
    }
    list
}
