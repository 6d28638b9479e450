//! A run of the git program, and its output.

use std::{io, process::ExitStatus};

use tokio::process::Command;

use crate::process::{ProcessGroup, beginning};

/// Output of a process. Each stream is cut at [`OUTPUT_CAP_BYTES`].
pub(super) struct ProcessOutput {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Far above the output of any of our runs; a hook of the server may print anything.
pub(super) const OUTPUT_CAP_BYTES: usize = 64 * 1024;

/// Runs `command`, whose output has to be piped, to its end. When the future is dropped, the whole
/// process group is killed.
pub(super) async fn run(command: &mut Command) -> io::Result<ProcessOutput> {
    let mut child = command.spawn()?;
    let mut group = ProcessGroup::of(&child);
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let (stdout, stderr) = tokio::try_join!(
        beginning(stdout, OUTPUT_CAP_BYTES),
        beginning(stderr, OUTPUT_CAP_BYTES)
    )?;
    let status = child.wait().await?;
    group.has_ended();
    Ok(ProcessOutput {
        status,
        stdout,
        stderr,
    })
}
