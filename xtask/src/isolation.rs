//! A network and a process namespace for the cluster alone.
//!
//! Nothing in it collides with what runs on the machine, and all of it ends with its first
//! process, however that one ends.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Becomes `program` in fresh namespaces: returns only where that fails.
///
/// `prepare` gets the command before it is run.
pub(crate) fn become_isolated(prepare: impl FnOnce(&mut Command)) -> Result<()> {
    let as_root = shell::is_root()?;
    try_out(as_root)?;
    let mut command = unshare(as_root);
    prepare(&mut command);
    let error = command.exec();
    Err(error).context("`unshare` cannot be started")
}

/// Asks whether namespaces are to be had, to say what to do about it where they are not.
fn try_out(as_root: bool) -> Result<()> {
    let output = unshare(as_root)
        .args(["ip", "link", "set", "lo", "up"])
        .stdin(Stdio::null())
        .output()
        .context("`unshare` cannot be started")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim_end();
    if as_root {
        bail!(
            "a network namespace was refused ({said}); in a container this needs \
             `--cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined`"
        );
    }
    bail!(
        "a network namespace was refused ({said}); run this as root, or let users make them:\n\
         \n    sudo sysctl -w kernel.unprivileged_userns_clone=1              # Debian\
         \n    sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0  # Ubuntu\n\
         \nthen run this again"
    );
}

fn unshare(as_root: bool) -> Command {
    let mut command = Command::new("unshare");
    command.env("PATH", shell::search_path());
    // A process namespace too: the kernel ends everything in it when its first process ends.
    command.args(["--net", "--pid", "--fork", "--kill-child"]);
    if !as_root {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--");
    command
}
