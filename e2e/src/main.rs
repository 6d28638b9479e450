//! Runs the end-to-end scenarios: see `cargo xtask e2e`.

use std::process::ExitCode;

use clap::Parser as _;
use tidegate_e2e::{cli::Cli, http_client};

fn main() -> ExitCode {
    http_client::install_tls_provider();
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
