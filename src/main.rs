//! The program: installs what the whole process needs, reads the command line, runs the command.

use std::process::ExitCode;

use tidegate::cli;
use tikv_jemallocator::Jemalloc;

/// Caches of many objects that come and go would leave the C library's allocator in pieces.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    // The TLS library asks for its cryptography at the first connection and panics without it.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("tidegate: the TLS library is set up already");
        return ExitCode::FAILURE;
    }
    match cli::run(cli::parse(std::env::args_os())).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tidegate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
