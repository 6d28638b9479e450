//! Many apps that nobody releases: what they cost.

use std::{collections::HashSet, time::Duration};

use anyhow::Result;
use jiff::Timestamp;

use super::{
    audit::Requests,
    estate::{Estate, TIDEGATE},
    many,
};

/// Longer than many apps take to settle on a busy machine.
const LIMIT: Duration = Duration::from_mins(30);

/// Time after which nothing of the settling is left.
const AFTERWARDS: Duration = Duration::from_secs(15);

/// Measures it.
pub(super) async fn run(estate: &Estate, minutes: u32) -> Result<()> {
    let apps: HashSet<_> = estate.apps().into_iter().collect();
    let began = Timestamp::now();
    estate.declare(&many::rollout()).await?;
    let settled = estate
        .until("every app is stable", LIMIT, &apps, |status| {
            status.stable.is_some() && status.attempt.is_none()
        })
        .await?;
    let usage = estate.usage()?;
    println!(
        "\n{} apps in {} namespaces are stable {:.0} s after they were declared (goal 60 s for 1,000)",
        apps.len(),
        estate.namespaces(),
        settled.duration_since(began).as_secs_f64()
    );
    println!(
        "until then: {:.1} s of CPU, {:.1} s of programs that it starts, at most {} MiB resident",
        usage.own.as_secs_f64(),
        usage.children.as_secs_f64(),
        usage.peak_bytes / (1024 * 1024)
    );
    tokio::time::sleep(AFTERWARDS).await;

    let (before, since) = (estate.usage()?, Timestamp::now());
    tokio::time::sleep(Duration::from_mins(minutes.into())).await;
    let used = estate.usage()?.since(before);
    let requests =
        Requests::read(&estate.cluster().audit_log(), TIDEGATE)?.between(since, Timestamp::now());
    let each = f64::from(minutes);
    println!("\nIdle for {minutes} min, each minute:");
    println!(
        "{:.2} s of CPU, {:.2} s of programs that it starts (goal 0.1 s), {:.1} requests beside watches and the Lease",
        used.own.as_secs_f64() / each,
        used.children.as_secs_f64() / each,
        f64::from(u32::try_from(requests.all().len())?) / each
    );
    println!(
        "resident memory: {} MiB (goal 20 at 100 apps, 40 at 1,000)",
        used.resident_bytes / (1024 * 1024)
    );
    if !requests.all().is_empty() {
        println!("\n{requests}");
    }
    Ok(())
}
