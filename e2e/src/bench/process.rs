//! CPU and memory of a process, by `/proc`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

/// Clock ticks per second, which Linux fixes for user space.
const TICKS: f64 = 100.0;

/// Fields of `/proc/PID/stat` after the name, with the CPU time of the process (user, system) and of its
/// children that have ended.
const CPU_FIELDS: [usize; 4] = [11, 12, 13, 14];

/// CPU that a process has used, and memory that it has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// CPU of the process.
    pub(super) own: Duration,
    /// CPU of its children that have ended.
    pub(super) children: Duration,
    /// Resident memory of the process, in bytes.
    pub(super) resident_bytes: u64,
    /// The most that it has had.
    pub(super) peak_bytes: u64,
}

// === impl Usage ===

impl Usage {
    /// Reads it.
    pub(super) fn of(pid: i32) -> Result<Self> {
        let folder = folder_of(pid)?;
        let stat = fs::read_to_string(folder.join("stat")).context("the process has ended")?;
        let (_, fields) = stat.rsplit_once(')').context("no name")?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        let cpu = CPU_FIELDS.map(|field| {
            let ticks = fields
                .get(field)
                .and_then(|ticks| ticks.parse::<f64>().ok());
            ticks.unwrap_or_default() / TICKS
        });
        let status = fs::read_to_string(folder.join("status")).context("the process has ended")?;
        Ok(Self {
            own: Duration::from_secs_f64(cpu[0] + cpu[1]),
            children: Duration::from_secs_f64(cpu[2] + cpu[3]),
            resident_bytes: kilobytes(&status, "VmRSS:") * 1024,
            peak_bytes: kilobytes(&status, "VmHWM:") * 1024,
        })
    }

    /// CPU used since an earlier reading.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            own: self.own.saturating_sub(before.own),
            children: self.children.saturating_sub(before.children),
            ..self
        }
    }
}

/// Folder of a process of our namespace. The harness runs in one of its own, and `/proc` is the machine's.
fn folder_of(pid: i32) -> Result<PathBuf> {
    let ours = namespace_of(Path::new("/proc/self")).context("no namespace")?;
    let folders = fs::read_dir("/proc").context("no /proc")?;
    let mut folders = folders.filter_map(|folder| Some(folder.ok()?.path()));
    let found = folders.find(|folder| {
        let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let id = ids.and_then(|ids| ids.split_whitespace().last());
        id == Some(pid.to_string().as_str()) && namespace_of(folder).as_ref() == Some(&ours)
    });
    found.context("the process has ended")
}

fn namespace_of(folder: &Path) -> Option<PathBuf> {
    fs::read_link(folder.join("ns/pid")).ok()
}

fn kilobytes(status: &str, key: &str) -> u64 {
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        let pid = std::process::id().try_into().expect("a small number");
        let usage = Usage::of(pid).expect("we run");
        assert!(usage.resident_bytes > 1024 * 1024, "{usage:?}");
        assert!(usage.peak_bytes >= usage.resident_bytes, "{usage:?}");
    }
}
