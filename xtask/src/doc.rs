//! `cargo xtask doc`: rustdoc without a warning, and no dead link among the Markdown files.

mod links;

use anyhow::{Result, bail};

use crate::{shell, test};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    test::no_arguments("doc", arguments)?;
    let dead = links::dead(&shell::workspace())?;
    if !dead.is_empty() {
        bail!("dead links:\n  {}", dead.join("\n  "));
    }
    shell::run(
        shell::cargo()
            .env("RUSTDOCFLAGS", "-D warnings")
            .args(["doc", "--workspace", "--no-deps"])
            // Most of the house is private, and its comments link too.
            .arg("--document-private-items"),
    )
}
