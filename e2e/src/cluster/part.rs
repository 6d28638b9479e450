//! Starting one part of the cluster, and waiting until it says that it is ready.

use std::{future::Future, path::Path, time::Duration};

use anyhow::Result;

use crate::process::{ChildProcess, ProcessSpec};

/// Time that a part may take: ten times what two busy cores need.
const READY_LIMIT: Duration = Duration::from_secs(90);

/// A part whose log lies in the run's folder, and which sees none of our environment: a proxy or
/// a certificate store meant for the machine would lead it astray.
pub(super) fn part(name: &str, program: &Path, dir: &Path) -> ProcessSpec {
    ProcessSpec::new(name, program, dir.join(format!("{name}.log")))
        .clean_env()
        .current_dir(dir)
}

/// Starts it and waits for the probe.
pub(super) async fn start<F>(spec: ProcessSpec, probe: impl FnMut() -> F) -> Result<ChildProcess>
where
    F: Future<Output = bool>,
{
    let mut process = spec.spawn()?;
    process.wait_ready(READY_LIMIT, probe).await?;
    Ok(process)
}

/// A probe that passes when a GET of this address is answered with success.
pub(super) fn answers(
    client: &reqwest::Client,
    url: &str,
) -> impl FnMut() -> std::pin::Pin<Box<dyn Future<Output = bool> + Send>> + use<> {
    let request = client.get(url).timeout(Duration::from_secs(2));
    move || {
        let request = request.try_clone().expect("a GET without a body");
        Box::pin(async move {
            let answer = request.send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
    }
}
