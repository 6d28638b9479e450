//! The cluster's network, which is the network namespace that we are in.
//!
//! Any address of the pod network can be bound and reached, as if each were routed to a pod: pods
//! need addresses that are not loopback, since the API server refuses 127/8 in an `EndpointSlice`.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

/// The node's address, at which the API server and the gateway answer.
pub const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// Every address in it is local to the namespace, for pods to be given.
pub const POD_NETWORK: &str = "10.244.0.0/16";

/// Network from which the API server takes Service addresses.
pub(super) const SERVICE_NETWORK: &str = "10.96.0.0/16";

/// Returns true where this network namespace has only a loopback interface, so that it is ours.
pub fn is_isolated() -> Result<bool> {
    let devices =
        fs::read_to_string("/proc/thread-self/net/dev").context("no list of interfaces")?;
    let mut names = devices
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim());
    Ok(names.all(|name| name == "lo"))
}

/// Sets addresses and routes.
pub(super) async fn set_up() -> Result<()> {
    ensure!(
        is_isolated()?,
        "this is not a network namespace of its own; `cargo xtask e2e` makes one"
    );
    let node = format!("{NODE_ADDRESS}/32");
    // `replace`, so that a second cluster in the same namespace finds it as it wants it.
    for arguments in [
        ["link", "set", "lo", "up"].as_slice(),
        &["route", "replace", "local", POD_NETWORK, "dev", "lo"],
        &["route", "replace", "local", SERVICE_NETWORK, "dev", "lo"],
        &["addr", "replace", &node, "dev", "lo"],
    ] {
        ip(arguments).await?;
    }
    Ok(())
}

async fn ip(arguments: &[&str]) -> Result<()> {
    let line = format!("ip {}", arguments.join(" "));
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("`{line}` cannot be started"))?;
    if !output.status.success() {
        bail!(
            "`{line}`: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(())
}

/// A port that nobody listens at now.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((NODE_ADDRESS, 0)).context("no free port")?;
    Ok(listener.local_addr().context("no free port")?.port())
}

/// The beginning of a command that runs in our namespaces, from outside of them.
pub(super) fn enter_command() -> String {
    // The namespaces were made with the `/proc` of those outside, which knows us by the process
    // id that they see.
    let pid = fs::read_link("/proc/self").unwrap_or_default();
    format!("sudo nsenter --net=/proc/{}/ns/net", pid.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_pods_have_networks_of_their_own() {
        assert_ne!(POD_NETWORK, SERVICE_NETWORK);
    }
}
