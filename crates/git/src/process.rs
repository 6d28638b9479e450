//! Child processes: their process group, which ends with them, and their output, of which the beginning is kept.

use std::io;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Child,
};

/// Kills the process group of a child when dropped, unless its leader has been waited for.
#[derive(Debug)]
pub struct ProcessGroup(Option<Pid>);

/// Reads to the end, so that the writer never blocks, and keeps the beginning: at most `limit` bytes.
pub async fn beginning(mut from: impl AsyncRead + Unpin, limit: usize) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    // On the heap, for the future is moved.
    let mut chunk = vec![0; 4096];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(kept);
        }
        let room = limit.saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..read.min(room)]);
    }
}

// === impl ProcessGroup ===

impl ProcessGroup {
    /// Returns the group that a child leads.
    pub fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// Returns its leader; none if it has been waited for.
    pub fn leader(&self) -> Option<Pid> {
        self.0
    }

    /// The leader has been waited for, and its id may be another process's from now on.
    pub fn has_ended(&mut self) {
        self.0 = None;
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
