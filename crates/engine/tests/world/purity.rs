//! The engine stays pure: nothing in its dependencies does IO or waits.

use std::process::Command;

/// Crates that would bring IO, a runtime or a client along.
const IMPURE: [&str; 10] = [
    "tokio",
    "hyper",
    "reqwest",
    "kube-client",
    "kube-runtime",
    "async-std",
    "mio",
    "rustls",
    "tower",
    "gix",
];

#[test]
#[expect(clippy::disallowed_methods, reason = "this test asks cargo")]
fn nothing_that_the_engine_depends_on_does_io() {
    let args = [
        "tree",
        "-p",
        "tidegate-engine",
        "-e",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--offline",
    ];
    let output = Command::new(env!("CARGO")).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: Vec<_> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.contains(&"tidegate-api"), "{tree}");
    let impure: Vec<_> = names.iter().filter(|name| IMPURE.contains(name)).collect();
    assert!(
        impure.is_empty(),
        "the engine depends on {impure:?}:\n{tree}"
    );
}
