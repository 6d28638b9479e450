//! A child process with its process group, and its output.

use std::{io, process::ExitStatus};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

/// Output of a process. Each stream is cut at [`OUTPUT_CAP_BYTES`].
pub(super) struct ProcessOutput {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Kills the process group when dropped, unless its leader has been waited for.
struct ProcessGroup(Option<Pid>);

/// Far above the output of any of our runs; a hook of the server may print anything.
pub(super) const OUTPUT_CAP_BYTES: usize = 64 * 1024;

/// Runs `command`, whose output has to be piped, to its end. When the future is dropped, the whole
/// process group is killed.
pub(super) async fn run(command: &mut Command) -> io::Result<ProcessOutput> {
    let mut child = command.spawn()?;
    let mut group = ProcessGroup::of(child.id());
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let (stdout, stderr) = tokio::try_join!(drain(stdout), drain(stderr))?;
    let status = child.wait().await?;
    group.0 = None;
    Ok(ProcessOutput {
        status,
        stdout,
        stderr,
    })
}

/// Reads to the end, so that the writer never blocks, and keeps the beginning.
async fn drain(mut from: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    // On the heap, for the future is moved.
    let mut chunk = vec![0; 4096];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(kept);
        }
        let room = OUTPUT_CAP_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..read.min(room)]);
    }
}

// === impl ProcessGroup ===

impl ProcessGroup {
    fn of(id: Option<u32>) -> Self {
        Self(
            id.and_then(|id| i32::try_from(id).ok())
                .and_then(Pid::from_raw),
        )
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It may have exited by itself in the meantime; then there is nothing to kill.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
