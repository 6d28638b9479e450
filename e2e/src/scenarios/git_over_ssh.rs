//! A repository over SSH: it is read and records are pushed with a key, and a server that is not known is not trusted.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tidegate_api::names;

use crate::{
    git_server::{PASSPHRASE, SshServer},
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(git_over_ssh, run)];

const SECRET: &str = "shop-ssh";

async fn run(context: Context) -> Result<()> {
    let shop = Shop::new();
    let mut bed = Testbed::new(context).await?;
    let ssh = bed.git.ssh().await?;
    create_secret(&bed, &ssh, "git.example.com ssh-ed25519 AAAA").await?;
    bed.has_no_repo(&shop).await;
    bed.commit(&shop, "Open the shop").await?;
    let over_ssh = json!({ "url": ssh.url("config"), "secretRef": { "name": SECRET } });
    bed.create_config_repo(over_ssh).await?;
    bed.start_tidegate().await?;
    let refused = bed
        .config_repo_until("does not trust the server", |ready| {
            ready.message.contains("known_hosts")
        })
        .await?;
    ensure!(!refused.message.contains("PRIVATE KEY"), "the key is told");

    trust(&bed, &ssh.known_hosts()).await?;
    bed.is_open(&shop).await?;

    let clients = bed.clients(100);
    let next = shop.with(Release::good("v2"));
    bed.commit(&next, "Release v2").await?;
    let record = bed.promoted(2).await?;
    ensure!(record.head.attempt == 2, "{record:?}");
    clients.stop().await.none_failed()
}

async fn create_secret(bed: &Testbed, ssh: &SshServer, known_hosts: &str) -> Result<()> {
    let mut secret = Secret {
        string_data: Some(BTreeMap::from([
            ("identity".to_owned(), ssh.identity().to_owned()),
            ("known_hosts".to_owned(), known_hosts.to_owned()),
            ("password".to_owned(), PASSPHRASE.to_owned()),
        ])),
        ..Secret::default()
    };
    secret.metadata.name = Some(SECRET.to_owned());
    let labels = secret.labels_mut();
    labels.insert(names::USE_LABEL.to_owned(), "git".to_owned());
    bed.api::<Secret>()
        .create(&PostParams::default(), &secret)
        .await?;
    Ok(())
}

async fn trust(bed: &Testbed, known_hosts: &str) -> Result<()> {
    let patch = json!({ "stringData": { "known_hosts": known_hosts } });
    bed.api::<Secret>()
        .patch(SECRET, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}
