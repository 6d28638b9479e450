//! The pods of a shop: which there are, and how they are told to behave.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::ListParams};

use super::Testbed;
use crate::{demo_app::BehaviorChange, http_client};

/// Port at which the demo app listens.
const PORT: u16 = 9898;

// === impl Testbed ===

impl Testbed {
    /// The pods of the namespace that are not on their way out.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let pods = self
            .api::<Pod>()
            .list(&ListParams::default())
            .await
            .context("the pods cannot be listed")?;
        Ok(pods
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .collect())
    }

    /// Their uids: the same ones before and after mean that nothing was restarted.
    pub async fn pod_uids(&self) -> Result<BTreeSet<String>> {
        Ok(self
            .pods()
            .await?
            .iter()
            .filter_map(ResourceExt::uid)
            .collect())
    }

    /// The pods that run a version of the app.
    pub async fn pods_of(&self, version: &str) -> Result<Vec<Pod>> {
        let pods: Vec<_> = self
            .pods()
            .await?
            .into_iter()
            .filter(|pod| runs(pod, version))
            .collect();
        ensure!(!pods.is_empty(), "no pod runs {version}");
        Ok(pods)
    }

    /// Tells the app in these pods how to behave from now on.
    pub async fn behave(&self, pods: &[Pod], change: BehaviorChange) -> Result<()> {
        for pod in pods {
            let address = pod
                .status
                .as_ref()
                .and_then(|status| status.pod_ip.as_deref());
            let address =
                address.with_context(|| format!("the pod {} has no address", pod.name_any()))?;
            let url = format!("http://{address}:{PORT}/admin");
            let answer = http_client::plain().post(url).json(&change).send().await?;
            answer
                .error_for_status()
                .context("the demo app refuses the change")?;
        }
        Ok(())
    }
}

/// Returns true if a container of the pod has an image of this tag.
pub fn runs(pod: &Pod, version: &str) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut tags = containers.filter_map(|container| container.image.as_deref()?.rsplit_once(':'));
    tags.any(|(_, tag)| tag == version)
}
