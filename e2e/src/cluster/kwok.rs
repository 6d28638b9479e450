//! Fake pods, by kwok: they are ready as soon as they are bound to a fake Node, and run nothing.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{Cluster, network::free_port};
use crate::{
    cluster::part::{answers, part, start},
    http_client,
    process::ChildProcess,
};

/// Label of the fake Node, by which pods choose it.
pub const FAKE_NODE_LABEL: (&str, &str) = ("tidegate.dev/fake", "true");

/// Annotation of Nodes that kwok manages.
const MANAGED: &str = "kwok.x-k8s.io/node";

/// Addresses of the fake pods: nobody answers there.
const NETWORK: &str = "10.245.0.0/16";

/// Field manager of the Node.
const FIELD_MANAGER: &str = "e2e";

/// A running kwok, with one Node; it ends when dropped.
#[derive(Debug)]
pub struct Kwok {
    _process: ChildProcess,
}

// === impl Kwok ===

impl Kwok {
    /// Starts it.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let tools = cluster.tools();
        let program = tools.kwok.as_ref().context("fake pods need --kwok")?;
        let stages = tools
            .kwok_stages
            .as_ref()
            .context("fake pods need --kwok-stages")?;
        create_node(cluster).await?;
        let config = cluster.dir().join("kwok.yaml");
        fs::write(&config, stages_in(stages)?)
            .with_context(|| format!("{} cannot be written", config.display()))?;
        let port = free_port()?;
        let spec = part("kwok", program, cluster.dir())
            .env("HOME", cluster.dir())
            .arg(format!(
                "--kubeconfig={}",
                cluster.kubeconfig_path().display()
            ))
            .arg(format!("--config={}", config.display()))
            .args(["--manage-all-nodes=false", "--v=warn"])
            .arg(format!(
                "--manage-nodes-with-annotation-selector={MANAGED}=fake"
            ))
            .arg(format!("--cidr={NETWORK}"))
            .arg(format!("--server-address=127.0.0.1:{port}"));
        let healthy = answers(
            &http_client::plain(),
            &format!("http://127.0.0.1:{port}/healthz"),
        );
        Ok(Self {
            _process: start(spec, healthy).await?,
        })
    }
}

async fn create_node(cluster: &Cluster) -> Result<()> {
    let (key, value) = FAKE_NODE_LABEL;
    let node: Node = serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "fake",
            "labels": { key: value },
            "annotations": { MANAGED: "fake" },
        },
    }))?;
    Api::<Node>::all(cluster.admin_client())
        .patch(
            "fake",
            &PatchParams::apply(FIELD_MANAGER),
            &Patch::Apply(node),
        )
        .await
        .context("the fake Node cannot be created")?;
    Ok(())
}

/// The stages of a folder, as one file of several documents.
fn stages_in(folder: &Path) -> Result<String> {
    let files = fs::read_dir(folder)
        .with_context(|| format!("{} cannot be listed", folder.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut stages = Vec::new();
    for file in files {
        let path = file.path();
        let text = fs::read_to_string(&path);
        stages.push(text.with_context(|| format!("{} cannot be read", path.display()))?);
    }
    Ok(stages.join("\n---\n"))
}
